"""ExpiryGauge: how many clients show which value. Of a client the latest value counts, until it expires.

"Latest" is by time, then by the agent's arrival stamp, then by the bytes of the value, then by expiry: a total order,
so that folding commutes over lanes and agents. When the latest has expired nothing is shown, whatever came before it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

from zope.interface import implementer

from taba import native
from taba.errors import CorruptBlob
from taba.handlers.encoding import Reader, check_canonical, encode_uvarint, head, present
from taba.handlers.expiring import Entry, arrived, decode_json, read_entries, written
from taba.handlers.gauge import shown_value
from taba.interfaces import IHandler, Style

STATE: Final = 0x06
"""The first byte of a State."""
VERSION: Final = 1


def _lateness(entry: Entry) -> tuple[float, int, bytes, float]:
    return entry.time, entry.stamp, entry.value, entry.expiry


def _place(entry: Entry) -> tuple[bytes, float, float, int]:
    return entry.value, entry.expiry, entry.time, entry.stamp


def _encode(entries: Iterable[Entry]) -> bytes:
    placed = sorted(entries, key=_place)
    if not placed:
        return b""
    return head(STATE, VERSION) + encode_uvarint(len(placed)) + b"".join(entry.encode() for entry in placed)


def _decode(state: bytes) -> list[Entry]:
    """The entries, one a client; CodecError for what is no State."""
    if not state:
        return []
    reader = Reader.of_state(state, STATE, VERSION)
    entries = read_entries(reader)
    reader.end()
    if not entries:
        raise CorruptBlob("a State without events")
    check_canonical(state, _encode(entries))
    return entries


def _of_client(state: bytes) -> list[Entry]:
    """The entry of one client, or none; ValueError for a State of several."""
    entries = _decode(state)
    if len(entries) > 1:
        raise ValueError("a State of several clients is not folded into, nor merged as if it were of one")
    return entries


@implementer(IHandler)
class ExpiryGauge:
    """Events carry [VALUE, EXPIRY]: any JSON, and the time in seconds since 1970 until which it is shown. Agents refuse
    events of another shape; one that came in all the same changes nothing.
    """

    name = "ExpiryGauge"
    kind = native.RAW
    shape = native.RAW_EXPIRING
    running_aggregate = False
    version = VERSION

    def fold(self, state: bytes, partials: Sequence[bytes]) -> bytes:
        """See `IHandler.fold`; the State is of one client, ValueError for one of several."""
        entries = _of_client(state)
        for partial in partials:
            entries += arrived(partial, None)
        return _encode([max(entries, key=_lateness)] if entries else [])

    def reduce(self, states: Sequence[bytes]) -> bytes:
        """See `IHandler.reduce`: the entries of all, equal ones each."""
        return _encode(entry for state in states for entry in _decode(state))

    def render(self, state: bytes, time: float, style: Style) -> str:
        """`{"VALUE": clients, ...}` of what has not expired, ascending by value; the same in every style."""
        alive = Counter(entry.value for entry in _decode(state) if entry.expiry > time)
        clients: Counter[str] = Counter()
        for value, count in alive.items():  # few, as a rule: each is decoded once, not once a client
            clients[written(shown_value([decode_json(value)]))] += count  # the value itself, also where it is an array
        return json.dumps(clients, ensure_ascii=False, sort_keys=True)

    def expired(self, state: bytes, time: float) -> bool:
        """Whether every value has expired at `time`."""
        return all(entry.expiry <= time for entry in _decode(state))

    def upgrade(self, state: bytes) -> bytes:
        """There is one version so far; CodecError for a State of another version or Type."""
        return present(state, STATE, VERSION)

    def newest(self, state: bytes) -> float:
        """See `IHandler.newest`: the exact time, whether or not that event's value has expired."""
        return max((entry.time for entry in _decode(state)), default=0.0)

    def merge(self, older: bytes, newer: bytes) -> bytes:
        """See `IHandler.merge`: the latest value; ValueError for a State of several clients."""
        return _encode([max(entries, key=_lateness)] if (entries := _of_client(older) + _of_client(newer)) else [])
