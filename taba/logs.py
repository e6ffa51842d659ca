"""The log of a process: text or JSON lines, with a limit to how often the same is said, debug only where asked for.

`Repeats`, `text_line` and `json_line` are pure; `LogObserver` puts them together behind a file, and `log_of_twistd`
makes one that writes where twistd was told to: standard output, `--logfile`, or, for a daemon, twistd.log. Log events
may come in any thread.

A JSON line is an object: `time` (ISO 8601, UTC), `level` (debug, info, warn, error, critical), `namespace` (the module
or class that says it), `message`, `pid`, `fields` (the facts of the message, by name), and `traceback` of a failure.
"""

from __future__ import annotations

import json
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from itertools import islice
from typing import Any, TextIO

from attrs import define, field, frozen
from twisted.logger import ILogObserver, LogLevel, formatEvent, formatEventAsClassicLogText
from twisted.python.failure import Failure
from twisted.python.logfile import LogFile
from zope.interface import implementer

SAME_PER_SECOND = 20
"""How often the same message is written in a second."""
MOST_MESSAGES = 1_000
"""So many different messages are told apart in a second; the others share one count."""
MOST_FIELD = 8_192
"""Characters of a text among the facts of a message; what is longer is cut."""
MOST_DEPTH = 4
"""How deep lists and objects among the facts are shown."""
MOST_ELEMENTS = 100
"""How much of a list or object among the facts is shown."""
MOST_BITS = 1024
"""Whole numbers of more bits are shown as text: many readers of JSON, Python's among them, refuse very long ones."""
_OTHERS = ("", "")
_OF_LEGACY = frozenset(("message", "format", "time", "system", "isError", "failure", "why", "log_legacy"))

Event = Mapping[str, Any]


@frozen
class Suppressed:
    """So many messages of a second that were not written."""

    namespace: str
    words: str
    """The message, with names in braces where its facts stood."""
    count: int

    def event(self, now: float) -> dict[str, Any]:
        """What is written in their place, as an event of wall time `now`."""
        return {
            "log_format": "{count} more messages like this in a second were not written: {words}",
            "log_level": LogLevel.warn,
            "log_namespace": self.namespace,
            "log_time": now,
            "count": self.count,
            "words": self.words,
        }


@define
class Repeats:
    """Counts the messages of a second, each by the place it comes from and its words without their facts. Pure."""

    per_second: int = SAME_PER_SECOND
    most: int = MOST_MESSAGES
    _second: int | None = field(default=None, init=False)
    _counts: dict[tuple[str, str], int] = field(factory=dict, init=False)

    def admit(self, event: Event, now: float) -> tuple[bool, list[Suppressed]]:
        """Whether an event is to be written at `now`, in seconds of a clock that does not go back; and what was
        suppressed in a second that is over, to be told first.
        """
        told = self.due(now)
        key = key_of(event)
        if key not in self._counts and len(self._counts) >= self.most:
            key = _OTHERS
        self._counts[key] = self._counts.get(key, 0) + 1
        return self._counts[key] <= self.per_second, told

    def due(self, now: float) -> list[Suppressed]:
        """What was suppressed, once the second that it belongs to is over."""
        second = math.floor(now)
        if second == self._second:
            return []
        over, self._counts, self._second = self._counts, {}, second
        return [
            Suppressed(namespace, words or "(of many kinds)", count - self.per_second)
            for (namespace, words), count in over.items()
            if count > self.per_second
        ]


def key_of(event: Event) -> tuple[str, str]:
    """What makes two events the same: their namespace and words. Where the words are one fact alone, as in
    `{sentence}`, that fact is looked at; an event may have other words for this, as `log_same`.
    """
    words = event.get("log_same") or event.get("log_format") or event.get("format") or ""
    if not isinstance(words, str) or not any(each.isalpha() for each in _outside_braces(words)):
        words = formatEvent(dict(event)) or _first_line(event)
    return str(event.get("log_namespace", "")), words


def _outside_braces(words: str) -> str:
    while "{" in words and "}" in words[words.index("{") :]:
        start = words.index("{")
        words = words[:start] + words[words.index("}", start) + 1 :]
    return words


def _first_line(event: Event) -> str:
    failure = event.get("log_failure")
    return failure.getErrorMessage() if isinstance(failure, Failure) else ""


def level_of(event: Event) -> str:
    """debug, info, warn, error or critical."""
    level = event.get("log_level", LogLevel.info)
    return str(getattr(level, "name", "info"))


def text_line(event: Event) -> str | None:
    """An event as twistd writes it; None when there is nothing to say."""
    return formatEventAsClassicLogText(dict(event))


def json_line(event: Event, pid: int) -> str | None:
    """An event as a line with one JSON object, in ASCII; None when there is nothing to say."""
    message = formatEvent(dict(event))
    failure = event.get("log_failure")
    if not message and not isinstance(failure, Failure):
        return None
    stamp = datetime.fromtimestamp(float(event.get("log_time", 0.0)), UTC)
    line: dict[str, Any] = {
        "time": stamp.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "level": level_of(event),
        "namespace": str(event.get("log_namespace", "")),
        "message": message,
        "pid": pid,
        "fields": {str(name): _plain(value) for name, value in event.items() if _is_fact(name)},
    }
    if isinstance(failure, Failure):
        line["message"] = message or failure.getErrorMessage()
        line["traceback"] = failure.getTraceback()
    return json.dumps(line, allow_nan=False) + "\n"


def _is_fact(name: object) -> bool:
    return not str(name).startswith("log_") and name not in _OF_LEGACY


def _plain(value: Any, depth: int = 0) -> Any:
    """A fact as JSON can have it, bounded."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if value.bit_length() <= MOST_BITS else hex(value)[:MOST_FIELD]
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if depth < MOST_DEPTH and isinstance(value, Mapping):
        return {str(name): _plain(each, depth + 1) for name, each in islice(value.items(), MOST_ELEMENTS)}
    if depth < MOST_DEPTH and isinstance(value, list | tuple | set | frozenset):
        return [_plain(each, depth + 1) for each in islice(value, MOST_ELEMENTS)]
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    try:
        text = value if isinstance(value, str) else str(value)
    except Exception:  # anybody's object: the log must not fail for it
        text = object.__repr__(value)
    return text if len(text) <= MOST_FIELD else text[:MOST_FIELD] + "..."


@implementer(ILogObserver)
class LogObserver:
    """Writes events to a file, line by line. `now` is a clock that does not go back, `wall` stamps; `later` calls a
    function after so many seconds, and may itself be called in any thread.
    """

    def __init__(
        self,
        file: TextIO | LogFile,
        line: Callable[[Event], str | None],
        *,
        debug: bool,
        now: Callable[[], float],
        wall: Callable[[], float],
        later: Callable[[float, Callable[[], None]], object],
        repeats: Repeats | None = None,
    ) -> None:
        self.file = file
        self._line = line
        self._debug = debug
        self._now = now
        self._wall = wall
        self._later = later
        self._repeats = repeats or Repeats()
        self._lock = threading.RLock()
        self._looking = False

    def become(self, line: Callable[[Event], str | None], debug: bool) -> None:
        """Write like this from now on."""
        with self._lock:
            self._line, self._debug = line, debug

    def __call__(self, event: Event) -> None:
        """Take an event of twisted.logger."""
        if level_of(event) == "debug" and not self._debug:
            return
        with self._lock:
            admitted, told = self._repeats.admit(event, self._now())
            self._tell(told)
            if admitted:
                self._write(event)
            elif not self._looking:
                self._looking = True
                self._later(1.0, self._look)

    def _look(self) -> None:
        """A second with too many messages is over: say how many, also when no other message comes."""
        with self._lock:
            self._looking = False
            self._tell(self._repeats.due(self._now()))

    def _tell(self, told: list[Suppressed]) -> None:
        for each in told:
            self._write(each.event(self._wall()))

    def _write(self, event: Event) -> None:
        line = self._line(event)
        if line:
            self.file.write(line)
            self.file.flush()


def log_of_twistd(options: Any, log_format: str, debug: bool) -> LogObserver:
    """The log of a process whose twistd has `options`; opens its file. Called once, before twistd forks."""
    name, foreground = options.get("logfile"), options.get("nodaemon", False)
    if name == "-" and not foreground:
        sys.exit("Daemons cannot log to stdout, exiting!")
    file: Any
    if name == "-" or (foreground and not name):
        file = sys.stdout
    else:
        file = LogFile.fromFullPath(name or "twistd.log")
        _rotate_when_told(file)
    return LogObserver(
        file,
        line_of(log_format),
        debug=debug,
        now=time.monotonic,
        wall=time.time,
        later=_later,
    )


def line_of(log_format: str) -> Callable[[Event], str | None]:
    """What writes an event as LOG_FORMAT says."""
    return text_line if log_format == "text" else lambda event: json_line(event, os.getpid())


@define(eq=False)
class LogOfProcess:
    """The log of this process, once twistd has asked for it."""

    observer: LogObserver | None = None

    def become(self, log_format: str, debug: bool) -> None:
        """Write as LOG_FORMAT and DEBUG say from now on."""
        if self.observer is not None:
            self.observer.become(line_of(log_format), debug)


def _later(seconds: float, call: Callable[[], None]) -> None:
    from twisted.internet import reactor

    clock: Any = reactor
    clock.callFromThread(clock.callLater, seconds, call)


def _rotate_when_told(file: LogFile) -> None:
    """Begin a new file when SIGUSR1 comes, unless somebody has another use for it; as twistd does."""
    if signal.getsignal(signal.SIGUSR1):
        return

    def rotate(number: int, frame: object) -> None:
        _later(0.0, file.rotate)

    signal.signal(signal.SIGUSR1, rotate)


def log_through(options: Any, log_format: str, debug: bool) -> LogOfProcess:
    """Let twistd, whose options are `options`, write its log by `log_of_twistd`, unless told --logger or --syslog.

    Called while the options of a plugin are parsed. twistd has no place for an observer that a plugin makes but its
    option --logger, whose text is turned into a function after that; this goes in between.
    """
    log = LogOfProcess()
    if options is None or options.get("logger") is not None or options.get("syslog"):
        return log
    resolve = options.postOptions

    def post_options() -> None:
        resolve()
        options["logger"] = make

    def make() -> LogObserver:
        log.observer = log_of_twistd(options, log_format, debug)
        return log.observer

    options.postOptions = post_options
    return log
