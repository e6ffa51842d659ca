"""Distinct: how many different values a tab has seen. Exact up to a bound, and within some percent beyond it.

Of every value a hash of 64 bits is taken; of all hashes the `k` smallest are kept (a KMV sketch: Bar-Yossef and others,
"Counting distinct elements in a data stream", 2002). While there are fewer than k, that is all of them, and the number
is exact. Beyond that, the k-th smallest hash tells how densely hashes lie: with n different values, spread evenly from
0 to 2**64, it is near k / n * 2**64. The relative standard error is 1 / sqrt(k - 2): 2.2 % for k = 2048.

The k smallest hashes of a union are among the k smallest of its parts, whatever the order and however often a value
came: that is all that Taba's laws ask for.

Version 1 of the State kept 1,024 hashes of texts, and nothing else; a State of it stays a sketch with k = 1024.
"""

from __future__ import annotations

import heapq
import json
import math
import struct
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import pairwise
from typing import Any

from taba.handlers.custom import Event, PythonHandler
from taba.interfaces import Style

HASHES = 2048
HASHES_OF_VERSION_1 = 1024
HASH_BYTES = 8


@dataclass
class Sketch:
    """The smallest hashes; while they are added to, more than `k` may be in it."""

    k: int = HASHES
    hashes: set[int] = field(default_factory=set)

    def smallest(self) -> list[int]:
        """Those that count, ascending."""
        return heapq.nsmallest(self.k, self.hashes)

    def distinct(self) -> int:
        """How many different values."""
        kept = self.smallest()
        return len(kept) if len(kept) < self.k else round((self.k - 1) * 2.0**64 / kept[-1])


def hash_of(value: Any) -> int:
    """64 bits of any JSON value. Objects with the same members are the same value, in whatever order these stand."""
    if isinstance(value, str):
        text = value.encode("utf-8", "surrogatepass")
    else:
        text = b"\0" + json.dumps(value, sort_keys=True).encode()
    return int.from_bytes(blake2b(text, digest_size=HASH_BYTES).digest(), "big")


class Distinct(PythonHandler[Sketch]):
    """Events carry any JSON value."""

    name = "Distinct"
    version = 2

    def empty(self) -> Sketch:
        return Sketch()

    def add(self, value: Sketch, event: Event) -> Sketch:
        value.hashes.add(hash_of(event.value))
        if len(value.hashes) > 4 * value.k:
            value.hashes = set(value.smallest())
        return value

    def join(self, one: Sketch, other: Sketch) -> Sketch:
        return Sketch(min(one.k, other.k), one.hashes | other.hashes)

    def encode(self, value: Sketch) -> bytes:
        smallest = value.smallest()
        return struct.pack(f"<H{len(smallest)}Q", value.k, *smallest)

    def decode(self, data: bytes, version: int) -> Sketch:
        k, start = (HASHES_OF_VERSION_1, 0) if version == 1 else (struct.unpack_from("<H", data)[0], 2)
        hashes = struct.unpack_from(f"<{(len(data) - start) // HASH_BYTES}Q", data, start)
        if len(data) != start + len(hashes) * HASH_BYTES or not 2 < k <= HASHES or len(hashes) > k:
            raise ValueError("no sketch")
        if any(one >= other for one, other in pairwise(hashes)):
            raise ValueError("hashes that do not ascend")
        return Sketch(k, set(hashes))

    def show(self, value: Sketch, time: float, style: Style) -> Any:
        shown: dict[str, Any] = {"distinct": value.distinct()}
        if style is Style.DETAILED:
            shown["error"] = 0.0 if len(value.hashes) < value.k else round(1 / math.sqrt(value.k - 2), 4)
        return shown
