from __future__ import annotations
from twisted.application.service import Service
from twisted.internet.defer import inlineCallbacks, Deferred
from taba.wire import v2
from taba.wire.v2 import AppendRequest
from attrs import evolve

class EndpointDown(Exception): pass
class IEndpoint: pass

class HTTPEndpoint:
    def __init__(self, url, http, reactor):
        self.url=url; self.http=http; self.reactor=reactor
        self.name=url
    @inlineCallbacks
    def topology(self):
        r = yield self.http.get(self.url+"/v2/topology", reactor=self.reactor, timeout=10)
        b = yield r.content()
        if r.code!=200: raise EndpointDown(r.code)
        return v2.decode_topology(b)
    @inlineCallbacks
    def append(self, request):
        r = yield self.http.post(self.url+"/v2/append", data=v2.encode_append_request(request), reactor=self.reactor, timeout=10)
        b = yield r.content()
        if r.code!=200: raise EndpointDown(r.code, b)
        return v2.decode_append_answer(b)

class Forwarder(Service):
    def __init__(self, lanes, endpoints, read_bodies, act, joined, clock, wall, chance, *, flush_seconds, requests_per_endpoint):
        self.lanes=lanes; self.endpoints=endpoints; self.read_bodies=read_bodies; self.act=act; self.joined=joined
        self.clock=clock; self.wall=wall; self.flush=flush_seconds
        self.cluster=None; self.busy=False; self.timer=None; self.topo=False; self.offset=0.0
    def clock_offset(self): return self.offset
    def join(self, cluster): self.cluster=cluster
    def startService(self):
        super().startService(); self.wake()
    def stopService(self):
        super().stopService()
        if self.timer: self.timer.cancel(); self.timer=None
        self.done=Deferred()
        if not self.busy: self.done.callback(None)
        return self.done
    def wake(self):
        if not self.running or self.busy: return
        if not self.topo: delay=0
        else:
            due=self.lanes.next_due()
            if due is None: return
            delay=max(0.0, due-self.clock.seconds()) if due>0 else 0
        if self.timer: self.timer.cancel()
        self.timer=self.clock.callLater(delay,self.go)
    def go(self):
        self.timer=None
        self.busy=True
        d=self.step()
        def failed(f):
            self.last_failure=f.getErrorMessage()
            return 0.5
        d.addErrback(failed)
        def over(delay):
            self.busy=False
            if not self.running:
                self.done.callback(None); return
            if delay: self.timer=self.clock.callLater(delay,self.go)
            else: self.wake()
        d.addCallback(over)
    @inlineCallbacks
    def step(self):
        e=self.endpoints[0]
        if not self.topo:
            t=yield e.topology()
            self.topo=True; self.cluster=t.cluster; self.joined(t)
        now=self.clock.seconds()
        out=self.lanes.gather(now, 4<<20, 4096)
        if not out: return 0
        need=[((o.lane.incarnation,o.lane.vbucket),o.held) for o in out if o.held]
        bodies=iter((yield self.read_bodies(need)))
        apps=[]
        for o in out:
            if o.held:
                b=next(bodies)
                if b is None: self.lanes.unreadable(o, self.clock.seconds()); continue
                apps.append(evolve(o.append, body=b))
            else: apps.append(o.append)
        try:
            a=yield e.append(AppendRequest(self.cluster, self.wall(), tuple(apps)))
        except Exception:
            self.lanes.failed(out, self.clock.seconds()); raise
        self.act(self.lanes.answered(out, a.outcomes, now, self.clock.seconds()))
        return 0
