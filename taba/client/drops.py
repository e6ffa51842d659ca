"""The account of events that a client could not keep or send, and what is to be logged about them, each thing once."""

from __future__ import annotations

from threading import RLock

MAX_TABS = 1000
OTHERS = "<others>"
"""Where drops are counted once MAX_TABS names have some. No tab can be called so."""


class Drops:
    """Counts of dropped events by tab and reason, and the notices that an engine logs. Bounded; any thread may call it.

    Reasons: `full` (no room), `name` (it cannot name a tab), `value` (it cannot be sent).
    """

    __slots__ = ("_by_tab", "_lock", "_noticed", "_notices")

    def __init__(self) -> None:
        self._lock = RLock()  # reentrant, since a signal handler or a finalizer may record, too
        self._by_tab: dict[str, dict[str, int]] = {}
        self._noticed: set[object] = set()
        self._notices: list[str] = []

    def count(self, name: object, reason: str, events: int = 1, notice: str | None = None) -> None:
        """Count `events` of the tab `name`, which may be anything; log `notice` with its first ones of a reason."""
        tab = name if isinstance(name, str) and len(name) <= 512 else f"{name!r:.100}"
        with self._lock:
            if tab not in self._by_tab and len(self._by_tab) >= MAX_TABS:
                tab = OTHERS
            reasons = self._by_tab.setdefault(tab, {})
            reasons[reason] = reasons.get(reason, 0) + events
            if notice is not None and len(self._noticed) < MAX_TABS:
                self.notice((tab, reason), notice)

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

    def by_tab(self) -> dict[str, dict[str, int]]:
        """Tab -> reason -> events."""
        with self._lock:
            return {tab: dict(reasons) for tab, reasons in self._by_tab.items()}
