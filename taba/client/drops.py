"""The account of events that a client could not keep or send, and what is to be logged about them, each thing once."""

from __future__ import annotations

from collections.abc import Mapping
from threading import RLock

MAX_TABS = 1000
MAX_NAME_BYTES = 1 << 18
"""Of these names together: an agent takes 1 MiB of counts with a batch."""
OTHERS = "<others>"
"""Where drops are counted once so many names have some. No tab can be called so."""

FULL = "full"
"""There was no room."""
NAME = "name"
"""What was given cannot name a tab, or a Type."""
VALUE = "value"
"""It cannot be sent."""
UNKNOWN = "unknown"
"""The agent may have taken it, or not."""
REFUSED = "refused"
"""The agent did not take the batch."""
REASONS = (FULL, NAME, VALUE, UNKNOWN, REFUSED)
TOLD = (FULL, UNKNOWN)
"""The reasons that an agent is told of. Of the others an agent would know, or the application has a defect."""

Counts = dict[str, dict[str, int]]
"""Reason -> tab -> events."""


class Drops:
    """Counts of dropped events by tab and reason, and the notices that an engine logs. Bounded; any thread may call it.

    What an agent is to be told is given to a batch by `take_untold`. Who does not get that batch acknowledged gives it
    back by `tell_again`; so each count is told once.
    """

    __slots__ = ("_by_tab", "_lock", "_name_bytes", "_noticed", "_notices", "_untold")

    def __init__(self) -> None:
        self._lock = RLock()  # reentrant, since a signal handler or a finalizer may record, too
        self._by_tab: dict[str, dict[str, int]] = {}
        self._name_bytes = 0
        self._untold: Counts = {}
        self._noticed: set[object] = set()
        self._notices: list[str] = []

    def count(self, name: object, reason: str, events: int = 1, notice: str | None = None) -> None:
        """Count `events` of the tab `name`, which may be anything; log `notice` with its first ones of a reason."""
        tab = name if isinstance(name, str) and len(name) <= 512 else f"{name!r:.100}"
        with self._lock:
            if tab not in self._by_tab:
                if len(self._by_tab) >= MAX_TABS or self._name_bytes + len(tab) > MAX_NAME_BYTES:
                    tab = OTHERS
                else:
                    self._name_bytes += len(tab)
            reasons = self._by_tab.setdefault(tab, {})
            reasons[reason] = reasons.get(reason, 0) + events
            if reason in TOLD:
                _add(self._untold.setdefault(reason, {}), tab, events)
            if notice is not None and len(self._noticed) < MAX_TABS:
                self.notice((tab, reason), notice)

    def total(self, reason: str) -> int:
        """How many events were dropped for a reason."""
        with self._lock:
            return sum(reasons.get(reason, 0) for reasons in self._by_tab.values())

    def by_tab(self) -> Counts:
        """Tab -> reason -> events."""
        with self._lock:
            return {tab: dict(reasons) for tab, reasons in self._by_tab.items()}

    @property
    def untold(self) -> bool:
        """Whether there is something to tell."""
        return bool(self._untold)

    def take_untold(self) -> Counts:
        """What is to be told to an agent. It is not given again unless it is given back."""
        with self._lock:
            untold, self._untold = self._untold, {}
            return untold

    def tell_again(self, counts: Mapping[str, Mapping[str, int]]) -> None:
        """Give back what no agent has acknowledged."""
        with self._lock:
            for reason, tabs in counts.items():
                for tab, events in tabs.items():
                    _add(self._untold.setdefault(reason, {}), tab, events)

    def notice(self, subject: object, text: str) -> None:
        """Have `text` logged, unless `subject` was the subject of an earlier notice and is not forgotten."""
        with self._lock:
            if subject not in self._noticed:
                self._noticed.add(subject)
                self._notices.append(text)

    def forget(self, subject: object) -> None:
        """Log about `subject` again when it happens next."""
        with self._lock:
            self._noticed.discard(subject)

    def take_notices(self) -> list[str]:
        """What is to be logged; it is not given again."""
        with self._lock:
            notices, self._notices = self._notices, []
            return notices


def _add(counts: dict[str, int], tab: str, events: int) -> None:
    counts[tab] = counts.get(tab, 0) + events
