"""The log: lines of text and JSON, messages that come too often, the debug level, and how twistd gets it."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, Logger, LogLevel, LogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from taba.logs import (
    MOST_FIELD,
    LogObserver,
    Repeats,
    Suppressed,
    json_line,
    key_of,
    log_through,
    text_line,
)

STAMP = 1_777_897_800.5
WHEN = "2026-05-04T12:30:00.500Z"


def event(words: str, level: Any = LogLevel.info, namespace: str = "taba.place", **facts: Any) -> dict[str, Any]:
    """An event as a Logger makes it."""
    return {"log_format": words, "log_level": level, "log_namespace": namespace, "log_time": STAMP, **facts}


def as_json(given: dict[str, Any]) -> dict[str, Any]:
    """The object of an event's line."""
    line = json_line(given, 4711)
    assert line is not None
    assert line.endswith("\n")
    assert line.count("\n") == 1
    assert line.isascii()
    found: dict[str, Any] = json.loads(line, parse_constant=lambda name: f"no JSON: {name}")
    return found


class JSONTests(SynchronousTestCase):
    """Lines of JSON."""

    def test_all_of_it(self) -> None:
        """A line has time, level, place, message, process and facts."""
        line = as_json(event("{count} of {tab}", LogLevel.warn, count=3, tab="bids"))
        self.assertEqual(
            line,
            {"time": WHEN, "level": "warn", "namespace": "taba.place", "message": "3 of bids", "pid": 4711,
             "fields": {"count": 3, "tab": "bids"}},
        )  # fmt: skip

    def test_one_line_whatever_it_says(self) -> None:
        """Line ends and other alphabets in a message do not make two lines, or break a reader."""
        self.assertEqual(as_json(event("{text}", text="a\nb\r\u2028ü\ud800"))["message"], "a\nb\r\u2028ü\ud800")

    def test_facts_of_any_kind(self) -> None:
        """What JSON does not have is shown as text; what is deep or long is cut."""

        class Mute:
            def __str__(self) -> str:
                raise ValueError("no")

        deep: list[Any] = []
        deep.append(deep)
        odd: dict[str, Any] = {"nan": float("nan"), "raw": b"\xff", "set": {1}, "map": {1: (2, None)}}
        large: dict[str, Any] = {"long": "x" * 9999, "wide": range(10), "list": [0] * 1000, "huge": -(1 << 20_000)}
        found = as_json(event("said", **odd, **large, mute=Mute(), deep=deep))["fields"]
        self.assertEqual([found[each] for each in odd], ["nan", "\ufffd", [1], {"1": [2, None]}])
        self.assertEqual((found["wide"], len(found["list"])), ("range(0, 10)", 100))
        self.assertTrue(found["huge"].startswith("-0x1000"))
        self.assertIn("Mute object", found["mute"])
        self.assertEqual(len(found["long"]), MOST_FIELD + 3)
        self.assertEqual(found["deep"], [[[["[[...]]"]]]])

    def test_failure(self) -> None:
        """An error brings its traceback, and its message when there is no other."""
        try:
            raise ValueError("broken")
        except ValueError:
            failure = Failure()
        line = as_json(event("Could not fold", LogLevel.critical, log_failure=failure))
        self.assertEqual((line["level"], line["message"]), ("critical", "Could not fold"))
        self.assertIn("ValueError: broken", line["traceback"])
        self.assertEqual(as_json({"log_failure": failure, "log_time": STAMP})["message"], "broken")

    def test_nothing_to_say(self) -> None:
        """An event without words makes no line."""
        self.assertIsNone(json_line({"log_time": STAMP}, 1))
        self.assertIsNone(text_line({"log_time": STAMP}))

    @given(st.dictionaries(st.text(max_size=5), st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    ), max_size=4))  # fmt: skip
    def test_any_facts(self, facts: dict[str, Any]) -> None:
        """Whatever facts an event has, its line is one JSON object."""
        self.assertEqual(as_json({**facts, **event("said")})["message"], "said")


class TextTests(SynchronousTestCase):
    """Lines of text."""

    def test_as_twistd(self) -> None:
        """Text is written as twistd writes it."""
        line = text_line(event("{count} of {tab}", count=3, tab="bids"))
        self.assertRegex(line or "", r"^2026-05-04T\d\d:30:00[+-]\d{4} \[taba\.place#info\] 3 of bids\n$")


class RepeatsTests(SynchronousTestCase):
    """Messages that come too often."""

    def count(self, repeats: Repeats, now: float, *events: dict[str, Any]) -> int:
        """How many of these are written at a time."""
        return sum(repeats.admit(each, now)[0] for each in events)

    def test_same_words(self) -> None:
        """So many a second of the same words from the same place are written, whatever their facts."""
        repeats = Repeats(per_second=3)
        many = [event("Dropped {count}", count=each) for each in range(10)]
        self.assertEqual(self.count(repeats, 5.0, *many), 3)
        others = [event("Other words"), event("Dropped {count}", namespace="b", count=1)]
        self.assertEqual(self.count(repeats, 5.9, *others), 2)
        self.assertEqual(repeats.due(5.99), [])
        self.assertEqual(repeats.due(6.0), [Suppressed("taba.place", "Dropped {count}", 7)])
        self.assertEqual(self.count(repeats, 6.5, *many), 3)

    def test_told_with_the_next(self) -> None:
        """What was suppressed is told before whatever comes in a later second."""
        repeats = Repeats(per_second=1)
        self.count(repeats, 1.0, event("a"), event("a"), event("a"))
        self.assertEqual(repeats.admit(event("b"), 9.0), (True, [Suppressed("taba.place", "a", 2)]))
        self.assertEqual(repeats.admit(event("b"), 10.0), (True, []))

    def test_sentences_are_their_own_words(self) -> None:
        """Where the words are one fact alone, it is the fact that counts."""
        one, two = event("{sentence}", sentence="It begins"), event("{sentence}", sentence="It ends")
        self.assertNotEqual(key_of(one), key_of(two))
        self.assertEqual(key_of(event("Leases: {p}", p=1)), key_of(event("Leases: {p}", p=2)))
        self.assertNotEqual(key_of(event("Of one: {p}", log_same="a")), key_of(event("Of one: {p}", log_same="b")))

    def test_messages_of_old(self) -> None:
        """Events of twisted.python.log, and failures without words, are told apart by their text."""
        old = [{"message": (text,), "isError": 0, "log_format": "{log_text}", "log_text": text} for text in "ab"]
        self.assertNotEqual(key_of(old[0]), key_of(old[1]))
        self.assertEqual(key_of({"log_failure": Failure(ValueError("a"))}), ("", "a"))

    def test_bounded(self) -> None:
        """However many different messages come, so many are told apart, and the others count as one."""
        repeats = Repeats(per_second=2, most=10)
        self.assertEqual(self.count(repeats, 1.0, *(event(f"message {number}") for number in range(50))), 12)
        self.assertEqual(repeats.due(2.0), [Suppressed("", "(of many kinds)", 38)])

    @given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 4)), max_size=60), st.integers(1, 5))
    def test_nothing_is_forgotten(self, said: list[tuple[str, float]], most: int) -> None:
        """What is written and what is told to be suppressed are together what was said."""
        repeats, written, told = Repeats(per_second=most), 0, 0
        for words, now in sorted(said, key=lambda each: each[1]):
            admitted, suppressed = repeats.admit(event(words), now)
            written += admitted
            told += sum(each.count for each in suppressed)
        told += sum(each.count for each in repeats.due(10.0))
        self.assertEqual(written + told, len(said))


class ObserverTests(SynchronousTestCase):
    """The observer that writes the lines."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(0.5)
        self.file = io.StringIO()

    def logger(self, line: Callable[[Any], str | None] = text_line, debug: bool = False) -> Logger:
        """A Logger that writes through the observer."""
        self.observer = LogObserver(
            self.file, line, debug=debug, now=self.clock.seconds, wall=lambda: STAMP,
            later=lambda seconds, call: self.clock.callLater(seconds, call), repeats=Repeats(per_second=2),
        )  # fmt: skip
        return Logger("taba.place", observer=LogPublisher(self.observer))

    def said(self) -> list[str]:
        """The lines so far, without their times."""
        return [line.partition(" ")[2] for line in self.file.getvalue().splitlines()]

    def test_interface(self) -> None:
        """It is an observer as twistd wants one."""
        self.logger()
        verifyObject(ILogObserver, self.observer)

    def test_debug_only_when_wanted(self) -> None:
        """Messages of level debug are for DEBUG only."""
        self.logger().debug("fine")
        self.assertEqual(self.said(), [])
        self.logger(debug=True).debug("fine")
        self.assertEqual(self.said(), ["[taba.place#debug] fine"])

    def test_flood(self) -> None:
        """A flood ends in a line that says how much there was, though nothing else is logged after it."""
        log = self.logger()
        for number in range(5):
            log.warn("Full: {n}", n=number)
        self.assertEqual(self.said(), ["[taba.place#warn] Full: 0", "[taba.place#warn] Full: 1"])
        self.clock.advance(1.0)
        self.assertEqual(
            self.said()[2:],
            ["[taba.place#warn] 3 more messages like this in a second were not written: Full: {n}"],
        )
        self.assertEqual(self.clock.getDelayedCalls(), [])
        log.warn("Full: {n}", n=9)
        self.assertEqual(self.said()[3:], ["[taba.place#warn] Full: 9"])

    def test_flood_in_json(self) -> None:
        """In JSON that line is an object as all others, with the count among its facts."""
        log = self.logger(lambda each: json_line(each, 1))
        for _ in range(4):
            log.warn("Full")
        self.clock.advance(1.0)
        last = json.loads(self.file.getvalue().splitlines()[-1])
        self.assertEqual((last["level"], last["fields"]), ("warn", {"count": 2, "words": "Full"}))


class FakeTwistd(dict[str, Any]):
    """The options of twistd, as far as they are used here."""

    def __init__(self, **options: Any) -> None:
        super().__init__({"logger": None, **options})
        self.resolved = 0

    def postOptions(self) -> None:
        """What twistd does when all options were read."""
        self.resolved += 1


class TwistdTests(SynchronousTestCase):
    """How twistd gets its log from a plugin."""

    def test_logger(self) -> None:
        """After its own work twistd finds the maker of an observer in the place of --logger."""
        options = FakeTwistd(nodaemon=True)
        log_through(options, "json", False)
        self.assertIsNone(options["logger"])
        options.postOptions()
        self.assertEqual(options.resolved, 1)
        self.assertIsInstance(options["logger"](), LogObserver)

    def test_otherwise_told(self) -> None:
        """--logger and --syslog go before; without twistd there is nothing to do."""
        for options in (FakeTwistd(logger="some.function"), FakeTwistd(syslog=True)):
            log_through(options, "json", False)
            before = options["logger"]
            options.postOptions()
            self.assertEqual(options["logger"], before)
        log_through(None, "json", False)

    def test_daemon_to_standard_output(self) -> None:
        """A daemon has no standard output to log to."""
        options = FakeTwistd(nodaemon=False, logfile="-")
        log_through(options, "text", False)
        options.postOptions()
        self.assertRaises(SystemExit, options["logger"])
