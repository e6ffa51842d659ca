"""Versions of a key's value: which of two is newer, and what a Merkle tree adds up for one. Pure.

The order of versions is total: by stamp, then a tombstone before a value, then by checksum and size. So two nodes that
hold different values under the same stamp agree on which one stays, without asking anybody.
"""

from __future__ import annotations

from hashlib import blake2b
from struct import Struct
from typing import Any

from attrs import frozen

from taba.tako.errors import BadKey

MAX_KEY = 4_096  # bytes
MAX_VALUE = 64 * 1024 * 1024  # bytes
PIECE = 256 * 1024
"""Bytes of a piece: what a value is stored and sent in."""
SLOTS = 65_536
"""Parts of the key space; a key's slot decides who owns it, and is a leaf of the Merkle trees."""
DIGEST_BYTES = 6
"""Of what a tree adds up: sums of 2**15 records of one slot stay below 2**63, which is what SQLite can add."""

_FACTS = Struct("<Q?Q")


def check_key(key: bytes) -> bytes:
    """`key`, or BadKey when it is empty or longer than MAX_KEY."""
    if not 1 <= len(key) <= MAX_KEY:
        raise BadKey(len(key), MAX_KEY)
    return key


def slot_of(key: bytes) -> int:
    """The slot of a key, 0 to SLOTS - 1."""
    return int.from_bytes(blake2b(key, digest_size=2).digest(), "big")


def checksum_of(value: bytes) -> str:
    """The checksum of a whole value: BLAKE2b of 16 bytes, as 32 hexadecimal digits."""
    return blake2b(value, digest_size=16).hexdigest()


def new_checksum() -> Any:
    """A hash object that is fed a value piece by piece; its `hexdigest` is `checksum_of` the whole."""
    return blake2b(digest_size=16)


EMPTY_CHECKSUM = checksum_of(b"")


@frozen(order=False)
class Version:
    """One version of a key: all but the value itself."""

    stamp: int
    """Microseconds since 1970."""
    tombstone: bool
    """Whether the key was deleted; then the size is 0."""
    size: int
    """Bytes of the value."""
    checksum: str

    @property
    def rank(self) -> tuple[int, bool, str, int]:
        """What versions of one key are ordered by; the greatest is the newest."""
        return (self.stamp, self.tombstone, self.checksum, self.size)

    @property
    def pieces(self) -> int:
        """How many pieces the value has; one for an empty one."""
        return max(1, -(-self.size // PIECE))

    def digest(self, key: bytes) -> int:
        """What a tree adds for a key of this version: below 2**48, and another one for each key and version."""
        return digest_of(key, self.stamp, self.tombstone, self.size, self.checksum)


def digest_of(key: bytes, stamp: int, tombstone: bool, size: int, checksum: str) -> int:
    """The digest of a version by its parts; see `Version.digest`."""
    facts = _FACTS.pack(stamp, tombstone, size)
    hashed = blake2b(b"%b%b%b" % (facts, checksum.encode(), key), digest_size=DIGEST_BYTES)
    return int.from_bytes(hashed.digest(), "little")


def tombstone(stamp: int) -> Version:
    """The version of a key that was deleted."""
    return Version(stamp, True, 0, EMPTY_CHECKSUM)


def version_of(stamp: int, value: bytes) -> Version:
    """The version of a value that is at hand."""
    return Version(stamp, False, len(value), checksum_of(value))


def is_newer(version: Version, than: Version | None) -> bool:
    """Whether `version` wins over another one, or over none."""
    return than is None or version.rank > than.rank


def newest(versions: list[Version]) -> Version | None:
    """The one that wins; None when there is none."""
    return max(versions, key=lambda version: version.rank, default=None)
