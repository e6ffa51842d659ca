"""Notes and graves: names with a blank among the tabs of a vbucket, which are be's own. Pure.

A tab's name never has a blank. So what be has to remember between two checkpoints stands among the tabs themselves,
where a checkpoint writes it, a rename moves it and a load brings it back, and no store need know of it:

    TAB deleted MILLISECONDS [PART]    a grave: the tab as it was deleted at that wall time
    TAB restored MILLISECONDS [PART]   a grave that is being merged back into TAB, chunk by chunk
    TAB dropped MILLISECONDS [PART]    a grave that nobody can have back any more, and that is removed chunk by chunk
    TAB upgrade                        States of TAB are to be written anew in the present version
    TAB rebuild                        the Aggregate of TAB is to be made anew from its States

PART is there where one deletion made several graves: a tab that was deleted while others were merged back into it. No
query shows any of these names. While there is a `restored` note of a tab, the tab has the note's Type.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from itertools import chain, islice

from attrs import define, field, frozen


class Kind(Enum):
    """What a note says of its tab."""

    DELETED = "deleted"
    RESTORED = "restored"
    DROPPED = "dropped"
    UPGRADE = "upgrade"
    REBUILD = "rebuild"


BURIED = (Kind.DELETED, Kind.RESTORED, Kind.DROPPED)
"""The kinds that hold States, and are named by the time of the deletion."""


@frozen
class Note:
    """One note. `milliseconds` (since 1970) and `part` are of those that hold States."""

    tab: str
    kind: Kind
    milliseconds: int = 0
    part: int = 0

    @property
    def name(self) -> str:
        """The name under which it stands among the tabs."""
        words = [self.tab, self.kind.value]
        if self.kind in BURIED:
            words += [str(self.milliseconds), str(self.part)] if self.part else [str(self.milliseconds)]
        return " ".join(words)

    def turned(self, kind: Kind) -> Note:
        """The same grave under another kind."""
        return Note(self.tab, kind, self.milliseconds, self.part)


def is_note(name: str) -> bool:
    """Whether a name among the tabs is be's own."""
    return " " in name


def parse(name: str) -> Note | None:
    """The note of a name; None for a tab, and for what no build that is known writes."""
    tab, blank, rest = name.partition(" ")
    if not blank:
        return None
    word, *numbers = rest.split(" ")
    try:
        note = Note(tab, Kind(word), *map(int, numbers))
    except (TypeError, ValueError):
        return None
    return note if note.name == name else None


@define
class Notes:
    """The notes of one vbucket, by tab."""

    _by_tab: dict[str, dict[str, Note]] = field(factory=dict)
    _work: dict[Kind, dict[str, Note]] = field(factory=dict)
    """Those of which something is to be done, by kind, in the order in which they came; graves only wait."""

    @classmethod
    def among(cls, names: Iterable[str]) -> Notes:
        """Those among the names of a vbucket's tabs."""
        notes = cls()
        for name in names:
            notes.add(name)
        return notes

    def add(self, name: str) -> None:
        """There is this name now; nothing happens when it is no note's."""
        note = parse(name) if is_note(name) else None
        if note is not None:
            self._by_tab.setdefault(note.tab, {})[name] = note
            if note.kind is not Kind.DELETED:
                self._work.setdefault(note.kind, {})[name] = note

    def remove(self, name: str) -> None:
        """It is gone."""
        tab = name.partition(" ")[0]
        kept = self._by_tab.get(tab)
        note = None if kept is None else kept.pop(name, None)
        if note is not None:
            self._work.get(note.kind, {}).pop(name, None)
            if not kept:
                del self._by_tab[tab]

    def of(self, tab: str, kind: Kind) -> list[Note]:
        """The notes of a kind that a tab has, the oldest first."""
        found = [note for note in self._by_tab.get(tab, {}).values() if note.kind is kind]
        return sorted(found, key=lambda note: (note.milliseconds, note.part))

    def taken(self, tab: str, milliseconds: int) -> bool:
        """Whether a deletion of that time is known of a tab."""
        return any(
            note.kind in BURIED and note.milliseconds == milliseconds for note in self._by_tab.get(tab, {}).values()
        )

    def work(self, *kinds: Kind, most: int | None = None) -> list[Note]:
        """The notes of these kinds of which something is to be done, the first `most` of them; costs what it gives."""
        return list(islice(chain.from_iterable(self._work.get(kind, {}).values() for kind in kinds), most))

    def __contains__(self, note: Note) -> bool:
        return note.name in self._by_tab.get(note.tab, ())

    def __iter__(self) -> Iterator[Note]:
        for kept in list(self._by_tab.values()):
            yield from list(kept.values())

    def __len__(self) -> int:
        return sum(map(len, self._by_tab.values()))


def cannot_return(tab: str, types: Mapping[str, str], deleted: int | None, asked: bool = True) -> str:
    """Why the deletion of a tab, the newest or that of `deleted` milliseconds, cannot be undone now, as the names of
    all tabs, with their Types, have it; "" when it can. With `asked` a deletion was asked for a moment ago, which may
    not have been carried out yet, and its tab is still there.
    """
    found = [note for note in map(parse, filter(is_note, types)) if note is not None]
    mine = [note for note in found if note.tab == tab and note.kind is Kind.DELETED]
    if deleted is not None:
        mine = [note for note in mine if note.milliseconds == deleted]
    if not mine:
        if tab not in types or deleted is not None:
            return "there is no such deletion"
        return "" if asked else "nothing of it is deleted"
    newest = max(mine, key=lambda note: note.milliseconds)
    then, now = types[newest.name], types.get(tab)
    return "" if now in (None, then) else f"the tab is of Type {now} now, and was of Type {then}"


def graves(types: Mapping[str, str]) -> dict[str, list[int]]:
    """Tab -> the times, in milliseconds, of its deletions that can be undone, ascending; from the names of all tabs."""
    found: dict[str, set[int]] = {}
    for name in types:
        note = parse(name) if is_note(name) else None
        if note is not None and note.kind is Kind.DELETED:
            found.setdefault(note.tab, set()).add(note.milliseconds)
    return {tab: sorted(times) for tab, times in sorted(found.items())}
