"""The base of Handlers that somebody else writes: what to do with a value, in plain Python; the bytes are done here.

A State is `0x7f, u8 version, u32 CRC-32 of the Type's name, f64 time of the newest event`, then the value as the
subclass encodes it. The laws of `taba.interfaces.IHandler` hold when the subclass keeps the three that stand at
`PythonHandler`; `taba.testing.handlers.check_laws` tries them.
"""

from __future__ import annotations

import functools
import json
import struct
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, Final, Generic, TypeVar

from attrs import frozen
from zope.interface import implementer

from taba import native
from taba.errors import CodecError, CorruptBlob, UnknownVersion, WrongType
from taba.handlers.encoding import Reader, encode_f64, head
from taba.handlers.expiring import decode_json, written
from taba.interfaces import IHandler, Style

STATE: Final = 0x7F
"""The first byte of a State."""

_TYPE: Final = struct.Struct("<I")

V = TypeVar("V")


@frozen
class Event:
    """One event as it came."""

    time: float
    """Seconds since 1970."""
    stamp: int
    """The agent's arrival stamp, in microseconds: of events of one agent with equal times, the later one has more."""
    payload: bytes
    """JSON, UTF-8."""
    value: Any
    """The payload, decoded."""

    @property
    def order(self) -> tuple[float, int, bytes]:
        """By what one event is later than another: a total order that does not depend on the way it came."""
        return self.time, self.stamp, self.payload


@frozen
class Held(Generic[V]):
    """What a State holds: a value, and the time of the newest event in it."""

    newest: float
    value: V


def in_order(events: Iterable[native.GaugeEntry]) -> list[Event]:
    """Events of a raw Partial by `Event.order`, with their payloads decoded. CorruptBlob for what is not JSON."""
    decoded = [Event(event.time, event.stamp, event.value, decode_json(event.value)) for event in events]
    return sorted(decoded, key=lambda event: event.order)


@implementer(IHandler)
class PythonHandler(ABC, Generic[V]):
    """A Type in Python. A subclass gives `name`, the six abstract methods below, and, when the encoding of its value
    changes, another `version`. It keeps no attributes that change: one object serves all tabs, in any thread.

    A value `V` is any Python object that stands for a set of events. Three laws have to hold: `add` comes to the same
    in whatever order events are added; `join` of two values is the value of the events of both; and decode(encode(v))
    is as good as v. Where the order of events matters (the latest one wins), keep `Event.order` of what counts in the
    value, and compare.

    What `add` raises does no harm: the Partial (one client's events of one tab, in one commit of an agent) is set aside
    by the server, with all that is known of it, until a better Handler folds it.
    """

    name: str = ""
    """The Type, as events carry it."""
    version: int = 1
    """Of the encoding of a value, from 1 to 255. `decode` is told in which of them a value was written."""
    kind: int = native.RAW
    running_aggregate: bool = True
    """Whether the values of several clients are joined as those of one are. False where `join_clients` differs."""

    # ------------------------------------------------------------------------------------------ what a Type says

    @abstractmethod
    def empty(self) -> V:
        """The value of no events; a new one at each call."""

    @abstractmethod
    def add(self, value: V, event: Event) -> V:
        """The value with one more event; may change and return the one that is given."""

    @abstractmethod
    def join(self, one: V, other: V) -> V:
        """The value of the events of both; may change `one` and return it, but not `other`."""

    @abstractmethod
    def encode(self, value: V) -> bytes:
        """The value as bytes; equal values as equal bytes."""

    @abstractmethod
    def decode(self, data: bytes, version: int) -> V:
        """The value of such bytes, written by this or an older version. Whatever is raised, the State is refused."""

    @abstractmethod
    def show(self, value: V, time: float, style: Style) -> Any:
        """The value as it is at `time`, in seconds since 1970: something that JSON can express."""

    def join_clients(self, one: V, other: V) -> V:
        """The values of two clients, or of two tabs, as one; as `join`, unless told."""
        return self.join(one, other)

    def is_over(self, value: V, time: float) -> bool:
        """Whether `show` gives at `time`, and for ever after, what it gives for no events: then the State may be
        pruned. Never, unless told.
        """
        return False

    # ------------------------------------------------------------------------------------------ IHandler

    def fold(self, state: bytes, partials: Sequence[bytes]) -> bytes:
        """See `IHandler.fold`."""
        if not partials:
            return self.upgrade(state)
        events = in_order(event for partial in partials for event in native.raw_events(partial))
        held = self.held(state)
        newest = max(events[-1].time, held.newest) if state else events[-1].time
        return self._state(Held(newest, functools.reduce(self.add, events, held.value)))

    def reduce(self, states: Sequence[bytes]) -> bytes:
        """See `IHandler.reduce`."""
        given = [self.held(state) for state in states if state]
        if not given:
            return b""
        newest = max(each.newest for each in given)
        return self._state(Held(newest, functools.reduce(self.join_clients, [each.value for each in given])))

    def render(self, state: bytes, time: float, style: Style) -> str:
        """See `IHandler.render`: what `show` gives, as JSON."""
        shown = self.show(self.held(state).value, time, style)
        return written(json.dumps(shown, ensure_ascii=False, allow_nan=False))

    def expired(self, state: bytes, time: float) -> bool:
        """See `IHandler.expired`."""
        return not state or self.is_over(self.held(state).value, time)

    def upgrade(self, state: bytes) -> bytes:
        """See `IHandler.upgrade`."""
        if not state or state[1:2] == bytes((self.version,)):
            self._open(state)
            return state
        return self._state(self.held(state))

    def newest(self, state: bytes) -> float:
        """See `IHandler.newest`: the exact time."""
        reader = self._open(state)
        return reader.f64() if reader is not None else 0.0

    def merge(self, older: bytes, newer: bytes) -> bytes:
        """See `IHandler.merge`."""
        if not (older and newer):
            return self.upgrade(older or newer)
        one, other = self.held(older), self.held(newer)
        return self._state(Held(max(one.newest, other.newest), self.join(one.value, other.value)))

    # ------------------------------------------------------------------------------------------ bytes

    def held(self, state: bytes) -> Held[V]:
        """What a State of this or an older version holds; CodecError for what is none."""
        reader = self._open(state)
        if reader is None:
            return Held(0.0, self.empty())
        newest, data = reader.f64(), state[reader.offset :]
        try:
            return Held(newest, self.decode(data, state[1]))
        except CodecError:
            raise
        except Exception as problem:  # anybody's code
            raise CorruptBlob(f"no value of {self.name}: {type(problem).__name__}: {problem}")

    def _open(self, state: bytes) -> Reader | None:
        """A reader behind the head of a State, None for the empty one. CodecError for another head."""
        if not state:
            return None
        reader = Reader(state)
        first, version = reader.u8(), reader.u8()
        if first != STATE or reader.take(_TYPE.size) != self._type():
            raise WrongType(f"a State of another Type than {self.name}")
        if not 1 <= version <= self.version:
            raise UnknownVersion(f"version {version} of {self.name}; the newest known here is {self.version}")
        return reader

    def _state(self, held: Held[V]) -> bytes:
        return head(STATE, self.version) + self._type() + encode_f64(held.newest) + self.encode(held.value)

    def _type(self) -> bytes:
        return _TYPE.pack(native.crc32(self.name.encode()))
