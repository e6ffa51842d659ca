"""The Redis store that settings ask for, and every mistake that settings can have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from taba.errors import SettingsError
from taba.settings import DatabaseSettings, ShardSettings
from taba.store.redis.access import Address
from taba.store.redis.durability import Level
from taba.store.redis.opening import (
    ONLY_SHARD,
    address_of,
    check_database,
    level_of,
    map_of,
    open_redis_store,
    redis_access,
    sentinel_access,
)
from taba.testing import World
from taba.testing.machine import machine_of

ONE = DatabaseSettings(redis_url="redis://redis.example:7000")
MANY = DatabaseSettings(
    sentinels=(("s1", 26379), ("s2", 26379), ("s3", 26379)),
    shards=(ShardSettings("b", (0, 63)), ShardSettings("a", (64, 127))),
)


class GoodTests(SynchronousTestCase):
    """Settings that are as they should be."""

    def test_checks(self) -> None:
        """Nothing is said of them."""
        for settings in (ONE, MANY):
            check_database(settings)

    def test_addresses(self) -> None:
        """The port may be missing, the host a number of either kind; rediss is TLS."""
        for url, expected in (
            ("redis://localhost", (Address("localhost", 6379), False)),
            ("redis://10.0.0.1:7000/", (Address("10.0.0.1", 7000), False)),
            ("rediss://[::1]:7000", (Address("::1", 7000), True)),
        ):
            self.assertEqual(address_of(url), expected)

    def test_levels(self) -> None:
        """DURABILITY by its names; `auto` is found out later."""
        self.assertIsNone(level_of(ONE))
        for level in Level:
            self.assertIs(level_of(evolve(ONE, durability=level.value)), level)

    def test_maps(self) -> None:
        """One server has all vbuckets; of many each has its range."""
        self.assertEqual(map_of(evolve(ONE, vbuckets=3)).vbuckets_of(ONLY_SHARD), [0, 1, 2])
        self.assertEqual((map_of(MANY).shard_of(63), map_of(MANY).shard_of(64)), ("b", "a"))

    def test_access(self) -> None:
        """User, password and TLS of shards and Sentinels are apart; a password may be in a file."""
        path = Path(self.mktemp())
        path.write_text("secret ü\n", encoding="utf-8")
        settings = evolve(
            MANY, redis_user="me", redis_password_file=str(path), sentinel_password="other", sentinel_tls=True
        )
        shards, sentinels = redis_access(settings), sentinel_access(settings)
        self.assertEqual((shards.user, shards.password, shards.tls), ("me", "secret ü", None))
        self.assertEqual((sentinels.user, sentinels.password), ("", "other"))
        self.assertIsNotNone(sentinels.tls)
        self.assertEqual(sentinels.password_setting, "SENTINEL_PASSWORD")
        for tls in (evolve(ONE, redis_tls=True), evolve(ONE, redis_url="rediss://host")):
            self.assertIsNotNone(redis_access(tls).tls)

    def test_stores(self) -> None:
        """The store has the shards of the settings, and starts the Sentinels where there are any."""
        with World(seed=1) as world:
            process = machine_of(world.node("server").start())
            one, many = (open_redis_store(each, process, 14.0) for each in (ONE, MANY))
            self.assertEqual([each["shard"] for each in one.shard_states()], [ONLY_SHARD])
            self.assertEqual([each["shard"] for each in many.shard_states()], ["a", "b"])
            self.assertEqual((one.asked_durability, one._sentinels), ("auto", None))
            self.assertIsNotNone(many._sentinels)


class MistakeTests(SynchronousTestCase):
    """Settings that cannot be had: each mistake by its name, before anything is opened."""

    def assertSaid(self, words: str, settings: DatabaseSettings, **changes: Any) -> None:
        with self.assertRaises(SettingsError) as raised:
            check_database(evolve(settings, **changes))
        self.assertIn(words, str(raised.exception))

    def test_what_excludes_each_other(self) -> None:
        """Two stores at once, or half of one."""
        self.assertSaid("USE_MEMORY_DB and Redis exclude", ONE, memory=True)
        self.assertSaid("REDIS_URL is for one server", MANY, redis_url="redis://host")
        self.assertSaid("SENTINELS needs SHARDS", MANY, shards=())
        self.assertSaid("SHARDS needs SENTINELS", MANY, sentinels=())

    def test_sentinels(self) -> None:
        """A Sentinel that is named twice would count twice."""
        self.assertSaid("SENTINELS names s1:26379 twice", MANY, sentinels=(("s1", 26379), ("s1", 26379)))

    def test_ranges(self) -> None:
        """Ranges that do not cover every vbucket once."""
        self.assertSaid("no shard has the vbuckets from 64 to 127", MANY, shards=(ShardSettings("a", (0, 63)),))
        self.assertSaid("is not within 0 and 99", MANY, vbuckets=100)

    def test_durability(self) -> None:
        """An unknown level, with those that there are."""
        self.assertSaid("sync is none of auto, memory, replicated, fsynced", ONE, durability="sync")

    def test_times(self) -> None:
        """A call that may take less time than it waits by design would end the connection again and again."""
        self.assertSaid("it must be 2.5 or more", ONE, wait_seconds=2.0)
        self.assertSaid("it must be 0.51 or more", ONE, wait_seconds=0.01, call_seconds=0.2)
        check_database(evolve(ONE, wait_seconds=2.0, call_seconds=2.5))

    def test_urls(self) -> None:
        """What is no address, or has what belongs elsewhere."""
        for url in (
            "localhost:6379",
            "http://host",
            "redis://",
            "redis://:7000",
            "redis://host:0",
            "redis://host:x",
            "redis://host:99999",
            "redis://[::1",
        ):
            self.assertSaid("is not redis://HOST:PORT", ONE, redis_url=url)
        for url in ("redis://me@host", "redis://:secret@host", "redis://host/1", "redis://host?a=b", "redis://host#a"):
            self.assertSaid("only host and port", ONE, redis_url=url)

    def test_passwords(self) -> None:
        """A password that is given twice, or in a file that cannot be read."""
        for key, named in (("redis_password", "REDIS_PASSWORD"), ("sentinel_password", "SENTINEL_PASSWORD")):
            self.assertSaid(f"{named} and {named}_FILE exclude", MANY, **{key: "x", f"{key}_file": "y"})
            self.assertSaid(f"{named}_FILE: /none/such cannot be read", MANY, **{f"{key}_file": "/none/such"})
        path = Path(self.mktemp())
        path.write_bytes(b"\xff\xfe")
        self.assertSaid("cannot be read", ONE, redis_password_file=str(path))

    def test_tls(self) -> None:
        """Files of TLS that are not there, of shards and of Sentinels."""
        self.assertSaid("/none/such", ONE, redis_url="rediss://host", tls_ca_file="/none/such")
        self.assertSaid("/none/such", MANY, sentinel_tls=True, tls_client_file="/none/such")

    def test_opening(self) -> None:
        """No store is made of settings with a mistake."""
        with World(seed=1) as world, self.assertRaises(SettingsError):
            open_redis_store(evolve(ONE, durability="x"), machine_of(world.node("server").start()), 14.0)
