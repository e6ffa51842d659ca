"""The way from an agent to the fe in its own process, without HTTP. Knows both, so it stands beside them."""

from __future__ import annotations

from twisted.internet.defer import inlineCallbacks, succeed
from twisted.internet.defer import Deferred

from taba.agent.forwarder_tmp import EndpointDown
from taba.server.frontend import Frontend, WrongClusterError
from taba.wire.v2 import AppendRequest, Topology
from taba.errors import StoreError

class LocalEndpoint:
    name = "this process"
    def __init__(self): self.frontend=None
    def serve(self, frontend): self.frontend=frontend
    def topology(self): return succeed(self.frontend.topology())
    @inlineCallbacks
    def append(self, request):
        try:
            return (yield self.frontend.append(request))
        except StoreError as e:
            raise EndpointDown(e)
