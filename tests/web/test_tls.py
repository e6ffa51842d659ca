"""Whom a client of https servers trusts. Handshakes are in tests/processes/test_many_hosts.py."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.iweb import IPolicyForHTTPS
from zope.interface.verify import verifyObject

from taba.errors import SettingsError
from taba.web.tls import VerifiedServers
from tests.certificates import Authority


class TrustTests(SynchronousTestCase):
    """Authorities and certificates in files."""

    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)
        self.authority = Authority("some authority")
        self.ca_file = self.authority.save(self.folder)

    def test_provides(self) -> None:
        """With files and without it makes connections to hosts by name and by address."""
        certificate, key = self.authority.issue(self.folder, "agent", "agent.example")
        both = self.folder / "both.pem"
        both.write_bytes(key.read_bytes() + certificate.read_bytes())
        for trust in (VerifiedServers(), VerifiedServers(str(self.ca_file)), VerifiedServers(None, str(both))):
            self.assertTrue(verifyObject(IPolicyForHTTPS, trust))
            for host in (b"taba.example", b"192.0.2.7", b"2001:db8::7"):
                creator = trust.creatorForNetloc(host, 443)
                self.assertTrue(IOpenSSLClientConnectionCreator.providedBy(creator))

    def test_several_authorities(self) -> None:
        """A file may hold several certificates, as it does while one authority takes over from another."""
        other = self.folder / "other"
        other.mkdir()
        both = self.folder / "both.pem"
        both.write_bytes(self.ca_file.read_bytes() + Authority("the next one").save(other).read_bytes())
        VerifiedServers(str(both)).creatorForNetloc(b"taba.example", 443)

    def test_mistakes(self) -> None:
        """What is wrong with a file is said with its name."""
        none = self.folder / "none.pem"
        none.write_text("none")
        broken = self.folder / "broken.pem"
        broken.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
        for ca_file, client_file, words in (
            (self.folder / "missing.pem", None, "missing.pem cannot be read: No such file"),
            (none, None, "none.pem holds no certificate"),
            (broken, None, "broken.pem holds a certificate that cannot be read"),
            (self.ca_file, none, "none.pem does not hold a private key and a certificate"),
            (None, self.ca_file, "ca.pem does not hold a private key and a certificate"),
            (None, self.folder / "missing.pem", "missing.pem cannot be read: No such file"),
        ):
            problem = self.assertRaises(
                SettingsError, VerifiedServers, ca_file and str(ca_file), client_file and str(client_file)
            )
            self.assertIn(words, str(problem))
