"""Vbuckets that a mover left sealed: which they are is decided here from what the shards say. Pure.

A mover that dies in the milliseconds between seal and activation leaves a vbucket that takes nothing. Everything that
is needed to go on is in Redis, so any mover may; and when nobody has changed anything about it for a while, a server
does what a mover would do next, for this vbucket and no further: it copies it once more and activates the target, or
unseals the source where the move was being undone. That is sound as a second mover is sound (moving.lua lets the last
one who began import, and nobody else). What remains, the second look and the end of the old copy, is for a mover that
somebody starts.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import define, field

from taba.store.redis.placing import ACTIVE, GONE, SEALED, ShardFacts

GRACE_SECONDS = 10.0
"""A living mover keeps a vbucket sealed for milliseconds, or, while a shard does not answer, tries again within a
second or two.
"""


ARRIVED, RETURNED = "arrived", "returned"
"""Where a vbucket takes events again that a mover had left sealed: at its target, or, where the move was being undone,
at its source.
"""


@define(eq=False)
class StuckMoves:
    """What one server has seen of sealed vbuckets. `grace` is in seconds; servers should have different ones, so that
    not all of them begin at once.
    """

    grace: float
    _since: dict[int, tuple[tuple[object, ...], float]] = field(factory=dict, init=False)

    def look(self, facts: Mapping[str, ShardFacts], now: float) -> list[tuple[int, str, str]]:
        """The vbuckets that have been sealed for `grace` seconds, with nothing about them changed: (vbucket, source,
        target). Each is named again after as long, if it still is so.
        """
        found: dict[int, tuple[tuple[object, ...], float]] = {}
        stuck: list[tuple[int, str, str]] = []
        for source, each in facts.items():
            for vbucket, row in each.moves.items():
                marker = each.markers.get(vbucket)
                if row.stage == GONE or marker is None or marker.letter != SEALED or row.shard not in facts:
                    continue
                there = facts[row.shard].markers.get(vbucket)
                if there is not None and there.letter == ACTIVE and there.epoch > marker.epoch:
                    continue
                now_so = source, marker, row, there
                known, since = self._since.get(vbucket, (None, now))
                since = since if known == now_so else now
                if now - since >= self.grace:
                    stuck.append((vbucket, source, row.shard))
                    since = now
                found[vbucket] = now_so, since
        self._since = found
        return sorted(stuck)
