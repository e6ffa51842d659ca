"""Inflates gzip bodies within limits, some at a time."""

from __future__ import annotations

import zlib

from taba.errors import LimitReached
from taba.server.turns import Turns

STEP_BYTES = 256 << 10
"""What is inflated at a time: about a millisecond."""
MAX_RATIO = 200
RATIO_FROM = 1 << 20
"""A body may inflate to this size at any ratio, and beyond it MAX_RATIO times."""

_GZIP = 31  # zlib's number for a gzip stream with the largest window


async def inflated(body: bytes, max_bytes: int, turns: Turns) -> bytes:
    """What a gzip stream holds, at most `max_bytes`. Gives up the turn when it is over.

    zlib.error for what is not one whole stream, LimitReached for a stream that inflates to more than is allowed.
    """
    inflator = zlib.decompressobj(wbits=_GZIP)
    whole = bytearray()
    for start in range(0, len(body), STEP_BYTES):
        rest = body[start : start + STEP_BYTES]
        while rest:
            whole += inflator.decompress(rest, STEP_BYTES)
            rest = inflator.unconsumed_tail
            if len(whole) > max_bytes:
                raise LimitReached("MAX_BODY_BYTES, after inflating")
            if len(whole) > RATIO_FROM and len(whole) > MAX_RATIO * len(body):
                raise LimitReached(f"a body may inflate {MAX_RATIO} times")
            if turns.over():
                await turns.next()
        if inflator.unused_data:
            raise zlib.error("bytes follow after its end")
    if not inflator.eof:
        raise zlib.error("it is cut short")
    return bytes(whole)
