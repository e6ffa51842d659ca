"""What docs/examples/distinct was in its version 1.0: States of version 1, and a mistake, for it takes every value to
be a text. Put in the place of `taba_distinct.py` by the test of custom Types.
"""

from __future__ import annotations

import heapq
import struct
from hashlib import blake2b
from typing import Any

from taba.handlers.custom import Event, PythonHandler
from taba.interfaces import Style

HASHES = 1024


class Distinct(PythonHandler[set[int]]):
    """Events carry a text."""

    name = "Distinct"

    def empty(self) -> set[int]:
        """No hashes."""
        return set()

    def add(self, value: set[int], event: Event) -> set[int]:
        """One more; AttributeError for what is no text."""
        return value | {int.from_bytes(blake2b(event.value.encode(), digest_size=8).digest(), "big")}

    def join(self, one: set[int], other: set[int]) -> set[int]:
        """All hashes."""
        return one | other

    def encode(self, value: set[int]) -> bytes:
        """The smallest, ascending."""
        smallest = heapq.nsmallest(HASHES, value)
        return struct.pack(f"<{len(smallest)}Q", *smallest)

    def decode(self, data: bytes, version: int) -> set[int]:
        """The same back."""
        return set(struct.unpack(f"<{len(data) // 8}Q", data))

    def show(self, value: set[int], time: float, style: Style) -> Any:
        """How many, or about how many."""
        return {"distinct": len(value) if len(value) < HASHES else round((HASHES - 1) * 2.0**64 / max(value))}
