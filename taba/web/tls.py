"""Whom a client of https servers trusts, and the certificate that it shows to them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from twisted.internet import ssl
from twisted.web.iweb import IPolicyForHTTPS
from zope.interface import implementer

from taba.errors import SettingsError

_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


@implementer(IPolicyForHTTPS)
class VerifiedServers:
    """Connections to servers whose certificate is for the host that was asked for, by an authority that is trusted.

    Without an option this is what the platform trusts, and nothing is shown.
    """

    def __init__(self, ca_file: str | None = None, client_file: str | None = None) -> None:
        """`ca_file` holds the certificates of all authorities to trust, `client_file` a private key and the certificate
        for it, to be shown to servers; both are PEM. SettingsError says what is wrong with them.
        """
        self._trust_root: Any = ssl.platformTrust() if ca_file is None else _authorities(ca_file)
        self._shown = None if client_file is None else _own(client_file)

    def creatorForNetloc(self, hostname: bytes, port: int) -> Any:
        """Called by twisted.web."""
        return ssl.optionsForClientTLS(
            hostname.decode("ascii"), trustRoot=self._trust_root, clientCertificate=self._shown
        )


def _text_of(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii", errors="replace")
    except OSError as problem:
        raise SettingsError(f"{path} cannot be read: {problem.strerror}.")


def _authorities(path: str) -> Any:
    found = _CERTIFICATE.findall(_text_of(path))
    if not found:
        raise SettingsError(f"{path} holds no certificate in PEM format.")
    try:
        return ssl.trustRootFromCertificates([ssl.Certificate.loadPEM(each) for each in found])
    except Exception as problem:  # pyOpenSSL and cryptography have several for a certificate that is none
        raise SettingsError(f"{path} holds a certificate that cannot be read: {problem}.")


def _own(path: str) -> Any:
    try:
        return ssl.PrivateCertificate.loadPEM(_text_of(path))
    except SettingsError:
        raise
    except Exception as problem:  # see above
        raise SettingsError(f"{path} does not hold a private key and a certificate in PEM format: {problem}.")
