"""Prepared StatsD lines, the same for every receiver: counters, timers and gauges, packed for datagrams or streams.

Deterministic: the same arguments give the same bytes. Every name comes once in each round, in an order of its own, so
that whole rounds give every name the same number of events and a receiver's cache no help from the order. Each line
ends with a newline, and no block cuts a line, so a block is one datagram, or a part of a stream, and its events are
known without parsing it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence

from attrs import frozen

DATAGRAM_BYTES = 8_000
"""At most this many bytes in a datagram over loopback."""
STREAM_BYTES = 1 << 16
"""At most this many bytes in one send on a stream."""


@frozen
class Prepared:
    """Blocks of whole lines, and how many lines each of them has."""

    blocks: tuple[bytes, ...]
    counts: tuple[int, ...]

    @property
    def events(self) -> int:
        """Lines of all blocks, each of them one event."""
        return sum(self.counts)

    @property
    def size(self) -> int:
        """Bytes of all blocks."""
        return sum(map(len, self.blocks))


def names(count: int, prefix: str = "bench.tab.") -> list[str]:
    """Names of one length, as applications give them: dotted, without characters that any receiver would replace."""
    return [f"{prefix}{number:06d}" for number in range(count)]


def counters(names: Sequence[str], rounds: int, seed: int = 1) -> list[bytes]:
    """Lines `name:1|c`: each name once a round."""
    return _lines(names, rounds, seed, lambda chance: "1|c")


def timers(names: Sequence[str], rounds: int, seed: int = 1) -> list[bytes]:
    """Lines `name:12.3|ms`: milliseconds, log-normal around 20, one decimal, never below 0.1."""
    return _lines(names, rounds, seed, lambda chance: f"{max(0.1, chance.lognormvariate(3.0, 1.0)):.1f}|ms")


def gauges(names: Sequence[str], rounds: int, seed: int = 1) -> list[bytes]:
    """Lines `name:123.4|g`: one decimal, from 0 up to 1,000; never with a sign, which would make a difference of it."""
    return _lines(names, rounds, seed, lambda chance: f"{chance.uniform(0.0, 1_000.0):.1f}|g")


def _lines(names: Sequence[str], rounds: int, seed: int, value: Callable[[random.Random], str]) -> list[bytes]:
    chance = random.Random(seed)
    order = list(names)
    lines = []
    for _ in range(rounds):
        chance.shuffle(order)
        lines += [f"{name}:{value(chance)}\n".encode() for name in order]
    return lines


def pack(lines: Iterable[bytes], size: int = DATAGRAM_BYTES) -> Prepared:
    """The lines in blocks of `size` bytes at most; ValueError for a line that alone is longer."""
    blocks: list[bytes] = []
    counts: list[int] = []
    open_lines: list[bytes] = []
    length = 0
    for line in lines:
        if len(line) > size:
            raise ValueError(f"a line of {len(line)} bytes does not go into blocks of {size}: {line[:80]!r}")
        if length + len(line) > size:
            blocks.append(b"".join(open_lines))
            counts.append(len(open_lines))
            open_lines, length = [], 0
        open_lines.append(line)
        length += len(line)
    if open_lines:
        blocks.append(b"".join(open_lines))
        counts.append(len(open_lines))
    return Prepared(tuple(blocks), tuple(counts))
