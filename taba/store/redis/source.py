"""Who knows where the master of a shard is: the Sentinels, or, for a single server, the settings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from taba.store.redis.address import Address


class Source(Protocol):
    """Who knows where the master of a shard is."""

    def follow(self, shard: str, moved: Callable[[], None]) -> None:
        """Let `moved` be called whenever another master is named, or the same one is confirmed after a switch."""

    def forget(self, shard: str) -> None:
        """Follow no longer."""

    def hurry(self, shard: str, needed: bool) -> None:
        """Whether the shard has no master now, so that looking for it is urgent."""

    def master(self, shard: str) -> Address | None:
        """Where the master is, None while that is not known."""

    def problem(self, shard: str) -> str:
        """Why that is not known, a sentence; "" when it is."""

    def vouches(self, shard: str, master: Address) -> bool:
        """Whether it was sure of this master a few seconds ago."""

    def named_by(self, shard: str, master: Address) -> Sequence[str]:
        """Who names this master."""


class FixedSource:
    """A single server that no Sentinel watches: it is the master, whatever becomes of it."""

    def __init__(self, address: Address) -> None:
        self._address = address

    def follow(self, shard: str, moved: Callable[[], None]) -> None:
        """It never moves."""

    def forget(self, shard: str) -> None:
        """There is nothing to forget."""

    def hurry(self, shard: str, needed: bool) -> None:
        """There is nobody to ask."""

    def master(self, shard: str) -> Address | None:
        """See `Source`."""
        return self._address

    def problem(self, shard: str) -> str:
        """See `Source`."""
        return ""

    def vouches(self, shard: str, master: Address) -> bool:
        """See `Source`."""
        return True

    def named_by(self, shard: str, master: Address) -> Sequence[str]:
        """See `Source`."""
        return ("the settings",)
