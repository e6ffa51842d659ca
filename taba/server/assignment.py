"""Which be each vbucket should be with: weighted rendezvous hashing over the live ones. Pure.

Every be comes to the same answer from the same members, without asking anybody. When a member joins, only the vbuckets
that it gets move; when one leaves, only those that it had. Leases make it safe where two see different members for a
moment: what is here is a preference, not a right.

Thaler and Ravishankar, "Using name-based mappings to increase hit rates" (1998); with weights after Schindelhauer and
Schomaker, "Weighted distributed hash tables" (2005): the score of a member is -weight / ln(u), u uniform in (0, 1).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import blake2b
from math import log

LEAST_WEIGHT, MOST_WEIGHT = 0.01, 100.0
"""Weights are kept within these: a be that publishes nonsense gets little or much, but the others their share."""


def score(vbucket: int, member: str, weight: float) -> float:
    """How much a vbucket wants to be with a member; the highest wins."""
    digest = blake2b(f"{vbucket} {member}".encode(), digest_size=8).digest()
    uniform = (int.from_bytes(digest, "little") + 0.5) / 2.0**64
    return -min(MOST_WEIGHT, max(LEAST_WEIGHT, weight)) / log(uniform)


def preferred(vbucket: int, members: Mapping[str, float]) -> str | None:
    """The member that a vbucket should be with; None when there is none. `members` are names with weights."""
    return max(members, key=lambda member: (score(vbucket, member, members[member]), member), default=None)


def assigned(vbuckets: Iterable[int], members: Mapping[str, float]) -> dict[int, str]:
    """The member of each vbucket; empty when there are no members."""
    if not members:
        return {}
    return {vbucket: preferred(vbucket, members) or "" for vbucket in vbuckets}
