"""Sentinels: processes that watch masters together, and promote a replica when most of them miss its master."""

from __future__ import annotations

from taba.testing.redis.sentinel.monitored import Watch
from taba.testing.redis.sentinel.server import RedisSentinel

__all__ = ["RedisSentinel", "Watch"]
