"""Where a port may be opened: loopback, unless the operator asks for a token, encrypts, or says that anybody may come.

Where a process listens is said in Twisted endpoint strings, such as `tcp:8300:interface=127.0.0.1`,
`ssl:8300:privateKey=key.pem:certKey=cert.pem` or `unix:/run/taba.sock`. `check_endpoints` says in a sentence what is
wrong with one, before anything is opened.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import Enum
from ipaddress import ip_address
from typing import Any

from attrs import frozen
from twisted.internet.endpoints import quoteStringArgument, serverFromString

from taba.errors import SettingsError

MOST_PORT = 65_535
FILES = frozenset(("privateKey", "certKey", "extraCertChain", "dhParameters"))
"""Arguments of `ssl` that name files."""


class Reach(Enum):
    """Who can read and write what passes through a port."""

    LOCAL = "this host"
    ENCRYPTED = "whoever reaches it, unread by others"
    PUBLIC = "whoever reaches it, in the clear"


@frozen
class EndpointString:
    """A Twisted endpoint string, taken apart."""

    kind: str
    positional: tuple[str, ...]
    named: Mapping[str, str]

    @classmethod
    def parse(cls, text: str) -> EndpointString:
        """Colons stand between arguments, a backslash before a character that is meant as such. SettingsError for a
        text that ends in a backslash.
        """
        positional, named = [], {}
        for name, value in _arguments(text):
            if name is None:
                positional.append(value)
            else:
                named[name] = value
        return cls(positional[0] if positional else "", tuple(positional[1:]), named)

    def __str__(self) -> str:
        plain = [self.kind, *(quoteStringArgument(value).replace("=", "\\=") for value in self.positional)]
        return ":".join([*plain, *(f"{name}={quoteStringArgument(value)}" for name, value in self.named.items())])

    @property
    def interface(self) -> str:
        """The address to listen on; empty for all."""
        at = 1 if self.kind in ("tcp", "tcp6") else 4
        return self.named.get("interface", self.positional[at] if len(self.positional) > at else "")

    @property
    def reach(self) -> Reach:
        """Who can come. Of kinds that are not known here, everybody. SettingsError for an address that is none."""
        if self.kind == "unix":
            return Reach.LOCAL
        if self.kind == "ssl":
            return Reach.ENCRYPTED
        if self.kind not in ("tcp", "tcp6") or not self.interface:
            return Reach.PUBLIC
        try:
            address = ip_address(self.interface)
        except ValueError:
            raise SettingsError(
                f"{self.interface!r} is no IP address to listen on; name one, such as 127.0.0.1 or ::1."
            )
        return Reach.LOCAL if address.is_loopback else Reach.PUBLIC

    def with_absolute_paths(self) -> EndpointString:
        """The same, with the files in it named from the root: a daemon may change its folder."""
        named = {name: os.path.abspath(value) if name in FILES else value for name, value in self.named.items()}
        positional = self.positional
        if self.kind == "unix":
            named = {name: os.path.abspath(value) if name == "address" else value for name, value in named.items()}
            positional = (*map(os.path.abspath, positional[:1]), *positional[1:])
        if self.kind == "ssl":
            positional = (*positional[:1], *map(os.path.abspath, positional[1:3]), *positional[3:])
        return EndpointString(self.kind, positional, named)


def _arguments(text: str) -> Iterator[tuple[str | None, str]]:
    """Name, if any, and value of each argument."""
    name: str | None = None
    current = ""
    characters = iter(text)
    for character in characters:
        if character == "\\":
            escaped = next(characters, None)
            if escaped is None:
                raise SettingsError(f"{text!r} is no endpoint: it ends in a backslash.")
            current += escaped
        elif character == ":":
            yield name, current
            name, current = None, ""
        elif character == "=" and name is None:
            name, current = current, ""
        else:
            current += character
    yield name, current


def tcp_endpoint(interface: str, port: int) -> str:
    """The endpoint string of a TCP port on one address."""
    return f"tcp:{port}:interface={quoteStringArgument(interface)}"


def inherited_reach(endpoint: EndpointString) -> Reach:
    """Who can come to a socket that systemd opened and passed on. SettingsError when it passed on none by that name."""
    no_reactor: Any = None  # the endpoint only keeps it
    try:
        adopting: Any = serverFromString(no_reactor, str(endpoint))
        with socket.socket(fileno=os.dup(adopting.fileno)) as opened:
            address = opened.getsockname()
    except (KeyError, IndexError, ValueError):
        raise SettingsError(
            f"{endpoint}: systemd passed on no such socket. Start this through its socket unit, or listen otherwise."
        )
    except OSError as problem:
        raise SettingsError(f"{endpoint}: what systemd passed on is no socket: {problem.strerror}.")
    if not isinstance(address, tuple):
        return Reach.LOCAL
    return Reach.LOCAL if ip_address(address[0].partition("%")[0]).is_loopback else Reach.PUBLIC


def check_endpoints(
    endpoints: Sequence[str],
    *,
    token: bool,
    insecure: bool,
    inherited: Callable[[EndpointString], Reach] = inherited_reach,
) -> None:
    """SettingsError for an endpoint string that cannot be used, or that lets strangers in: one that other hosts can
    reach, unencrypted, without a token, unless `insecure`. `inherited` says it of sockets that systemd passed on.
    """
    for text in endpoints:
        endpoint = EndpointString.parse(text)
        reach = inherited(endpoint) if endpoint.kind == "systemd" else endpoint.reach
        if reach is Reach.PUBLIC and not token and not insecure:
            raise SettingsError(_stranger(text, endpoint))
        _check_arguments(text, endpoint)


def _stranger(text: str, endpoint: EndpointString) -> str:
    where = text
    if endpoint.kind in ("tcp", "tcp6"):
        where = endpoint.interface or "all addresses"
    return (
        f"Listening on {where} lets every host that reaches it write and read, unencrypted. Ask for a token "
        "(--token-file FILE, or TOKEN_FILE in a settings file), or encrypt (--listen "
        "ssl:PORT:privateKey=KEY.pem:certKey=CERTIFICATE.pem, or LISTEN), or listen on 127.0.0.1. Say --insecure "
        "(INSECURE in a settings file) if that is meant."
    )


def _check_arguments(text: str, endpoint: EndpointString) -> None:
    """Try the kinds whose making opens nothing; of others, a mistake shows when the process starts."""
    if endpoint.kind in ("tcp", "tcp6", "ssl"):
        port = endpoint.named.get("port", endpoint.positional[0] if endpoint.positional else "")
        if not port.isdecimal() or int(port) > MOST_PORT:
            raise SettingsError(f"{text!r} is no endpoint: {port!r} is no port, which is 0 to {MOST_PORT}.")
    if endpoint.kind in ("tcp", "tcp6", "ssl", "unix"):
        no_reactor: Any = None  # these only keep it
        make_endpoint(no_reactor, text)
    elif not endpoint.positional and not endpoint.named:
        raise SettingsError(
            f"{text!r} is no endpoint; there are, among others, tcp:8300:interface=127.0.0.1, "
            "ssl:8300:privateKey=KEY.pem:certKey=CERTIFICATE.pem and unix:/run/taba.sock."
        )


def make_endpoint(reactor: Any, text: str) -> Any:
    """The IStreamServerEndpoint of an endpoint string; SettingsError when it cannot be made."""
    try:
        return serverFromString(reactor, text)
    except OSError as problem:
        raise SettingsError(f"{text}: {problem.filename or 'a file in it'} cannot be read: {problem.strerror}.")
    except Exception as problem:  # every kind of endpoint has its own; pyOpenSSL's for files that are no PEM
        raise SettingsError(f"{text!r} is no endpoint: {str(problem).rstrip('.') or type(problem).__name__}.")
