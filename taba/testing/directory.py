"""The names of one simulated folder: as processes see them, and as a crash would leave them."""

from __future__ import annotations

from random import Random

from attrs import define, field, frozen

from taba.testing.database import MemoryDatabase
from taba.testing.filebody import FileBody


@frozen
class NameChange:
    """A change of names that is not durable yet: `body` gets the name `new`, and loses the name `old`; None for
    neither.
    """

    old: str | None
    new: str | None
    body: FileBody

    def apply(self, names: dict[str, FileBody]) -> None:
        if self.old is not None and names.get(self.old) is self.body:
            del names[self.old]
        if self.new is not None:
            names[self.new] = self.body


@define(eq=False)
class Directory:
    """The names of one folder, as they are seen and as they are durable."""

    path: str
    names: dict[str, FileBody] = field(factory=dict)
    durable: dict[str, FileBody] = field(factory=dict)
    changes: list[NameChange] = field(factory=list)
    databases: dict[str, MemoryDatabase] = field(factory=dict)
    locked: bool = False

    def change(self, old: str | None, new: str | None, body: FileBody) -> None:
        """Change names, not durably."""
        self.changes.append(NameChange(old, new, body))
        self.changes[-1].apply(self.names)

    def sync(self) -> None:
        """Make the names durable."""
        self.durable = dict(self.names)
        self.changes.clear()

    def crash(self, random: Random, torn: bool) -> None:
        """Keep what is durable and some of the rest: of the changes of names the first ones, as with a journal, or
        any of them.
        """
        if random.random() < 0.5:
            kept = self.changes[: random.randint(0, len(self.changes))]
        else:
            kept = [change for change in self.changes if random.random() < 0.5]
        for change in kept:
            change.apply(self.durable)
        for name in sorted(self.durable):
            self.durable[name].crash(random, torn)
        self.names = dict(self.durable)
        self.changes.clear()
        self.release()

    def release(self) -> None:
        """The process is gone, in whatever way."""
        self.locked = False
        for database in self.databases.values():
            database.close_connections()

    def size(self) -> int:
        """Bytes of all files and databases."""
        bodies = {id(body): body for body in self.names.values()}
        return sum(len(body.content) for body in bodies.values()) + sum(db.size() for db in self.databases.values())
