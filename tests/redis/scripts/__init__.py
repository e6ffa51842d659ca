"""The scripts of the conformance suite, by name; the language is in tests/redis/conformance.py."""

from __future__ import annotations

from collections.abc import Mapping

from tests.redis.scripts.atomic import ATOMIC
from tests.redis.scripts.data_types import DATA_TYPES
from tests.redis.scripts.pair import PAIR
from tests.redis.scripts.probe import LIBRARY, LUA, ONE, SINGLE
from tests.redis.scripts.server import SERVER
from tests.redis.scripts.streams import STREAMS

SCRIPTS: Mapping[str, str] = {**DATA_TYPES, **STREAMS, **ATOMIC, **SERVER}

__all__ = ["LIBRARY", "LUA", "ONE", "PAIR", "SCRIPTS", "SINGLE"]
