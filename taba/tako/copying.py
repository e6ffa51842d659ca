"""Copies one record from where it is held to where it is lacking, piece by piece."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from taba.tako.clock import MAX_STAMP
from taba.tako.errors import TakoError
from taba.tako.interfaces import Write
from taba.tako.records import Version


async def copy(
    key: bytes, source: Any, sink: Any, new_id: Callable[[], str], limit: int = MAX_STAMP,
    replaces: Version | None = None,
) -> Version | None:
    """Copy what `source` holds of a key to `sink`; the version that `sink` holds then, None when there was nothing.

    Both are `IPeer` or `IRecords`; `limit` and `replaces` are those of `Write`, for a sink without a connection. Fails
    as these do; a copy that fails leaves nothing of itself, unless the sink cannot be told.
    """
    found = await source.read(key, True)
    if found is None:
        return None
    version = found.version
    if version.tombstone or version.pieces == 1:
        held: Version = await sink.write(Write(key, version, found.body, None, limit, replaces))
        return held
    upload = new_id()
    body = found.body
    try:
        for number in range(version.pieces):
            if number:
                body = await source.piece(key, version, number)
            await sink.stage(upload, number, body)
    except Exception:
        with suppress(TakoError):
            await sink.unstage(upload)
        raise
    held = await sink.write(Write(key, version, None, upload, limit, replaces))
    return held
