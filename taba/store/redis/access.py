"""How to get in: addresses, user and password, TLS; and what to say to the operator when that fails.

`connect` opens one connection and shows the password; every failure of it is a `CannotConnect` whose sentence names the
address, and the setting to look at where a setting can be wrong. It neither waits nor tries again: callers do.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from attrs import field, frozen
from OpenSSL import SSL, crypto
from service_identity import VerificationError
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.error import (
    ConnectingCancelledError,
    ConnectionRefusedError,
    DNSLookupError,
    TimeoutError,
    VerifyError,
)
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.ssl import Certificate, PrivateCertificate, optionsForClientTLS, trustRootFromCertificates
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from zope.interface import implementer

from taba.errors import SettingsError, StoreUnavailable
from taba.store.redis.address import Address
from taba.store.redis.protocol import ConnectionEnded, RedisRefused, Reply, Wire
from taba.store.redis.side_by_side import together

__all__ = ["TLS", "Access", "Address", "CannotConnect", "connect"]

CONNECT_SECONDS = 1.0
"""Time limit of looking a name up and connecting."""
_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\r?\n?", re.DOTALL)
_SETTLED = frozenset({"WRONGPASS", "NOAUTH", "NOPERM", "DENIED", "ERR"})
"""Codes of refusals that last until somebody changes a setting."""


class CannotConnect(StoreUnavailable):
    """A connection could not be opened; the text says why. `settled` tells that it is for an operator to change."""

    def __init__(self, sentence: str, settled: bool = False) -> None:
        super().__init__(sentence)
        self.settled = settled


@frozen
class TLS:
    """Encryption, with the server's certificate verified against `authority` and the name it was reached by.

    The files are PEM, read anew for every connection, so that renewed certificates need no restart.
    """

    authority: str | None = None
    """File of the certificates to trust; None for those that the platform trusts."""
    certificate: str | None = None
    """File of the own certificate, where servers ask for one, followed by those between it and the authority."""
    key: str | None = None
    """File of its private key; None when `certificate` holds that as well."""
    name: str | None = None
    """The name that servers' certificates have, if it is not the host that is connected to."""

    def check(self) -> None:
        """Raise SettingsError when a file cannot be used."""
        self.options("localhost")

    def options(self, host: str) -> Any:
        """What Twisted needs for a connection to `host`; raises SettingsError when a file cannot be used."""
        trust = None
        if self.authority is not None:
            trust = trustRootFromCertificates(_certificates(self.authority))
        own, extra = None, {}
        if self.certificate is not None:
            first, *between = _certificates(self.certificate)
            own = _with_key(first, self.certificate, self.key or self.certificate)
            extra = {"extraCertChain": [each.original for each in between]} if between else {}
        return optionsForClientTLS(self.name or host, trust, own, extraCertificateOptions=extra)


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as problem:
        raise SettingsError(f"The file {path}, needed for TLS, cannot be read: {problem.strerror}.")


def _certificates(path: str) -> list[Certificate]:
    try:
        found = [Certificate.loadPEM(each) for each in _CERTIFICATE.findall(_read(path))]
    except (crypto.Error, ValueError):
        found = []
    if not found:
        raise SettingsError(f"The file {path} holds no certificate in PEM.")
    return found


def _with_key(certificate: Certificate, path: str, key_path: str) -> PrivateCertificate:
    key = _read(key_path)
    if b"ENCRYPTED" in key:  # OpenSSL would ask for the passphrase on the terminal
        raise SettingsError(f"The private key in {key_path} is encrypted: it must be without a passphrase.")
    try:
        own: PrivateCertificate = PrivateCertificate.loadPEM(certificate.dumpPEM() + b"\n" + key)
    except (crypto.Error, VerifyError, ValueError, TypeError):
        raise SettingsError(f"The file {key_path} holds no private key in PEM that belongs to {path}.")
    return own


@frozen
class Access:
    """What a server asks of whoever connects; the same for all servers of a kind.

    The names of the settings go into sentences about what is refused.
    """

    user: str = ""
    """Empty for the default user."""
    password: str = field(default="", repr=False)
    """Empty where none is needed."""
    tls: TLS | None = None
    user_setting: str = "REDIS_USER"
    password_setting: str = "REDIS_PASSWORD"
    tls_setting: str = "REDIS_TLS"

    def arguments(self) -> tuple[str, ...] | None:
        """Of the command AUTH; None where it need not be sent."""
        if not self.password and not self.user:
            return None
        return (self.user, self.password) if self.user else (self.password,)

    def endpoint(self, reactor: Any, address: Address) -> IStreamClientEndpoint:
        """What connects to an address by way of `reactor`; raises SettingsError when a file of TLS cannot be used."""
        plain = HostnameEndpoint(reactor, address.host, address.port, timeout=CONNECT_SECONDS, attemptDelay=0.1)
        if self.tls is None:
            return plain
        return _Encrypted(plain, self.tls.options(address.host), reactor)

    def trouble(self, problem: RedisRefused | ConnectionEnded, wire: Wire) -> CannotConnect:
        """What to say when a connection failed at what it begins with."""
        if isinstance(problem, RedisRefused):
            return CannotConnect(self.refusal(problem, wire.name), problem.code in _SETTLED)
        if wire.failure is not None and wire.failure.check(SSL.Error, VerificationError):
            why = _of_tls(wire.failure.value)
            return CannotConnect(f"{wire.name}: TLS failed: {why}; check {self.tls_setting}", True)
        if wire.spoke_nonsense and self.tls is None:
            return CannotConnect(f"{problem}; if it expects TLS, set {self.tls_setting}", True)
        hint = ""
        if not wire.heard and self.tls is not None:
            hint = f"; if it does not speak TLS, take {self.tls_setting} out"
        elif not wire.heard and wire.failure is not None:
            hint = f"; if it expects TLS, set {self.tls_setting}"
        return CannotConnect(f"{problem}{hint}")

    def refusal(self, refused: RedisRefused, name: str) -> str:
        """A sentence about an error reply of the server that is called `name`."""
        user = f"the user {self.user}" if self.user else "the default user"
        if refused.code == "WRONGPASS":
            return f"{name} does not accept the password of {user} ({refused}): check {self._settings()}"
        if refused.code == "NOAUTH":
            return f"{name} asks for a password ({refused}): set {self.password_setting}"
        if refused.code == "NOPERM":
            return f"{name} does not let {user} do what is needed ({refused}): check its ACL, or {self.user_setting}"
        if "without any password configured" in refused.sentence:
            return f"{name} has no password, but was given one: take {self.password_setting} out, or set one there"
        return f"{name} refuses: {refused}"

    def _settings(self) -> str:
        return f"{self.user_setting} and {self.password_setting}" if self.user else self.password_setting


def _of_tls(problem: object) -> str:
    """What OpenSSL or service-identity complain of, for people."""
    if isinstance(problem, SSL.Error):
        return ", ".join(str(each[-1]) for each in problem.args[0] if each) if problem.args else "no reason given"
    return "the certificate is of another host than the one that was connected to"


@implementer(IStreamClientEndpoint)
@frozen(eq=False)
class _Encrypted:
    """An endpoint with TLS over another one. Twisted's `wrapClientTLS` takes a clock in late versions only, and the
    global reactor in others."""

    _plain: IStreamClientEndpoint
    _options: Any
    _clock: Any

    def connect(self, protocolFactory: Any) -> Deferred[Any]:
        """See `IStreamClientEndpoint`."""
        wrapper = TLSMemoryBIOFactory(self._options, True, protocolFactory, clock=self._clock)
        connecting: Deferred[Any] = self._plain.connect(wrapper)
        return connecting.addCallback(lambda protocol: protocol.wrappedProtocol)


async def connect(
    reactor: Any, address: Address, access: Access, what: str, timeout: float, *commands: tuple[str, ...]
) -> tuple[Wire, list[Reply]]:
    """An open connection on which the password was accepted and `commands` were answered, and these answers.

    `what` is there, in words for sentences. Every answer has `timeout` seconds. Raises CannotConnect. May be cancelled.
    """
    name = f"{what} at {address}"
    try:
        endpoint = access.endpoint(reactor, address)
    except SettingsError as problem:
        raise CannotConnect(str(problem), settled=True)
    wire = await _dial(reactor, endpoint, name)
    password = access.arguments()
    first = [] if password is None else [("AUTH", *password)]
    answers = [wire.execute_command(*each, timeout=timeout) for each in (*first, *commands)]
    try:
        replies = await together(answers)
    except (RedisRefused, ConnectionEnded) as problem:
        wire.end("it is not used")
        raise access.trouble(problem, wire)
    except CancelledError:
        wire.end("it is not used")
        raise
    return wire, replies[len(first) :]


async def _dial(reactor: Any, endpoint: IStreamClientEndpoint, name: str) -> Wire:
    """Connect, within CONNECT_SECONDS with the time that looking a name up takes."""

    def overdue(result: object, seconds: float) -> Failure:
        return Failure(CannotConnect(f"{name}: no connection within {seconds:g} s"))

    factory: Factory[Wire] = Factory.forProtocol(lambda: Wire(reactor, name))
    factory.noisy = False
    attempt: Deferred[Any] = endpoint.connect(factory)
    attempt.addTimeout(CONNECT_SECONDS, reactor, overdue)
    try:
        wire: Wire = await attempt
    except (CannotConnect, CancelledError):
        raise
    except ConnectingCancelledError:
        raise CancelledError()
    except DNSLookupError:
        raise CannotConnect(f"{name}: the name is not known")
    except ConnectionRefusedError:
        raise CannotConnect(f"{name}: the connection is refused, nothing listens there")
    except TimeoutError:
        raise CannotConnect(f"{name}: no connection within {CONNECT_SECONDS:g} s")
    except Exception as problem:
        raise CannotConnect(f"{name}: no connection ({problem})")
    return wire
