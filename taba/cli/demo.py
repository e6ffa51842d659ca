"""`demo`: lively traffic of all eight Types, for somebody who has just started a server and wants to see something.

Three applications serve requests whose number goes up and down; each is a client of its own, recorded with the client
that every application uses.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, Protocol

import click
from attrs import define, field, frozen

from taba.cli.options import agent_option, common_options
from taba.cli.server import Question, Unreachable, base_url, url_of
from taba.cli.session import ANSWERED_ERROR, UNREACHABLE, Session, reason_of

TICK = 0.1
"""Seconds between two steps of the traffic."""
FLUSH_SECONDS = 0.5
CLIENTS = ("demo.web1", "demo.web2", "demo.batch")
TABS = (
    ("demo_requests", "CounterGroup"),
    ("demo_response_ms", "PercentileGroup"),
    ("demo_bytes_sent", "TotalsCounter"),
    ("demo_request_bytes", "PercentileCounter"),
    ("demo_visitors", "UniqueGroup"),
    ("demo_version", "Gauge"),
    ("demo_busy", "ExpiryGauge"),
    ("demo_slow_requests", "Buffer"),
)
SLOW_MS = 250.0
VISITORS = 5_000
BUSY_SECONDS = 15.0
SLOW_SECONDS = 300.0

NEXT = """\
Recording all eight Types as {clients}, some {rate:g} requests a second, through {agent}.

Look at it, in another terminal:
  taba-cli watch demo_requests demo_response_ms
  taba-cli agg --table demo_requests
  taba-cli proj demo_version
  taba-cli agg demo_visitors
  taba-cli agg demo_slow_requests
  taba-cli ledger
  taba-cli check demo_response_ms 1m.p99 --max 500
Afterwards, to have none of it left:  taba-cli delete --re demo_
"""


@frozen
class Event:
    """One event of the traffic."""

    client: str
    tab: str
    type: str
    value: Any


@define
class Traffic:
    """What the applications record, step by step. Pure: the time and chance are given."""

    rate: float
    """Requests per second of all applications, on the average."""
    random: Random
    _due: float = field(default=0.0, init=False)
    _gauges: float = field(default=-math.inf, init=False)

    def step(self, now: float, seconds: float) -> list[Event]:
        """The events of the last `seconds` before the wall time `now`."""
        opening = self._gauges == -math.inf
        swing = 1.0 + 0.6 * math.sin(now / 9.0) + 0.3 * math.sin(now / 2.3)
        self._due += self.rate * swing * seconds
        # Every Type is there from the first step on.
        events = self._request(now, slow=True) if opening else []
        while self._due >= 1.0:
            self._due -= 1.0
            events += self._request(now)
        if now >= self._gauges + 1.0:
            self._gauges = now
            versions = zip(CLIENTS, ("2.5.0", "2.5.0", "2.4.1"), strict=True)
            events += [Event(client, "demo_version", "Gauge", version) for client, version in versions]
            if swing > 1.2 or opening:
                until = now + BUSY_SECONDS
                events += [Event(each, "demo_busy", "ExpiryGauge", ("busy", until)) for each in CLIENTS[:2]]
        return events

    def _request(self, now: float, slow: bool = False) -> list[Event]:
        client = self.random.choice(CLIENTS)
        took = round(self.random.lognormvariate(3.6 if client == CLIENTS[2] else 3.0, 0.8), 2)
        took += SLOW_MS if slow else 0.0
        received, sent = self.random.randint(200, 4_000), self.random.randint(500, 60_000)
        events = [
            Event(client, "demo_requests", "CounterGroup", 1),
            Event(client, "demo_response_ms", "PercentileGroup", took),
            Event(client, "demo_bytes_sent", "TotalsCounter", sent),
            Event(client, "demo_request_bytes", "PercentileCounter", received),
            Event(client, "demo_visitors", "UniqueGroup", f"visitor-{int(self.random.paretovariate(0.7)) % VISITORS}"),
        ]
        if took > SLOW_MS:
            value = {"path": self.random.choice(("/search", "/report", "/export")), "ms": took}
            events.append(Event(client, "demo_slow_requests", "Buffer", (value, now + SLOW_SECONDS)))
        return events


class Recorder(Protocol):
    """The part of `taba.client.Client` that is used here."""

    def record_event(self, name: str, type: str, value: object) -> None:
        """Record one event."""

    def stop(self, timeout: float = ...) -> Any:
        """Send what is left."""

    def get_status(self) -> dict[str, Any]:
        """How it does."""


def make_recorder(session: Session, client: str) -> Recorder:
    """A client that posts to the agent of the session."""
    from taba.client.api import Client

    made = Client()
    url = f"{base_url(session.agent)}/post"
    # A token that was read from a file; the empty file name keeps the environment's out where there is none.
    given: dict[str, Any] = {"token": session.token} if session.token else {"token_file": ""}
    made.initialize(client, url, FLUSH_SECONDS, ca_file=session.ca_file, **given)
    return made


def run(
    session: Session,
    traffic: Traffic,
    recorders: dict[str, Recorder],
    seconds: float | None,
    told: Callable[[int], None],
) -> int:
    """Record until Ctrl-C, or for some seconds; how many events. `told` hears of them at each step."""
    started = before = session.seconds()
    count = 0
    try:
        while seconds is None or before - started < seconds:
            session.sleep(TICK)
            now = session.seconds()
            for event in traffic.step(session.wall(), now - before):
                recorders[event.client].record_event(event.tab, event.type, event.value)
                count += 1
            before = now
            told(count)
    except KeyboardInterrupt:
        pass
    return count


@click.command()
@click.option("--seconds", metavar="SECONDS", type=click.FloatRange(0, min_open=True), help="End after so long.")
@click.option("--rate", metavar="N", type=click.FloatRange(1, 20_000), default=100.0, show_default=True,
              help="Requests a second, each of five events.")  # fmt: skip
@agent_option
@common_options
@click.pass_obj
def demo(session: Session, seconds: float | None, rate: float) -> None:
    """Record lively traffic of all eight Types, until Ctrl-C.

    To see how Taba works; it says what to look at next.
    """
    base = base_url(session.agent)
    _look(session, base)
    if not session.as_json:
        session.put(NEXT.format(clients=", ".join(CLIENTS), rate=rate, agent=base))
    recorders = {client: make_recorder(session, client) for client in CLIENTS}
    traffic = Traffic(rate, Random(time.time_ns()))
    count = run(session, traffic, recorders, seconds, lambda so_far: session.progress(f"{so_far} events recorded"))
    session.end_progress()
    left = _stop(list(recorders.values()))
    if session.as_json:
        session.put_facts({"recorded": count, "not_acknowledged": left})
    else:
        session.put(f"{count} events were recorded" + (", and the agent has all of them." if not left else "."))
    if left:
        session.fail(ANSWERED_ERROR, f"{left} events were not acknowledged: see `taba-cli ledger`.")


def _look(session: Session, base: str) -> None:
    """Exit when no agent answers: a client would only wait for one."""
    url = url_of(base, "/readyz", {})
    try:
        reply = session.send(Question(url, "text/plain", session.timeout, session.token, session.ca_file))
    except Unreachable as problem:
        session.fail(UNREACHABLE, session.nobody(base, problem, True))
    if reply.status != 200:
        session.fail(ANSWERED_ERROR, f"{base} answers {reply.status}: {reason_of(reply)}")


def _stop(recorders: Sequence[Recorder]) -> int:
    """Stop clients; how many of their events were not acknowledged."""
    left = 0
    for each in recorders:
        each.stop()
        status = each.get_status()
        left += sum(status.get(name, 0) for name in ("buffered_events", "refused", "unknown", "full", "rejected"))
    return left
