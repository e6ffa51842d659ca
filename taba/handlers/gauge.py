"""Gauge: how many clients show which value. Of a client the latest value counts, for 48 hours after its time.

"Latest" is by time, then by the agent's arrival stamp, then by bytes: a total order, so that folding commutes over
lanes and agents.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from zope.interface import implementer

from taba import native
from taba.handlers.encoding import present
from taba.handlers.expiring import written
from taba.interfaces import IHandler, Style

LIFETIME: Final = 48 * 3600.0
"""Seconds after its time for which a value is shown."""


def shown_value(value: Any) -> str:
    """How a value is written as a key: of an array its first element, a structure as JSON, all else by str()."""
    if isinstance(value, list) and value:
        value = value[0]
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False)
    return str(value)


def _lateness(state: bytes) -> tuple[float, int, bytes] | tuple[()]:
    """By what the State of one client is later than another; the empty one is the earliest."""
    entries = native.gauge_entries(state)
    if len(entries) > 1:
        raise ValueError("States of several clients are not merged into one of one client")
    return (entries[0].time, entries[0].stamp, entries[0].value) if entries else ()


@implementer(IHandler)
class Gauge:
    """Events carry any JSON."""

    name = "Gauge"
    kind = native.GAUGE
    running_aggregate = False
    version = 1

    def fold(self, state: bytes, partials: Sequence[bytes]) -> bytes:
        """See `IHandler.fold`; the State is of one client."""
        return native.fold(self.kind, state, partials)

    def reduce(self, states: Sequence[bytes]) -> bytes:
        """See `IHandler.reduce`."""
        return native.reduce(self.kind, states)

    def render(self, state: bytes, time: float, style: Style) -> str:
        """`{"VALUE": clients, ...}`, ascending by value."""
        alive = Counter(entry.value for entry in native.gauge_entries(state) if entry.time + LIFETIME > time)
        clients: Counter[str] = Counter()
        for value, count in alive.items():  # few, as a rule: each is decoded once, not once a client
            clients[shown_value(json.loads(value))] += count
        return written(json.dumps(clients, ensure_ascii=False, sort_keys=True))

    def expired(self, state: bytes, time: float) -> bool:
        """Whether every value is older than its lifetime at `time`."""
        return all(entry.time + LIFETIME <= time for entry in native.gauge_entries(state))

    def upgrade(self, state: bytes) -> bytes:
        """There is one version so far; CodecError for a State of another version or Type."""
        return present(state, self.kind, self.version)

    def newest(self, state: bytes) -> float:
        """See `IHandler.newest`: the exact time."""
        return native.state_newest(self.upgrade(state))

    def merge(self, older: bytes, newer: bytes) -> bytes:
        """See `IHandler.merge`: the State with the later value; ValueError for a State of several clients."""
        return max(older, newer, key=_lateness)
