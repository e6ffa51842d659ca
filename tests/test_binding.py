"""Where ports may be opened: what each endpoint string lets in, and what is said of those that cannot be used."""

from __future__ import annotations

import os
import shutil
import tempfile
from functools import partial
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet import endpoints as twisted_endpoints
from twisted.trial.unittest import SynchronousTestCase

from taba.binding import EndpointString, Reach, check_endpoints, tcp_endpoint
from taba.errors import SettingsError
from tests.certificates import Authority

LOCAL, ENCRYPTED, PUBLIC = Reach

REACH = {
    "tcp:8300:interface=127.0.0.1": LOCAL,
    "tcp:8300:interface=127.8.9.1": LOCAL,
    r"tcp:8300:interface=\:\:1": LOCAL,
    r"tcp6:8300:interface=\:\:1": LOCAL,
    "tcp:8300:127.0.0.1": LOCAL,
    "tcp:port=8300:interface=127.0.0.1": LOCAL,
    "unix:/run/taba.sock": LOCAL,
    "unix:address=/run/taba.sock:mode=660": LOCAL,
    "ssl:8300:privateKey=key.pem": ENCRYPTED,
    "ssl:8300:privateKey=key.pem:certKey=cert.pem:interface=0.0.0.0": ENCRYPTED,
    "tcp:8300": PUBLIC,
    "tcp:8300:interface=": PUBLIC,
    "tcp:8300:interface=0.0.0.0": PUBLIC,
    "tcp:8300:interface=192.0.2.7": PUBLIC,
    r"tcp:8300:interface=\:\:": PUBLIC,
    r"tcp:8300:interface=\:\:ffff\:192.0.2.7": PUBLIC,
    "systemd:domain=INET:index=0": PUBLIC,
    "haproxy:tcp:8300:interface=127.0.0.1": PUBLIC,
}


class ReachTests(SynchronousTestCase):
    """Who can come through a port."""

    def test_table(self) -> None:
        """Loopback and UNIX sockets are of this host, TLS is unread, and all else, known or not, is public."""
        self.assertEqual({text: EndpointString.parse(text).reach for text in REACH}, REACH)

    def test_only_public_ones_need_more(self) -> None:
        """Of endpoints that open nothing when they are made, only public ones are refused, unless there is a token, or
        it is said that they are meant.
        """
        for text, reach in REACH.items():
            if reach is ENCRYPTED or text.startswith(("systemd", "haproxy")):
                continue
            check_endpoints([text], token=True, insecure=False)
            check_endpoints([text], token=False, insecure=True)
            if reach is PUBLIC:
                problem = self.assertRaises(SettingsError, check_endpoints, [text], token=False, insecure=False)
                for remedy in ("--token-file", "TOKEN_FILE", "ssl:", "127.0.0.1", "--insecure", "INSECURE"):
                    self.assertIn(remedy, str(problem))
            else:
                check_endpoints([text], token=False, insecure=False)

    def test_of_several_each_counts(self) -> None:
        """One public endpoint among others is enough to be refused, and is named."""
        several = [tcp_endpoint("127.0.0.1", 1), tcp_endpoint("192.0.2.7", 2), "unix:/run/taba.sock"]
        problem = self.assertRaises(SettingsError, check_endpoints, several, token=False, insecure=False)
        self.assertIn("Listening on 192.0.2.7 lets every host", str(problem))

    def test_unknown_kinds(self) -> None:
        """What a plugin's endpoint lets in nobody knows: it needs a token, or --insecure."""
        text = "haproxy:tcp:8300:interface=127.0.0.1"
        problem = self.assertRaises(SettingsError, check_endpoints, [text], token=False, insecure=False)
        self.assertIn(f"Listening on {text} lets", str(problem))
        check_endpoints([text], token=True, insecure=False)

    def test_passed_on_by_systemd(self) -> None:
        """A socket that systemd opened is judged by its address; one that it did not open is missed by name."""
        text = "systemd:domain=INET:index=0"
        for reach, needs in ((LOCAL, False), (PUBLIC, True)):
            told = partial(check_endpoints, [text], insecure=False, inherited=lambda _, reach=reach: reach)
            told(token=True)
            if needs:
                self.assertRaises(SettingsError, told, token=False)
            else:
                told(token=False)
        for text in ("systemd:domain=INET:index=7", "systemd:domain=INET:name=taba", "systemd:domain=INET:index=x"):
            problem = self.assertRaises(SettingsError, check_endpoints, [text], token=True, insecure=False)
            self.assertIn(f"{text}: systemd passed on no such socket", str(problem))


class MistakeTests(SynchronousTestCase):
    """What is said of endpoint strings that cannot be used, before anything is opened."""

    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)

    def assertRefused(self, text: str, *words: str) -> None:
        """All of these words are said, and no port is opened."""
        problem = self.assertRaises(SettingsError, check_endpoints, [text], token=True, insecure=True)
        for each in words:
            self.assertIn(each, str(problem))

    def test_mistakes(self) -> None:
        """Each mistake has its sentence."""
        self.assertRefused("tcp:8300:interface=localhost", "'localhost' is no IP address")
        self.assertRefused("tcp:70000", "'70000' is no port")
        self.assertRefused("tcp:http", "'http' is no port")
        self.assertRefused("tcp", "'' is no port")
        self.assertRefused("tcp:1:interfaec=127.0.0.1", "is no endpoint", "interfaec")
        self.assertRefused("0.0.0.0", "is no endpoint", "tcp:8300:interface=127.0.0.1")
        self.assertRefused("tcp:1\\", "ends in a backslash")
        self.assertRefused("unix", "is no endpoint")

    def test_tls_files(self) -> None:
        """Keys and certificates that are not there, or are none, are named."""
        authority = Authority("some authority")
        certificate, key = authority.issue(self.folder, "here", "127.0.0.1")
        check_endpoints([f"ssl:8300:privateKey={key}:certKey={certificate}"], token=False, insecure=False)
        missing = self.folder / "nowhere.pem"
        self.assertRefused(f"ssl:8300:privateKey={missing}:certKey={certificate}", f"{missing} cannot be read: No such")
        none = self.folder / "none.pem"
        none.write_text("none")
        self.assertRefused(f"ssl:8300:privateKey={none}:certKey={certificate}", "is no endpoint")

    def test_key_of_another_certificate(self) -> None:
        """A key that does not belong to the certificate is found before the first connection fails."""
        authority = Authority("some authority")
        certificate, _ = authority.issue(self.folder, "here", "127.0.0.1")
        _, other = authority.issue(self.folder, "there", "127.0.0.2")
        self.assertRefused(f"ssl:8300:privateKey={other}:certKey={certificate}", "do not match.")


class StringTests(SynchronousTestCase):
    """Endpoint strings are taken apart as Twisted does."""

    @given(st.lists(st.sampled_from(["a", ":", "=", "/", ".", "1", " ", "\\:", "\\=", "\\\\", "\\a"])).map("".join))
    def test_as_twisted(self, text: str) -> None:
        """Kind, arguments and names are those that Twisted finds."""
        positional, named = twisted_endpoints._parse(text)
        parsed = EndpointString.parse(text)
        self.assertEqual(([parsed.kind, *parsed.positional], dict(parsed.named)), (positional or [""], named))

    @given(
        st.lists(st.text(max_size=5), max_size=3),
        st.dictionaries(st.text(alphabet="abc", min_size=1), st.text(max_size=5), max_size=3),
    )
    def test_there_and_back(self, positional: list[str], named: dict[str, str]) -> None:
        """What is put together is taken apart into the same."""
        there = EndpointString("kind", tuple(positional), named)
        self.assertEqual(EndpointString.parse(str(there)), there)

    def test_absolute_paths(self) -> None:
        """Files are named from the root, wherever they stand; nothing else changes."""
        here = os.getcwd()
        for text, absolute in (
            ("ssl:1:privateKey=k.pem:certKey=c.pem", f"ssl:1:privateKey={here}/k.pem:certKey={here}/c.pem"),
            ("ssl:1:k.pem:/c.pem", f"ssl:1:{here}/k.pem:/c.pem"),
            ("unix:taba.sock:mode=660", f"unix:{here}/taba.sock:mode=660"),
            ("unix:address=taba.sock", f"unix:address={here}/taba.sock"),
            ("tcp:1:interface=127.0.0.1", "tcp:1:interface=127.0.0.1"),
        ):
            self.assertEqual(str(EndpointString.parse(text).with_absolute_paths()), absolute)
