"""Links: what a connection is asked before it is used, and what is said when it cannot be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from taba.errors import SettingsError, StoreUnavailable
from taba.store.redis.access import TLS, Access, CannotConnect
from taba.store.redis.following import SETTLED_SECONDS
from taba.store.redis.link import Link, Replication
from taba.store.redis.protocol import GRACE_SECONDS, Wire
from taba.store.redis.shard import ROLES, Shard
from tests.redis.certificates import Authority
from tests.store.redis.peer import LINEAGE, Error
from tests.store.redis.scene import Scene

WRONG = "WRONGPASS invalid username-password pair or user is disabled."


class ReplicationTests(SynchronousTestCase):
    """What INFO replication says."""

    def test_master_with_replicas(self) -> None:
        """Role, lineage and replicas; the second id is that of another lineage."""
        text = (
            "# Replication\r\nrole:master\r\nconnected_slaves:2\r\n"
            "slave0:ip=127.0.0.1,port=6380,state=online,offset=14,lag=0\r\n"
            "slave1:ip=::1,port=6381,state=wait_bgsave,offset=0,lag=1\r\n"
            f"master_replid2:{'b' * 40}\r\nmaster_replid:{LINEAGE}deadbeef\r\n"
        )
        expected = Replication("master", LINEAGE, ("127.0.0.1:6380 online", "::1:6381 wait_bgsave"))
        self.assertEqual(Replication.parsed(text.encode()), expected)

    @given(st.one_of(st.none(), st.integers(), st.binary(), st.lists(st.binary())))
    def test_anything_else(self, reply: Any) -> None:
        """Is refused in words."""
        with self.assertRaises(CannotConnect):
            Replication.parsed(reply)

    @given(st.text())
    def test_any_other_lines(self, text: str) -> None:
        """Unknown lines do no harm."""
        reply = f"role:master\r\nmaster_replid:{LINEAGE}\r\n# {text}".replace(":slave", "")
        self.assertIsInstance(Replication.parsed(reply.encode("utf-8", "replace")), Replication)


class CallTests(SynchronousTestCase):
    """Time limits and transactions of a link."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.wire = Wire(self.clock, "shard shard1 at redis-1:6379")
        self.wire.makeConnection(StringTransport())
        opened = Replication("master", LINEAGE)
        self.link = Link("shard1", "be", "redis-1:6379", LINEAGE, opened, self.wire, timeout=2.0)

    def test_limit_of_the_shard(self) -> None:
        """Holds where a call names none."""
        answer = self.link.call("PING")
        self.clock.advance(1.99)
        self.assertNoResult(answer)
        self.clock.advance(0.01 + GRACE_SECONDS)
        self.clock.advance(GRACE_SECONDS)
        self.failureResultOf(answer, StoreUnavailable)
        self.assertFalse(self.link.alive)

    def test_limit_of_the_call(self) -> None:
        """Holds where it is named; None is none."""
        answers = [self.link.call("XREAD", timeout=5.0), self.link.call("XREAD", timeout=None)]
        self.clock.advance(4.9)
        self.wire.dataReceived(b"*0\r\n")
        self.clock.advance(1000.0)
        self.successResultOf(answers[0])
        self.assertNoResult(answers[1])

    def test_idle(self) -> None:
        """Neither while a reply is due, nor within a transaction."""
        states = [self.link.idle]
        self.link.call(b"MULTI")
        states.append(self.link.idle)
        self.wire.dataReceived(b"+OK\r\n")
        states.append(self.link.idle)
        self.link.call("EXEC")
        self.wire.dataReceived(b"*0\r\n")
        states.append(self.link.idle)
        self.assertEqual(states, [True, False, False, True])


class AccessTests(SynchronousTestCase):
    """Users and passwords."""

    def start(self, access: Access | None = None, *password: bytes, **replies: Any) -> tuple[Scene, Shard]:
        """A process that has tried to connect to a single server for a second."""
        scene = Scene(servers=1, sentinels=0, access=access)
        self.addCleanup(scene.close)
        scene.redis[0].password = password
        scene.redis[0].replies = {key.replace("_", " "): reply for key, reply in replies.items()}
        shard = scene.start()
        scene.world.advance(1.0)
        return scene, shard

    def problem(self, access: Access | None = None, *password: bytes, **replies: Any) -> str:
        """What is said then."""
        return str(self.start(access, *password, **replies)[1].state()["problem"])

    def test_password_alone(self) -> None:
        """Of the default user."""
        scene, shard = self.start(Access(password="secret"), b"secret")
        self.assertEqual((scene.echo(shard.link("be")), scene.redis[0].asked[0]), (b"there", [b"AUTH", b"secret"]))

    def test_user_and_password(self) -> None:
        """Of an ACL user."""
        scene, shard = self.start(Access("taba", "secret"), b"taba", b"secret")
        self.assertEqual(scene.echo(shard.link("be")), b"there")

    def test_wrong_password(self) -> None:
        """The settings to check are named."""
        self.assertEqual(
            self.problem(Access("taba", "guess"), b"taba", b"secret"),
            "shard shard1 at redis-1:6379 does not accept the password of the user taba "
            f"({WRONG}): check REDIS_USER and REDIS_PASSWORD",
        )

    def test_no_password(self) -> None:
        """One is asked for, and none was set."""
        self.assertEqual(
            self.problem(None, b"secret"),
            "shard shard1 at redis-1:6379 asks for a password (NOAUTH Authentication required.): set REDIS_PASSWORD",
        )

    def test_password_of_a_server_without_one(self) -> None:
        """Is said to be too much."""
        error = "ERR AUTH <password> called without any password configured for the default user. Are you sure ..."
        said = self.problem(Access(password="x"), AUTH_x=Error(error))
        self.assertIn("has no password, but was given one: take REDIS_PASSWORD out", said)

    def test_acl_that_does_not_suffice(self) -> None:
        """The command that is missing is named."""
        error = Error("NOPERM this user has no permissions to run the 'info' command")
        said = self.problem(Access("taba", "secret"), b"taba", b"secret", INFO_replication=error)
        self.assertIn("does not let the user taba do what is needed (NOPERM this user", said)
        self.assertIn("the 'info' command): check its ACL", said)

    def test_name_that_may_not_be_set(self) -> None:
        """CLIENT SETNAME is a courtesy."""
        refused = {f"CLIENT_SETNAME_taba-{role}": Error("NOPERM no") for role in ROLES}
        scene, shard = self.start(None, **refused)
        self.assertEqual(scene.echo(shard.link("be")), b"there")

    def test_wrong_password_is_tried_slowly(self) -> None:
        """Once in SETTLED_SECONDS by each role, said once; and with success when it has been set right."""
        scene, shard = self.start(Access(password="guess"), b"secret")
        scene.world.advance(60.0)
        self.assertLessEqual(scene.redis[0].connections, len(ROLES) * (61 / SETTLED_SECONDS + 1))
        self.assertEqual(len(scene.said), 1)
        scene.redis[0].password = (b"guess",)
        self.assertLess(scene.wait_until_open(shard), SETTLED_SECONDS + 1.0)

    def test_loading(self) -> None:
        """A server that still reads its data is asked again soon."""
        error = Error("LOADING Redis is loading the dataset in memory")
        scene, shard = self.start(None, ROLE=error)
        self.assertIn("LOADING Redis is loading", str(shard.state()["problem"]))
        scene.redis[0].replies.clear()
        self.assertLess(scene.wait_until_open(shard), 1.5)

    def test_info_without_an_id(self) -> None:
        """Something that is no Redis with replication."""
        self.assertIn(
            "tells no master_replid", self.problem(None, INFO_replication=b"# Replication\r\nrole:master\r\n")
        )

    def test_password_is_not_shown(self) -> None:
        """Not in representations, which may end in logs."""
        self.assertNotIn("secret", repr(Access("taba", "secret")))


class TLSFileTests(SynchronousTestCase):
    """The files of TLS."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.authority = Authority(self.folder)
        self.own = self.authority.sign("own")

    def wrong(self, tls: TLS) -> str:
        """What `check` complains of."""
        with self.assertRaises(SettingsError) as caught:
            tls.check()
        return str(caught.exception)

    def test_usable(self) -> None:
        """An authority, a certificate, and a key, in a file of its own or with the certificate; or nothing at all."""
        both = self.folder / "both.pem"
        both.write_bytes(Path(self.own.certificate).read_bytes() + Path(self.own.key).read_bytes())
        for tls in (
            TLS(),
            TLS(self.authority.file),
            TLS(self.authority.file, self.own.certificate, self.own.key),
            TLS(self.authority.file, str(both)),
        ):
            tls.check()

    def test_missing_file(self) -> None:
        """Its name is said."""
        self.assertRegex(self.wrong(TLS("/nowhere/ca.pem")), "/nowhere/ca.pem, needed for TLS, cannot be read: No such")

    def test_no_certificate(self) -> None:
        """A key in the place of a certificate."""
        self.assertIn("own.key holds no certificate in PEM", self.wrong(TLS(self.own.key)))

    def test_key_of_another(self) -> None:
        """A key that belongs to another certificate."""
        other = self.authority.sign("other")
        said = self.wrong(TLS(self.authority.file, self.own.certificate, other.key))
        self.assertIn("other.key holds no private key in PEM that belongs to", said)

    def test_no_key(self) -> None:
        """A certificate in the place of its key."""
        self.assertIn("holds no private key", self.wrong(TLS(None, self.own.certificate, self.authority.file)))

    def test_encrypted_key(self) -> None:
        """It would be asked for at the terminal, for ever."""
        path = self.folder / "encrypted.key"
        path.write_text("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n")
        self.assertIn("is encrypted", self.wrong(TLS(None, self.own.certificate, str(path))))

    def test_damaged_certificate(self) -> None:
        """The frame of one, without one in it."""
        path = self.folder / "damaged.pem"
        path.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
        self.assertIn("holds no certificate", self.wrong(TLS(str(path))))
