"""What an application's calls record, until an engine takes it: bounded in bytes, and cheap to add to.

A Recorder keeps, for each tab, one flat list `[time, value, time, value, ...]`. To record a number is one look-up, one
step of an iterator that gives the time and counts the room at once, and one `list.extend`. No lock is taken, as each of
the three is one step under the interpreter's lock. All that is rare (a new tab, another kind of value, no room left)
takes the slow path, under a lock.

Invariants:

* An event whose call has returned is in a list, or counted as dropped. `collect` cuts the lists from their front, in
  place, and never replaces one; so a thread that was held up between finding its list and extending it loses nothing.
* Room is counted in bytes. What is recorded, what is encoded and not yet acknowledged, and the tabs themselves together
  stay within `max_bytes`, give or take the sizes of objects. A call that finds no room drops its own event: the newest.
* No method that records raises, logs, does IO, or waits for anything but a lock that is held for microseconds.

Any thread may record. `open`, `close`, `collect`, `release` and `restart` are for the one engine.
"""

from __future__ import annotations

import operator
import sys
from collections.abc import Callable, Iterator
from itertools import repeat, starmap
from threading import RLock

from taba.client.cutting import EVENT_BYTES, PAYLOAD_BYTES, TAB_BYTES, Cut, Cutting, Log, room_of
from taba.client.drops import FULL, NAME, VALUE, Drops
from taba.client.encoding import Block, UnusableValue, encode_payload
from taba.client.names import is_valid_name

COUNTER_GROUP = "CounterGroup"
PERCENTILE_GROUP = "PercentileGroup"
OTHER_NUMBERS = ("TotalsCounter", "PercentileCounter")  # the other Types that agents take in columns
GAUGE = "Gauge"
EXPIRY_GAUGE = "ExpiryGauge"
BUFFER = "Buffer"
UNIQUE_GROUP = "UniqueGroup"

DEFAULT_MAX_BYTES = 16 << 20
BUFFER_SECONDS = 86_400.0  # how long an entry of a Buffer stays where the client has to say it

_STAGES = 8  # parts that the room is handed out in
_SWEEP_COLLECTS = 60  # tabs without an event during so many collects are forgotten



class Recorder:
    """The recording half of a client. It starts closed: what is recorded then is dropped."""

    __slots__ = (
        "_collects",
        "_counters",
        "_cutting",
        "_leaving",
        "_lock",
        "_max_bytes",
        "_numbers",
        "_on_pressure",
        "_on_revival",
        "_open",
        "_payloads",
        "_percentiles",
        "_reserve",
        "_stage",
        "_stamps",
        "_tab_bytes",
        "_uncollected",
        "_used",
        "drops",
        "not_running",
        "wall",
    )

    _on_revival: Callable[[], None] | None
    _uncollected: int

    def __init__(self, wall: Callable[[], float], max_bytes: int = DEFAULT_MAX_BYTES) -> None:
        """`wall` gives the time in seconds since 1970 and must not raise. `max_bytes` bounds all that is kept."""
        self.wall = wall
        self._max_bytes = max_bytes
        self._on_pressure: Callable[[], None] = _nothing
        self.restart()

    # -- recording -------------------------------------------------------------------------------------------------

    def counter(self, name: str, value: object = 1) -> None:
        """Record `value`, a number, in the CounterGroup tab `name`: one event more, and `value` on the total.

        Never raises: what cannot be recorded is dropped, counted and logged once.
        """
        try:
            if type(value) is int or type(value) is float:
                self._counters[name].extend((next(self._stamps), value))
                return
        except Exception:  # an unknown tab, a used-up stage, a name that cannot be one: the slow path tells them apart
            pass
        self._record(name, COUNTER_GROUP, value)

    def percentile(self, name: str, value: object = 1) -> None:
        """Record `value`, a number, in the PercentileGroup tab `name`. Never raises, as `counter`."""
        try:
            if type(value) is int or type(value) is float:
                self._percentiles[name].extend((next(self._stamps), value))
                return
        except Exception:  # as in `counter`
            pass
        self._record(name, PERCENTILE_GROUP, value)

    def gauge(self, name: str, value: object, expiration: float | None = None) -> None:
        """Set this client's value of the tab `name` to anything that JSON can hold, as it is now. Never raises.

        With `expiration`, in seconds since 1970, the tab is an ExpiryGauge, and the value is shown until then; without,
        it is a Gauge.
        """
        if expiration is None:
            self._record(name, GAUGE, value)
        else:
            self._record(name, EXPIRY_GAUGE, (value, expiration))

    def buffer(self, name: str, value: object, expiration: float | None = None) -> None:
        """Add `value`, anything that JSON can hold, to the list that the Buffer tab `name` shows. Never raises.

        It is shown until `expiration`, in seconds since 1970; by default for as long as the server's settings say. (A
        list or tuple gets an expiration of one day here: bare, it could be taken for a value with its expiration.)
        """
        if expiration is None and isinstance(value, (list, tuple)):
            expiration = self.wall() + BUFFER_SECONDS
        self._record(name, BUFFER, value if expiration is None else (value, expiration))

    def unique(self, name: str, value: object) -> None:
        """Record `value`, a string or number, in the UniqueGroup tab `name`, which counts distinct ones. Never raises.

        A number is the text that JSON has for it: 3 and "3" are one value, 3.0 is another.
        """
        if isinstance(value, bool) or not isinstance(value, (str, int, float)):
            text = f"dropped: a value of {name!r:.100} must be a string or a number, not {type(value).__name__:.100}"
            self.drops.count(name, VALUE, notice=text)
        else:
            self._record(name, UNIQUE_GROUP, value)

    def record_event(self, name: str, type: str, value: object) -> None:
        """Record `value`, anything that JSON can hold, in the tab `name` of any Type, your own too. Never raises."""
        if type == COUNTER_GROUP:
            self.counter(name, value)
        elif type == PERCENTILE_GROUP:
            self.percentile(name, value)
        elif type == UNIQUE_GROUP:
            self.unique(name, value)
        else:
            self._record(name, type, value)

    # -- the slow path ---------------------------------------------------------------------------------------------

    def _record(self, name: object, type_name: object, value: object) -> None:
        """Record anything, whatever it is; the event is dropped and counted where it cannot be."""
        try:
            if not self._open and not self._revive():
                self.not_running += 1
            elif not is_valid_name(name) or not is_valid_name(type_name):
                text = f"dropped: {name!r:.100} cannot name a tab, or {type_name!r:.100} a Type"
                self.drops.count(name, NAME, notice=text)
            elif type_name in self._numbers and (type(value) is int or type(value) is float):
                self._add_number(name, self._numbers[type_name], value)
            else:
                self._add_payload(name, type_name, encode_payload(value))
        except UnusableValue as error:
            self.drops.count(name, VALUE, notice=f"dropped: a value of {name} cannot be sent: {error}")
        except Exception as error:  # nothing that is wrong with a metric may harm the application
            self.drops.count("", VALUE, notice=f"dropped: an event could not be recorded: {error!r:.200}")

    def _revive(self) -> bool:
        """In a forked child the first event starts the engine. Whether the Recorder is open after that."""
        if self._on_revival is not None:
            with self._lock:
                revive, self._on_revival = self._on_revival, None
                if revive is not None:
                    revive()
        return self._open

    def _add_number(self, name: str, logs: dict[str, Log], value: int | float) -> None:
        with self._lock:
            log = self._log(logs, name)
            stamp = None if log is None else self._stamp()
            if log is None or stamp is None:
                self._drop_full(name)
            else:
                log.extend((stamp, value))

    def _add_payload(self, name: str, type_name: str, payload: str) -> None:
        with self._lock:
            size = PAYLOAD_BYTES + len(payload)
            log = self._log(self._payloads.setdefault(type_name, {}), name)
            if log is None or self._reserve < size or not self._open:
                self._drop_full(name)
            else:
                self._reserve -= size
                log.extend((self.wall(), payload))
                self._relieve(size)

    def _log(self, logs: dict[str, Log], name: str) -> Log | None:
        """The list of a tab, a new one if need be, or None when there is no room for one."""
        log = logs.get(name)
        if log is None:
            size = TAB_BYTES + len(name)
            if self._reserve < size:
                return None
            self._reserve -= size
            self._tab_bytes += size
            log = logs.setdefault(name, [])
        return log

    def _stamp(self) -> float | None:
        """The time, for one event, from the next stage of the room if this one is used up; None without room."""
        stamp = next(self._stamps, None)
        if stamp is None and self._open and self._reserve >= EVENT_BYTES:
            events = max(1, min(self._max_bytes // _STAGES, self._reserve) // EVENT_BYTES)
            self._reserve -= events * EVENT_BYTES
            # One is this event's: others, who take no lock, may use up a stage before a thread comes to its turn.
            self._set_stage(events - 1)
            self._relieve(events * EVENT_BYTES)
            stamp = self.wall()
        return stamp

    def _set_stage(self, events: int) -> None:
        self._stage = repeat((), events)
        self._stamps: Iterator[float] = starmap(self.wall, self._stage)

    def _relieve(self, size: int) -> None:
        """Ask the engine to come early when a quarter of the room was used since it came: encoded, events take less."""
        self._uncollected += size
        if self._uncollected >= self._max_bytes // 4:
            self._uncollected = 0
            self._on_pressure()

    def _drop_full(self, name: str) -> None:
        self.drops.count(name, FULL)
        self.drops.notice(FULL, "the buffer is full: new events are dropped until there is room again")

    # -- for the engine and the sender -----------------------------------------------------------------------------

    def open(self, on_pressure: Callable[[], None]) -> None:
        """Start to record. `on_pressure` is called when much was recorded since the last `collect`, in the thread of a
        recording call and under a lock: it must return at once."""
        self._on_pressure = on_pressure
        self._open = True

    def close(self) -> None:
        """Stop recording. What was recorded stays, to be collected; what is recorded from now on is dropped."""
        with self._lock:
            self._open = False
            self._on_revival = None
            self._reserve += self._unused_stage()
            self._set_stage(0)

    def restart(self, on_revival: Callable[[], None] | None = None) -> None:
        """Forget everything, and be closed.

        Called in a forked child, where the first event calls `on_revival`, which may open the Recorder. The parent's
        locks are replaced, never waited for, as the threads that held them do not exist here.
        """
        self._lock = RLock()
        self._open = False
        self._on_revival = on_revival
        self._counters: dict[str, Log] = {}
        self._percentiles: dict[str, Log] = {}
        self._numbers = {COUNTER_GROUP: self._counters, PERCENTILE_GROUP: self._percentiles}
        self._numbers |= {type_name: {} for type_name in OTHER_NUMBERS}
        self._payloads: dict[str, dict[str, Log]] = {}
        self._leaving: list[tuple[Cut, str, str, Log]] = []
        self._used: set[int] = set()
        self._collects = 0
        self._tab_bytes = 0
        self._uncollected = 0
        self._reserve = self._max_bytes
        self._set_stage(0)
        self.drops = Drops()
        self._cutting = Cutting(self.drops)
        self.not_running = 0
        """How many were recorded while closed. No lock guards it: threads may count over each other."""

    def collect(self) -> list[Block]:
        """All events recorded up to now, encoded. Their Blocks use up room until they are given to `release`."""
        blocks: list[Block] = []
        freed = self._collect_leaving(blocks)
        self._collects += 1
        self._uncollected = 0
        for type_name, logs in self._numbers.items():
            freed += self._cutting.all_numbers(type_name, logs, blocks, self._used)
        for type_name, logs in list(self._payloads.items()):
            freed += self._cutting.all_payloads(type_name, logs, blocks, self._used)
        self.release(freed - room_of(blocks))
        if self._collects % _SWEEP_COLLECTS == 0 or self._tab_bytes > self._max_bytes // 4:
            self._sweep()
        return blocks

    def release(self, size: int) -> None:
        """Count `size` bytes as free again; less than nothing is that much taken, for which there need not be room."""
        with self._lock:
            self._reserve += size
            if self._reserve > self._max_bytes // 2:
                self.drops.forget(FULL)

    def buffered(self) -> int:
        """How many events are recorded and not collected."""
        return sum(len(log) // 2 for _, _, _, log in (*self._logs(), *list(self._leaving)))

    def used_bytes(self) -> int:
        """How much of the room is used."""
        with self._lock:
            return self._max_bytes - self._reserve - self._unused_stage()

    # -- collecting ------------------------------------------------------------------------------------------------

    def _unused_stage(self) -> int:
        return operator.length_hint(self._stage) * EVENT_BYTES

    def _logs(self) -> Iterator[tuple[Cut, str, str, Log]]:
        """All tabs, with the function that collects from each. `list` takes a copy in one step: others may add tabs."""
        for cut, kind in ((self._cutting.numbers, self._numbers), (self._cutting.payloads, self._payloads)):
            for type_name, logs in list(kind.items()):
                for tab, log in list(logs.items()):
                    yield cut, tab, type_name, log

    def _sweep(self) -> None:
        """Set aside the tabs without an event since the last sweep: names that come and go must not use up the room."""
        if not hasattr(sys, "getrefcount"):  # the only way to know that no thread is about to extend the list
            return
        for cut, tab, type_name, log in list(self._logs()):
            if not log and id(log) not in self._used:
                kind = self._numbers if cut == self._cutting.numbers else self._payloads
                del kind[type_name][tab]
                self._leaving.append((cut, tab, type_name, log))
        self._used.clear()

    def _collect_leaving(self, blocks: list[Block]) -> int:
        """Forget the tabs set aside, but for those whose list a thread still holds; collect what came in meanwhile.
        The room that was used up by all of these.
        """
        freed = 0
        leaving, self._leaving = self._leaving, []
        for entry in leaving:
            cut, tab, type_name, log = entry
            alone = sys.getrefcount(log) <= 3  # by the entry, by the name `log`, by the argument
            if log:
                freed += cut(tab, type_name, log, blocks)
            if alone:
                size = TAB_BYTES + len(tab)
                self._tab_bytes -= size
                freed += size
            else:
                self._leaving.append(entry)
        return freed


def _nothing() -> None:
    """What is called under pressure before an engine is there."""
