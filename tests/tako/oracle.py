"""The oracle of the simulated Tako: a plain account of what was tried and what was acknowledged, and what must be true
of every read, and in the end.

A write that was acknowledged at quorum is never lost: a read at quorum that begins after it gives it, or a newer one;
in the end every node that holds the key has it, or a newer one. What was not acknowledged may have happened or not;
nothing else may ever be read.
"""

from __future__ import annotations

from attrs import define, field, frozen

from taba.tako.records import Version


@frozen
class Acknowledged:
    """A write that was acknowledged."""

    version: Version
    began: float
    ended: float


@define(eq=False)
class Account:
    """Everything about one key."""

    tried: set[bytes] = field(factory=set)
    """Values; each is tried once."""
    deletes: int = 0
    acknowledged: list[Acknowledged] = field(factory=list)

    def newest(self, before: float) -> Version | None:
        """The newest version that was acknowledged before a time."""
        versions = [each.version for each in self.acknowledged if each.ended <= before]
        return max(versions, key=lambda version: version.rank, default=None)


@define(eq=False)
class Oracle:
    """The account of all keys; `wrong` collects what must not be, in words."""

    accounts: dict[bytes, Account] = field(factory=dict)
    wrong: list[str] = field(factory=list)
    reads: int = 0
    writes: int = 0
    failed: int = 0

    def account(self, key: bytes) -> Account:
        """The account of a key."""
        return self.accounts.setdefault(key, Account())

    def trying(self, key: bytes, value: bytes | None) -> None:
        """A write begins; None deletes."""
        account = self.account(key)
        if value is None:
            account.deletes += 1
        else:
            account.tried.add(value)

    def acknowledge(self, key: bytes, version: Version, began: float, ended: float) -> None:
        """A write was acknowledged; it has to be newer than all that were acknowledged before it began, but for a
        second delete with the stamp of the first, which is the same version.
        """
        self.writes += 1
        before = self.account(key).newest(began)
        if before is not None and before.rank >= version.rank and not (version.tombstone and version == before):
            self.wrong.append(f"{key!r}: {version} was stamped before {before}, which was acknowledged earlier")
        self.account(key).acknowledged.append(Acknowledged(version, began, ended))

    def read(self, key: bytes, version: Version | None, body: bytes | None, began: float, who: str) -> None:
        """A read at quorum, which began at a time, gave this."""
        self.reads += 1
        account = self.account(key)
        before = account.newest(began)
        if before is not None and (version is None or version.rank < before.rank):
            self.wrong.append(f"{who} read {version} of {key!r}, and {before} was acknowledged earlier")
        self._check_known(key, version, body, who)

    def _check_known(self, key: bytes, version: Version | None, body: bytes | None, who: str) -> None:
        account = self.account(key)
        if version is None:
            return
        if version.tombstone:
            if not account.deletes:
                self.wrong.append(f"{who} found {key!r} deleted, and nobody deleted it")
        elif body is not None and body not in account.tried:
            self.wrong.append(f"{who} read {body[:40]!r} of {key!r}, which nobody wrote")

    def final(self, key: bytes, version: Version | None, body: bytes | None, who: str, forgotten: bool) -> None:
        """What a node holds in the end; `forgotten` if old tombstones were removed by then."""
        newest = self.account(key).newest(float("inf"))
        if forgotten and version is None and newest is not None and newest.tombstone:
            return
        if newest is not None and (version is None or version.rank < newest.rank):
            if forgotten and version is None and self.account(key).deletes:
                return  # a delete that was not acknowledged may have come later, and is gone by now
            self.wrong.append(f"in the end {who} has {version} of {key!r}, and {newest} was acknowledged")
        self._check_known(key, version, body, who)
