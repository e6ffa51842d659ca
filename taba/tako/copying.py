"""Copies one record from where it is held to where it is lacking, piece by piece."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from taba.tako.interfaces import Write
from taba.tako.records import Version


async def copy(key: bytes, source: Any, sink: Any, new_id: Callable[[], str]) -> Version | None:
    """Copy what `source` holds of a key to `sink`; the version that `sink` holds then, None when there was nothing.

    Both are `IPeer` or `IRecords`. Fails as these do; a copy that fails leaves nothing of itself to be seen.
    """
    found = await source.read(key, True)
    if found is None:
        return None
    version = found.version
    if version.tombstone or version.pieces == 1:
        held: Version = await sink.write(Write(key, version, found.body))
        return held
    upload = new_id()
    body = found.body
    for number in range(version.pieces):
        if number:
            body = await source.piece(key, version, number)
        await sink.stage(upload, number, body)
    held = await sink.write(Write(key, version, None, upload))
    return held
