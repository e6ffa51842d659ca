"""Which shard has which vbuckets, as the settings, or the markers, say. Pure.

Ranges name the first and the last vbucket of a shard, both included; together they cover every vbucket once. A shard
may have several ranges.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from attrs import define, frozen

from taba.errors import SettingsError


@frozen
class ShardRange:
    """Vbuckets from `first` to `last`, on the shard `name`."""

    name: str
    first: int
    last: int


@frozen
class ShardMap:
    """The ranges of all shards; make it with `shard_map`, which checks them."""

    vbuckets: int
    ranges: tuple[ShardRange, ...]
    _shard_of: tuple[str, ...]

    def shard_of(self, vbucket: int) -> str:
        """The name of the shard that has a vbucket, which must exist."""
        return self._shard_of[vbucket]

    def names(self) -> list[str]:
        """The names of all shards, sorted."""
        return sorted(set(self._shard_of))

    def vbuckets_of(self, name: str) -> list[int]:
        """The vbuckets of a shard, ascending."""
        return [vbucket for vbucket, shard in enumerate(self._shard_of) if shard == name]

    def by_shard(self, vbuckets: Iterable[int]) -> dict[str, list[int]]:
        """Vbuckets, in their order, by the shard that has them; those that do not exist are missing."""
        sorted_out: dict[str, list[int]] = {}
        for vbucket in vbuckets:
            if 0 <= vbucket < self.vbuckets:
                sorted_out.setdefault(self._shard_of[vbucket], []).append(vbucket)
        return sorted_out

    def runs(self) -> list[tuple[str, int, int]]:
        """The fewest ranges that say the same, ascending: shard, first and last vbucket."""
        runs: list[tuple[str, int, int]] = []
        for vbucket, name in enumerate(self._shard_of):
            if runs and runs[-1][0] == name:
                runs[-1] = name, runs[-1][1], vbucket
            else:
                runs.append((name, vbucket, vbucket))
        return runs


@define(eq=False)
class LiveMap:
    """A map whose vbuckets move: the present one is asked each time."""

    now: ShardMap

    @property
    def vbuckets(self) -> int:
        """How many there are, which never changes."""
        return self.now.vbuckets

    def shard_of(self, vbucket: int) -> str:
        """See `ShardMap.shard_of`."""
        return self.now.shard_of(vbucket)

    def names(self) -> list[str]:
        """See `ShardMap.names`: those that have vbuckets."""
        return self.now.names()

    def vbuckets_of(self, name: str) -> list[int]:
        """See `ShardMap.vbuckets_of`."""
        return self.now.vbuckets_of(name)

    def by_shard(self, vbuckets: Iterable[int]) -> dict[str, list[int]]:
        """See `ShardMap.by_shard`."""
        return self.now.by_shard(vbuckets)


def shard_map(vbuckets: int, ranges: Sequence[ShardRange]) -> ShardMap:
    """The map of `vbuckets` vbuckets; raises SettingsError, by name, when ranges overlap, leave a hole or reach beyond.
    """
    owners: list[str | None] = [None] * vbuckets
    for each in ranges:
        if not 0 <= each.first <= each.last < vbuckets:
            raise SettingsError(
                f"SHARDS: the range [{each.first}, {each.last}] of {each.name} is not within 0 and {vbuckets - 1}, the"
                f" last of NUM_VBUCKETS {vbuckets}."
            )
        for vbucket in range(each.first, each.last + 1):
            other = owners[vbucket]
            if other is not None:
                raise SettingsError(
                    f"SHARDS: {other} and {each.name} both have vbucket {vbucket}. Ranges may not overlap."
                )
            owners[vbucket] = each.name
    missing = [vbucket for vbucket, owner in enumerate(owners) if owner is None]
    if missing:
        end = next((v for v in range(missing[0], vbuckets) if owners[v] is not None), vbuckets) - 1
        raise SettingsError(
            f"SHARDS: no shard has the vbuckets from {missing[0]} to {end}. The ranges must cover 0 to {vbuckets - 1}."
        )
    return ShardMap(vbuckets, tuple(ranges), tuple(owner for owner in owners if owner is not None))
