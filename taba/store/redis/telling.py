"""What operators are told of vbuckets that are not where they should be. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from taba.store.redis.placing import Placement
from taba.store.redis.shard_map import ShardMap


def lost_sentence(name: str, vbuckets: int) -> str:
    """A shard has lost data."""
    return (
        f"Shard {name} has lost the data of {vbuckets} vbuckets: nothing is written to them, and agents hold their"
        f" events. Bring the data back, or, if it is gone: taba-cli accept-loss {name}"
    )


def elsewhere_sentence(elsewhere: Mapping[str, Sequence[int]]) -> str:
    """Vbuckets are on shards that the settings do not name."""
    parts = [f"{len(vbuckets)} vbuckets are on shard {name}" for name, vbuckets in sorted(elsewhere.items())]
    return (
        f"{', '.join(parts)}, or on their way there, and SHARDS does not name it: this server takes nothing for them."
        " Start it with the settings that were given to taba-cli reshard"
    )


def other_place_sentence(wanted: ShardMap, placement: Placement) -> str:
    """The settings have vbuckets elsewhere than they are; "" when they do not, or these are on their way."""
    settled = [v for v in range(wanted.vbuckets) if v not in placement.involved]
    other = [v for v in settled if wanted.shard_of(v) != placement.map.shard_of(v)]
    if not other:
        return ""
    first = other[0]
    return (
        f"SHARDS has vbucket {first} on {wanted.shard_of(first)}, and its data is on"
        f" {placement.map.shard_of(first)}"
        + (f" (and so for {len(other) - 1} more)" if len(other) > 1 else "")
        + ": it is used where its data is. taba-cli reshard moves vbuckets to where SHARDS has them."
    )
