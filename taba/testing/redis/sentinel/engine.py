"""One Sentinel process, without its network: what it watches, what it says, and the file that it keeps.

Every tenth of a second, or a little sooner, it makes links, pings, asks for INFO, says hello, and judges: subjectively
down after `down_after` without an acceptable answer; objectively when the quorum of sentinels, asked for it, say the
same. Then comes a failover (failover.py). Not simulated: TILT mode, scripts, host names, `SENTINEL SET`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from random import Random
from typing import Any

import hiredis
from attrs import define, field

from taba.testing.redis.engine import Connect
from taba.testing.redis.history import new_id
from taba.testing.redis.publishing import Channels
from taba.testing.redis.resp import Reply
from taba.testing.redis.sentinel import failover
from taba.testing.redis.sentinel.instance import Instance, Kind
from taba.testing.redis.sentinel.link import Link
from taba.testing.redis.sentinel.monitored import Monitored, Step, Watch
from taba.testing.redis.sentinel.reports import HELLO, hello_of, take_hello, take_info
from taba.testing.redis.session import Session
from taba.testing.redis.turns import Turns

TICK = 0.1  # seconds at most between two looks around
PING_PERIOD = 1.0
INFO_PERIOD = 10.0
HELLO_PERIOD = 2.0
ASK_PERIOD = 1.0
OLDEST_LINK = 15.0  # seconds before which a link that is silent is not made anew


@define(eq=False)
class SentinelFile:
    """What a sentinel keeps over its end: its id, the epochs, and for each master where it is and who is around it."""

    run_id: str = ""
    epoch: int = 0
    masters: dict[str, tuple[str, int]] = field(factory=dict)
    config_epochs: dict[str, int] = field(factory=dict)
    votes: dict[str, tuple[str | None, int]] = field(factory=dict)
    replicas: dict[str, list[tuple[str, int]]] = field(factory=dict)
    sentinels: dict[str, list[tuple[str, str, int]]] = field(factory=dict)


@define(eq=False)
class SentinelEngine:
    """A Sentinel that watches `watches`. `on_event` is told of every event, as PSUBSCRIBE * on a sentinel is."""

    turns: Turns
    random: Random
    connect: Connect
    file: SentinelFile
    watches: Sequence[Watch]
    commands: Callable[[SentinelEngine, Session, list[bytes]], Reply]
    on_event: Callable[[str, str], object]
    port: int = 26379
    password: str = ""
    run_id: str = field(init=False)
    epoch: int = field(init=False)
    monitored: dict[str, Monitored] = field(factory=dict, init=False)
    channels: Channels = field(factory=Channels, init=False)
    sessions: dict[int, Session] = field(factory=dict, init=False)
    _session_count: int = field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        self.run_id = self.file.run_id = self.file.run_id or new_id(self.random)
        self.epoch = self.file.epoch
        for watch in self.watches:
            self._monitor(watch)

    def _monitor(self, watch: Watch) -> None:
        kept = self.file
        host, port = kept.masters.get(watch.name, (watch.host, watch.port))
        hello: list[Monitored] = []

        def make(kind: Kind, host: str, port: int, run_id: str) -> Instance:
            return self._make_instance(hello[0] if hello else None, watch, kind, host, port, run_id)

        monitored = Monitored(watch, make, make(Kind.MASTER, host, port, ""), kept.config_epochs.get(watch.name, 0))
        hello.append(monitored)
        monitored.leader, monitored.leader_epoch = kept.votes.get(watch.name, (None, 0))
        for address in kept.replicas.get(watch.name, ()):
            monitored.add_replica(*address)
        for run_id, sentinel_host, sentinel_port in kept.sentinels.get(watch.name, ()):
            monitored.add_sentinel(run_id, sentinel_host, sentinel_port)
        self.monitored[watch.name] = monitored

    def _make_instance(
        self, monitored: Monitored | None, watch: Watch, kind: Kind, host: str, port: int, run_id: str
    ) -> Instance:
        instance = Instance(kind, host, port, self.turns.seconds(), run_id)
        password = (self.password,) if self.password else ()
        credentials = password if kind is Kind.SENTINEL else watch.credentials()
        instance.link = Link(self.turns, self.connect, host, port, credentials, lambda: self._ping(instance))
        if kind is not Kind.SENTINEL:
            listening = Link(
                self.turns, self.connect, host, port, credentials, lambda: listening.subscribe(HELLO), self._heard
            )
            instance.listening = listening
        return instance

    # ------------------------------------------------------------------------------------------------------- the file

    def flush(self) -> None:
        """Write the file."""
        self.file.epoch = self.epoch
        for name, monitored in self.monitored.items():
            self.file.masters[name] = monitored.address()
            self.file.config_epochs[name] = monitored.config_epoch
            self.file.votes[name] = (monitored.leader, monitored.leader_epoch)
            around = {monitored.master.address: None, **dict.fromkeys(monitored.replicas)}
            self.file.replicas[name] = [each for each in around if each != monitored.address()]
            self.file.sentinels[name] = [(each.run_id, *each.address) for each in monitored.sentinels.values()]

    def new_epoch(self, epoch: int) -> None:
        """Enter a higher epoch."""
        self.epoch = epoch
        self.flush()
        self.event("+new-epoch", str(epoch))

    def event(self, kind: str, text: str) -> None:
        """Tell those who listen what happens."""
        self.on_event(kind, text)
        self.channels.publish(kind.encode(), text.encode())

    def described(self, instance: Instance, monitored: Monitored) -> str:
        """An instance as events describe it."""
        name = monitored.name if instance.kind is Kind.MASTER else instance.name()
        about = f"{instance.kind.value} {name} {instance.host} {instance.port}"
        if instance.kind is Kind.MASTER:
            return about
        return f"{about} @ {monitored.name} {monitored.master.host} {monitored.master.port}"

    # ------------------------------------------------------------------------------------------------------- sessions

    def open_session(self, address: str, write: Callable[[bytes], None], close: Callable[[], None]) -> Session:
        """A client, or another sentinel, has connected."""
        self._session_count += 1
        session = Session(self, self._session_count, address, None, write, close)
        session.authenticated = not self.password
        self.sessions[session.number] = session
        return session

    def ended(self, session: Session) -> None:
        """A connection is gone."""
        self.channels.forget(session)
        self.sessions.pop(session.number, None)

    def perform(self, session: Session, argv: list[bytes]) -> Reply:
        """Run a command of a client."""
        return self.commands(self, session, argv)

    # --------------------------------------------------------------------------------------------------- looking around

    def tick(self) -> None:
        """Look after everything."""
        for monitored in self.monitored.values():
            self._look_after_master(monitored)
            for instance in [*monitored.replicas.values(), *monitored.sentinels.values()]:
                self._look_after(monitored, instance)
            failover.go_on(self, monitored)

    def _look_after_master(self, monitored: Monitored) -> None:
        self._look_after(monitored, monitored.master)
        now = self.turns.seconds()
        down = monitored.master.is_down() and monitored.votes_for_down(now) >= monitored.watch.quorum
        if down != monitored.objectively_down:
            monitored.objectively_down = down
            votes = f" #quorum {monitored.votes_for_down(now)}/{monitored.watch.quorum}" if down else ""
            self.event("+odown" if down else "-odown", self.described(monitored.master, monitored) + votes)
        started = failover.start_if_needed(self, monitored)
        self._ask_sentinels(monitored, at_once=started)

    def _look_after(self, monitored: Monitored, instance: Instance) -> None:
        now = self.turns.seconds()
        for link in (instance.link, instance.listening):
            if link is not None and not link.is_up() and (not link.since or now - link.since >= PING_PERIOD):
                link.open(monitored.watch.down_after)
        if instance.link.is_up():
            self._send_what_is_due(monitored, instance, now)
        self._break_silent_links(monitored, instance, now)
        patience = monitored.watch.down_after + 2 * INFO_PERIOD
        demoted = instance.kind is Kind.MASTER and instance.role is Kind.REPLICA
        change = instance.judge(now, monitored.watch.down_after, demoted and now - instance.role_since > patience)
        if change is not None:
            self.event(change, self.described(instance, monitored))

    def _send_what_is_due(self, monitored: Monitored, instance: Instance, now: float) -> None:
        trouble = monitored.objectively_down or monitored.step is not Step.NONE or instance.link_down_for > 0
        period = 1.0 if instance.kind is Kind.REPLICA and trouble else INFO_PERIOD
        asked = instance.info_asked if instance.info_asked is not None and instance.link.pending() else instance.info_at
        if instance.kind is not Kind.SENTINEL and (asked is None or now - asked > period):
            instance.info_asked = now
            instance.link.send("INFO", then=lambda reply: self._informed(monitored, instance, reply))
        ping_period = min(PING_PERIOD, monitored.watch.down_after)
        if now - instance.last_pong > ping_period and now - instance.last_ping > ping_period / 2:
            self._ping(instance)
        if now - instance.last_hello > HELLO_PERIOD:
            instance.last_hello = now
            instance.link.send("PUBLISH", HELLO, hello_of(self, monitored, instance.link.own_host()))

    def _break_silent_links(self, monitored: Monitored, instance: Instance, now: float) -> None:
        half = monitored.watch.down_after / 2
        link, listening = instance.link, instance.listening
        silent = instance.act_ping is not None and now - instance.act_ping > half and now - instance.last_pong > half
        if link.is_up() and silent and now - link.since > OLDEST_LINK:
            link.close()
        if listening is not None and listening.is_up():
            mute = now - listening.last_received > 3 * HELLO_PERIOD
            if mute and now - listening.since > OLDEST_LINK:
                listening.close()

    def _ping(self, instance: Instance) -> None:
        if instance.link.send("PING", then=lambda reply: self._ponged(instance, reply)):
            instance.pinged(self.turns.seconds())

    def _ponged(self, instance: Instance, reply: Any) -> None:
        text = str(reply) if isinstance(reply, hiredis.ReplyError) else reply.decode("latin-1")
        instance.ponged(self.turns.seconds(), text.startswith(("PONG", "LOADING", "MASTERDOWN")))

    def _informed(self, monitored: Monitored, instance: Instance, reply: Any) -> None:
        if isinstance(reply, bytes):
            take_info(self, monitored, instance, reply.decode("latin-1"))

    def _heard(self, message: Any) -> None:
        if isinstance(message, list) and message[0] == b"message":
            take_hello(self, message[2].decode("latin-1"))

    def say_hello_soon(self, monitored: Monitored) -> None:
        """Say hello at the next look around: the configuration is new."""
        for instance in monitored.instances():
            instance.last_hello = self.turns.seconds() - 2 * HELLO_PERIOD

    def _ask_sentinels(self, monitored: Monitored, at_once: bool) -> None:
        """Ask the others whether the master is down for them too, and in a failover for their votes."""
        now = self.turns.seconds()
        if not monitored.master.is_down():
            return
        candidate = self.run_id if monitored.step is not Step.NONE else "*"
        for each in monitored.sentinels.values():
            if at_once or each.answered_at is None or now - each.answered_at >= ASK_PERIOD:
                if each.link.pending() > 20:
                    continue  # it does not answer
                asked = ("SENTINEL", "IS-MASTER-DOWN-BY-ADDR", *monitored.master.address, self.epoch, candidate)
                each.link.send(*asked, then=partial(self._answered, each))

    def _answered(self, sentinel: Instance, reply: Any) -> None:
        if isinstance(reply, list) and len(reply) == 3:
            sentinel.answered_at = self.turns.seconds()
            sentinel.says_down = bool(reply[0])
            if reply[1] != b"*":
                sentinel.leader, sentinel.leader_epoch = reply[1].decode(), reply[2]

    # ------------------------------------------------------------------------------------------------- reconfiguring

    def point(self, instance: Instance, master: tuple[str, int] | None) -> bool:
        """Tell a Redis whom to follow, or (None) to lead, and to close its clients; whether it could be sent."""
        link = instance.link
        if not link.is_up():
            return False
        link.send("MULTI")
        link.send("SLAVEOF", *(("NO", "ONE") if master is None else master))
        link.send("CONFIG", "REWRITE")
        link.send("CLIENT", "KILL", "TYPE", "normal")
        link.send("CLIENT", "KILL", "TYPE", "pubsub")
        link.send("EXEC")
        return True

    def switch(self, monitored: Monitored, host: str, port: int) -> None:
        """From now on the master is there."""
        old = monitored.master.address
        monitored.move(host, port, self.turns.seconds())
        self.flush()
        self.event("+switch-master", f"{monitored.name} {old[0]} {old[1]} {host} {port}")

    def stop(self) -> None:
        """Break all links."""
        for monitored in self.monitored.values():
            monitored.close()
        for session in list(self.sessions.values()):
            session.end()
