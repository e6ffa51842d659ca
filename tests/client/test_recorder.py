"""What is recorded, and what becomes of it when it cannot be."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable
from itertools import count

from twisted.trial.unittest import SynchronousTestCase

from taba.client.cutting import EVENT_BYTES, TAB_BYTES, room_of
from taba.client.drops import FULL, MAX_TABS, OTHERS, UNKNOWN, VALUE, Drops
from taba.client.encoding import Block, encode_frame
from taba.client.recorder import Recorder
from tests.client.model_agent import Event, read_frame

ROOM = 100_000


def opened(max_bytes: int = ROOM, wall: Callable[[], float] = lambda: 1000.0) -> Recorder:
    recorder = Recorder(wall, max_bytes)
    recorder.open(lambda: None)
    return recorder


def events(recorder: Recorder) -> list[Event]:
    return read_frame(encode_frame("c", None, 0, recorder.collect()))[1]


def size(blocks: list[Block]) -> int:
    return room_of(blocks)


class RecordingTests(SynchronousTestCase):
    def test_types_and_payloads(self) -> None:
        """Each call records an event of its Type, stamped with the time of the call."""
        recorder = opened(wall=count(100.5).__next__)
        recorder.counter("a")
        recorder.counter("a", 2.5)
        recorder.percentile("b", 3)
        recorder.gauge("c", {"k": [1, None]})
        recorder.gauge("d", "v", 1400000060)
        recorder.buffer("e", "bare")
        recorder.buffer("f", "v", 1400000061)
        recorder.record_event("g", "Own.Type", [1])
        recorder.record_event("a", "CounterGroup", 7)
        recorder.record_event("b", "PercentileGroup", 8)
        self.assertEqual({(e.tab, e.type, e.time, repr(e.payload)) for e in events(recorder)}, {
            ("a", "CounterGroup", 100.5, "1.0"), ("a", "CounterGroup", 101.5, "2.5"),
            ("a", "CounterGroup", 108.5, "7.0"),
            ("b", "PercentileGroup", 102.5, "3.0"), ("b", "PercentileGroup", 109.5, "8.0"),
            ("c", "Gauge", 103.5, "{'k': [1, None]}"), ("d", "ExpiryGauge", 104.5, "['v', 1400000060]"),
            ("e", "Buffer", 105.5, "'bare'"), ("f", "Buffer", 106.5, "['v', 1400000061]"),
            ("g", "Own.Type", 107.5, "[1]"),
        })  # fmt: skip

    def test_distinct_values(self) -> None:
        """A value of which distinct ones are counted is a string or a number; any other is dropped, and said to be."""
        recorder = opened()
        recorder.unique("a", "ann")
        recorder.unique("a", 17)
        recorder.record_event("a", "UniqueGroup", 0.5)
        for wrong in (True, None, b"ann", ["ann"], float("nan")):
            recorder.unique("b", wrong)
            recorder.record_event("b", "UniqueGroup", wrong)
        found = [(event.tab, event.type, event.payload) for event in events(recorder)]
        self.assertEqual(found, [("a", "UniqueGroup", value) for value in ("ann", 17, 0.5)])
        self.assertEqual(recorder.drops.by_tab(), {"b": {"value": 10}})

    def test_buffer_of_a_list(self) -> None:
        """A list in a Buffer is sent with an expiration, so that its second element is not taken for one."""
        recorder = opened()
        recorder.buffer("e", [1, 2])
        self.assertEqual(events(recorder)[0].payload, [[1, 2], 1000.0 + 86_400])

    def test_value_as_it_is_now(self) -> None:
        """What happens to a value after the call does not change what was recorded."""
        recorder, value = opened(), ["before"]
        recorder.gauge("g", value)
        recorder.counter("c", value)
        value.append("after")
        self.assertEqual([e.payload for e in events(recorder)], [["before"], ["before"]])

    def test_unusual_counts(self) -> None:
        """True counts 1, and numbers of other classes count what they are worth."""

        class Whole(int):
            """As an enumeration or a library might have it."""

        recorder = opened()
        for value in (True, Whole(5)):
            recorder.counter("c", value)
        self.assertEqual([e.payload for e in events(recorder)], [True, 5])

    def test_collect_takes_once(self) -> None:
        """What was collected is not collected again."""
        recorder = opened()
        recorder.counter("a")
        self.assertEqual([len(events(recorder)), len(events(recorder))], [1, 0])

    def test_buffered(self) -> None:
        """The events that wait can be counted."""
        recorder = opened()
        for _ in range(3):
            recorder.counter("a")
        recorder.gauge("g", 1)
        self.assertEqual(recorder.buffered(), 4)


class DropTests(SynchronousTestCase):
    def test_bad_names(self) -> None:
        """A name that no tab can have is counted, logged once, and raises nothing."""
        recorder = opened()
        for name in ("sp ace", "sp ace", "", "x" * 513, None, 5, ["list"], b"bytes"):
            recorder.counter(name)  # type: ignore[arg-type]
        self.assertEqual(events(recorder), [])
        self.assertEqual(recorder.drops.by_tab()["sp ace"], {"name": 2})
        self.assertEqual(sum(reasons["name"] for reasons in recorder.drops.by_tab().values()), 8)
        notices = recorder.drops.take_notices()
        self.assertEqual(len([n for n in notices if "'sp ace'" in n]), 1)
        self.assertTrue(all(len(n) < 200 for n in notices))

    def test_bad_types(self) -> None:
        """A Type that could break the lines of the protocol is dropped like a bad name."""
        recorder = opened()
        for kind in ("two words", 'Gauge"', "%s", None, 7):
            recorder.record_event("t", kind, 1)  # type: ignore[arg-type]
        self.assertEqual((events(recorder), recorder.drops.by_tab()), ([], {"t": {"name": 5}}))

    def test_bad_values(self) -> None:
        """NaN, infinities and what JSON cannot hold are counted, logged once for a tab, and raise nothing."""
        recorder = opened()
        for value in (float("nan"), float("inf"), object(), {1}, 10**400):
            recorder.counter("c", value)
            recorder.gauge("g", float("nan") if value == 10**400 else value)
        recorder.counter("c", 5)
        self.assertEqual([e.payload for e in events(recorder)], [5])
        self.assertEqual(recorder.drops.by_tab(), {"c": {"value": 5}, "g": {"value": 5}})
        self.assertEqual(len(recorder.drops.take_notices()), 2)

    def test_hostile_values(self) -> None:
        """Not even objects that raise from everything can hurt the application."""

        class Hostile(str):
            def __hash__(self) -> int:
                raise RuntimeError("no hash")

            def __repr__(self) -> str:
                raise RuntimeError("no repr")

        recorder = opened()
        recorder.counter(Hostile("a"))
        recorder.gauge("g", Hostile("a"))
        recorder.record_event("g", Hostile("a"), 1)
        self.assertEqual(sum(sum(r.values()) for r in recorder.drops.by_tab().values()) + len(events(recorder)), 3)

    def test_closed(self) -> None:
        """Before the start and after the end nothing is recorded."""
        recorder = Recorder(lambda: 1.0)
        recorder.counter("a")
        recorder.open(lambda: None)
        recorder.counter("a")
        recorder.close()
        recorder.counter("a")
        recorder.gauge("g", 1)
        self.assertEqual((len(events(recorder)), recorder.not_running), (1, 3))

    def test_bounded_account(self) -> None:
        """Names without end do not make the account of drops grow without end."""
        drops = Drops()
        for i in range(MAX_TABS + 50):
            drops.count(f"bad {i}", "name", notice=f"notice {i}")
        self.assertEqual(len(drops.by_tab()), MAX_TABS + 1)
        self.assertEqual(drops.by_tab()[OTHERS], {"name": 50})
        self.assertLessEqual(len(drops.take_notices()), MAX_TABS)

    def test_bounded_for_an_agent(self) -> None:
        """The counts that an agent is told are never longer than an agent takes."""
        drops = Drops()
        for i in range(2 * MAX_TABS):
            for reason in (FULL, UNKNOWN):
                drops.count(f"{i:05d}{'x' * 507}", reason, 10**9)
        untold = drops.take_untold()
        self.assertLess(len(json.dumps(untold)), 1 << 20)
        self.assertEqual([sum(tabs.values()) for tabs in untold.values()], [2 * MAX_TABS * 10**9] * 2)
        self.assertFalse(drops.untold)

    def test_told_again(self) -> None:
        """What no agent acknowledged is told again, together with what came since."""
        drops = Drops()
        drops.count("a", FULL, 2)
        told = drops.take_untold()
        drops.count("a", FULL)
        drops.count("b", VALUE)
        drops.tell_again(told)
        self.assertEqual((drops.take_untold(), drops.take_untold()), ({"full": {"a": 3}}, {}))


class RoomTests(SynchronousTestCase):
    def test_newest_are_dropped(self) -> None:
        """When the buffer is full the newest events are dropped and counted under their tab."""
        recorder = opened(10_000)
        for i in range(1000):
            recorder.counter("a", i)
        kept = [e.payload for e in events(recorder)]
        self.assertEqual(kept, list(range(len(kept))))
        self.assertEqual(recorder.drops.by_tab(), {"a": {"full": 1000 - len(kept)}})
        self.assertEqual(recorder.drops.total(FULL), 1000 - len(kept))
        self.assertApproximates(len(kept), 10_000 / EVENT_BYTES, 10)

    def test_bound_holds(self) -> None:
        """However much is recorded and left unsent, in whatever tabs, no more than the bound is kept."""
        recorder = opened(20_000)
        kept: list[Block] = []
        for i in range(3000):
            recorder.counter(f"tab{i % 7}", i)
            recorder.percentile(f"tab{i % 3}", i / 7)
            recorder.gauge(f"gauge{i % 5}", "x" * (i % 90))
            if i % 100 == 0:
                kept += recorder.collect()
            self.assertLessEqual(recorder.used_bytes(), 20_000 + 8 * 160)
        self.assertLessEqual(sum(block.size for block in kept), 20_000)
        self.assertGreater(recorder.drops.total(FULL), 0)

    def test_released_room_is_used_again(self) -> None:
        """What the agent acknowledged makes room for new events."""
        recorder = opened(20_000)
        for _ in range(5):
            for _ in range(1000):
                recorder.counter("a")
            blocks = recorder.collect()
            self.assertGreater(sum(block.events for block in blocks), 200)
            recorder.release(size(blocks))
        self.assertLessEqual(recorder.used_bytes(), TAB_BYTES + 1)

    def test_nothing_leaks(self) -> None:
        """After everything is sent, only the tabs use room."""
        recorder = opened()
        for i in range(500):
            recorder.counter("a", i if i % 3 else float("nan"))
            recorder.gauge("b", "x" * i)
            if i % 50 == 0:
                recorder.release(size(recorder.collect()))
        recorder.release(size(recorder.collect()))
        recorder.close()
        self.assertEqual(recorder.used_bytes(), 2 * TAB_BYTES + 2)

    def test_one_long_payload(self) -> None:
        """A payload that is longer than the room left is dropped; a short one after it is kept."""
        recorder = opened(10_000)
        recorder.gauge("g", "x" * 20_000)
        recorder.gauge("g", "short")
        self.assertEqual([e.payload for e in events(recorder)], ["short"])
        self.assertEqual(recorder.drops.by_tab(), {"g": {"full": 1}})

    def test_full_is_logged_once(self) -> None:
        """A full buffer is one line in the log, not one for each event; again once it had been half empty."""
        recorder = opened(10_000)
        for _ in range(2):
            for _ in range(2000):
                recorder.counter("a")
            self.assertEqual(len(recorder.drops.take_notices()), 1)
            recorder.release(size(recorder.collect()))

    def test_pressure(self) -> None:
        """Each quarter of the room that is used between two collects asks the engine to come."""
        recorder, calls = Recorder(lambda: 1.0, ROOM), []
        recorder.open(lambda: calls.append(1))
        for _ in range(ROOM // 8 // EVENT_BYTES):
            recorder.counter("a")
        self.assertEqual(len(calls), 0)
        for _ in range(ROOM // 4 // EVENT_BYTES):
            recorder.counter("a")
        self.assertEqual(len(calls), 1)
        recorder.collect()
        for _ in range(ROOM // 200):
            recorder.gauge("g", "x" * 100)
        self.assertEqual(len(calls), 4)

    def test_many_tabs(self) -> None:
        """Names that are used once and never again do not use up the room for good."""
        recorder = opened()
        for i in range(5000):
            recorder.counter(f"request.{i}")
            if i % 50 == 0:
                recorder.release(size(recorder.collect()))
        self.assertEqual(recorder.drops.total(FULL), 0)
        self.assertLess(recorder.used_bytes(), ROOM * 0.6)

    def test_forgotten_tab_comes_back(self) -> None:
        """A tab that was forgotten for its silence is recorded again as before."""
        recorder = opened()
        recorder.counter("a")
        recorder.collect()
        for _ in range(130):
            self.assertEqual(recorder.collect(), [])
        recorder.counter("a", 2)
        recorder.gauge("a", True)
        self.assertEqual([e.payload for e in events(recorder)], [2, True])


class RestartTests(SynchronousTestCase):
    def test_nothing_is_left(self) -> None:
        """After a fork the child's client has nothing recorded, and all its room."""
        recorder = opened()
        recorder.counter("a")
        recorder.gauge("g", 1)
        recorder.restart()
        self.assertEqual((recorder.collect(), recorder.buffered(), recorder.used_bytes()), ([], 0, 0))

    def test_first_event_revives(self) -> None:
        """The first event in the child starts its engine, once, and is recorded itself."""
        recorder, revivals = opened(), []

        def revive() -> None:
            revivals.append(1)
            recorder.open(lambda: None)

        recorder.restart(revive)
        recorder.counter("a", 1)
        recorder.counter("a", 2)
        self.assertEqual(([e.payload for e in events(recorder)], revivals), ([1, 2], [1]))

    def test_a_closed_child_stays_closed(self) -> None:
        """A child that stops its client without having recorded does not start an engine with what it records later."""
        recorder, revivals = opened(), []
        recorder.restart(lambda: revivals.append(1))
        recorder.close()
        recorder.counter("a")
        self.assertEqual((revivals, recorder.not_running), ([], 1))

    def test_locks_of_the_parent(self) -> None:
        """A lock that another thread of the parent held at the fork does not block the child."""
        recorder = opened()
        locked, leave = threading.Event(), threading.Event()

        def hold() -> None:
            with recorder._lock, recorder.drops._lock:
                locked.set()
                leave.wait(10)

        thread = threading.Thread(target=hold)
        thread.start()
        locked.wait(10)
        recorder.restart()
        recorder.open(lambda: None)
        recorder.gauge("g", 1)
        recorder.counter("bad name")
        leave.set()
        thread.join()
        self.assertEqual(len(events(recorder)), 1)


class ThreadTests(SynchronousTestCase):
    def test_thread_held_up(self) -> None:
        """A thread that is held up within a call, while its tab is collected, swept and forgotten, loses nothing."""
        found: list[Event] = []
        held_up = False

        def wall() -> float:
            if held_up:  # here another thread runs, for minutes
                for _ in range(200):
                    found.extend(events(recorder))
            return 1.0

        recorder = opened(wall=wall)
        recorder.counter("a", 1)
        held_up = True
        recorder.counter("a", 2)
        held_up = False
        recorder.counter("a", 3)
        found += events(recorder)
        self.assertEqual([e.payload for e in found], [1, 2, 3])

    def test_others_use_up_the_room(self) -> None:
        """A thread that makes room, and is held up while others use all of that, still records its own event."""
        recorder = Recorder(lambda: 1.0, 80_000)

        def use_up() -> None:
            # As other threads do: without the lock, as long as there is a stage.
            while next(recorder._stamps, None) is not None:
                pass

        recorder.open(use_up)
        for number in range(900):
            recorder.counter("a", number)
        self.assertEqual(recorder.drops.by_tab().get("a", {}).get("value"), None)
        self.assertEqual(recorder.drops.by_tab().get(""), None)

    def test_no_event_is_lost_between_threads(self) -> None:
        """Several threads record while another collects, and switch all the time: each event is there once."""
        recorder = opened(100 << 20)
        interval = sys.getswitchinterval()
        self.addCleanup(sys.setswitchinterval, interval)
        sys.setswitchinterval(1e-6)

        def record(start: int) -> None:
            for i in range(start, start + 5000):
                recorder.counter(f"tab{i % 400}", i)
                if i % 10 == 0:
                    recorder.gauge("gauge", i)

        threads = [threading.Thread(target=record, args=(i * 5000,)) for i in range(4)]
        for thread in threads:
            thread.start()
        found: list[Event] = []
        while any(thread.is_alive() for thread in threads):
            found += events(recorder)
            recorder._sweep()  # far more often than in life: tabs go while threads record in them
        found += events(recorder) + events(recorder)
        counts = [e.payload for e in found if e.type == "CounterGroup"]
        gauges = [e.payload for e in found if e.type == "Gauge"]
        self.assertEqual(sorted(counts), list(range(20_000)))
        self.assertEqual(sorted(gauges), list(range(0, 20_000, 10)))
