"""What the operations of a batch come to: which tabs move, which notes come and go. Pure.

Everything is decided when the batch is taken, from the names and Types of the vbucket's tabs alone, in the order of the
operations; what a checkpoint has to write for it follows, however many operations a batch has.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from sys import intern

from attrs import define, field

from taba.server.notes import Kind, Note, Notes
from taba.server.operations import DELETE, REBUILD, REFOLD, UNDELETE, UPGRADE, Operation


@define
class Carried:
    """What operations come to, as a checkpoint has it: `types` first, then `renames`."""

    renames: dict[str, str] = field(factory=dict)
    """Name in the store -> name that it gets."""
    types: dict[str, str | None] = field(factory=dict)
    refold: list[str] = field(factory=list)
    """The ids of what is to be folded that was set aside."""


@define
class Carrying:
    """Carries out the operations of one batch on the names of a vbucket: `types` and `notes` are changed in place."""

    types: dict[str, str]
    notes: Notes
    carried: Carried = field(factory=Carried)
    passed_over: list[tuple[Operation, str]] = field(factory=list)
    """What was not done, and why."""
    _origins: dict[str, str] = field(factory=dict, init=False)
    """Present name -> name in the store, of what was moved by this batch."""

    def carry_out(self, operations: Sequence[Operation]) -> None:
        """All operations, in their order."""
        for operation in sorted(operations, key=lambda each: each.order):
            problem = _METHODS[operation.type](self, operation)
            if problem:
                self.passed_over.append((operation, problem))

    def delete(self, operation: Operation) -> str:
        """The tab moves into a grave, and so does what is being merged back into it."""
        tab = operation.tab
        if tab not in self.types:
            return "there is no such tab"
        milliseconds = int(operation.time * 1e3)
        while self.notes.taken(tab, milliseconds):
            milliseconds += 1
        self._move(tab, Note(tab, Kind.DELETED, milliseconds).name)
        for part, note in enumerate(self.notes.of(tab, Kind.RESTORED), 1):
            self._move(note.name, Note(tab, Kind.DELETED, milliseconds, part).name)
        for kind in (Kind.UPGRADE, Kind.REBUILD):
            for note in self.notes.of(tab, kind):
                self._forget(note.name)
        return ""

    def undelete(self, operation: Operation) -> str:
        """The graves of one deletion are to be merged back."""
        tab = operation.tab
        graves = self.notes.of(tab, Kind.DELETED)
        wanted = operation.deleted
        if wanted is None and graves:
            wanted = graves[-1].milliseconds
        graves = [note for note in graves if note.milliseconds == wanted]
        if not graves:
            return "there is no such grave"
        type = self.types[graves[0].name]
        if self.types.get(tab, type) != type:
            return f"the tab is of Type {self.types[tab]} now, the grave of Type {type}"
        for note in graves:
            if self._origins.get(note.name) == tab and tab not in self.types:
                self._move(note.name, tab)  # deleted by this very batch: it is as if nothing had been asked
            else:
                self._move(note.name, note.turned(Kind.RESTORED).name)
        if tab not in self.types:
            self.types[tab] = type
            if tab not in self.carried.renames:
                # Else the checkpoint moves what has the name now, and the Type would go along: that a tab with a
                # `restored` note has the note's Type is known without it, and maintenance writes it.
                self.carried.types[tab] = type
        return ""

    def upgrade(self, operation: Operation) -> str:
        """All States of the tab are to be written in the present version."""
        return self._note(operation.tab, Kind.UPGRADE)

    def rebuild(self, operation: Operation) -> str:
        """The Aggregate of the tab is to be made anew."""
        return self._note(operation.tab, Kind.REBUILD)

    def _note(self, tab: str, kind: Kind) -> str:
        if tab not in self.types:
            return "there is no such tab"
        name = Note(tab, kind).name
        if name not in self.types:
            self.types[name] = self.types[tab]
            self.notes.add(name)
            self.carried.types[name] = self.types[tab]
        return ""

    def refold(self, operation: Operation) -> str:
        """What was set aside is to be folded again."""
        self.carried.refold += operation.ids
        return ""

    def _move(self, old: str, new: str) -> None:
        """Give a tab another name."""
        self.types[new] = intern(self.types.pop(old))
        self.notes.remove(old)
        self.notes.add(new)
        renames = self.carried.renames
        origin = self._origins.pop(old, old)
        if origin == old and old in renames:  # what the store has of this name went elsewhere: this is but a Type
            self.carried.types[new] = self.types[new]
        elif origin == new:
            del renames[origin]
        else:
            renames[origin] = new
            self._origins[new] = origin

    def _forget(self, name: str) -> None:
        del self.types[name]
        self.notes.remove(name)
        self.carried.types[name] = None


_METHODS: Mapping[str, Callable[[Carrying, Operation], str]] = {
    DELETE: Carrying.delete,
    UNDELETE: Carrying.undelete,
    UPGRADE: Carrying.upgrade,
    REBUILD: Carrying.rebuild,
    REFOLD: Carrying.refold,
}


def with_restored(types: dict[str, str], notes: Notes) -> None:
    """Give the tabs that others are being merged into their Types, where no checkpoint has written them yet."""
    for note in notes:
        if note.kind is Kind.RESTORED and note.tab not in types:
            types[note.tab] = types[note.name]
