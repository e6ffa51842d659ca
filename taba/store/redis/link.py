"""One open connection to the present master of a shard, for one role.

A Link is pinned: it leads to one server for as long as it lives, and a new connection is a new Link. It knows the
lineage under which it was opened, so that whoever reads and writes through several can see that all of them lead into
one history.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import EllipsisType
from typing import Any

from attrs import define, field, frozen
from twisted.internet.defer import Deferred

from taba.errors import StoreUnavailable
from taba.store.redis.access import Access, Address, CannotConnect, connect
from taba.store.redis.protocol import Argument, RedisRefused, Reply, Wire

__all__ = ["Link", "RedisRefused", "Replication", "Reply", "ShardUnavailable", "open_link"]

SIGNS = frozenset({"READONLY", "MASTERDOWN", "LOADING", "UNBLOCKED", "NOAUTH"})
"""Codes by which a server tells that it is not what it was when the connection was opened."""
LINEAGE_DIGITS = 32  # of the 40 that Redis has


class ShardUnavailable(StoreUnavailable):
    """There is no open connection to the master of `shard`; the text says why, and for how long."""

    def __init__(self, shard: str, sentence: str) -> None:
        super().__init__(sentence)
        self.shard = shard


@frozen
class Replication:
    """What a server says of itself with INFO replication."""

    role: str
    """`master` or `slave`."""
    lineage: str
    """The first 32 digits of master_replid."""
    replicas: tuple[str, ...] = ()
    """`HOST:PORT STATE` of each that is connected."""

    @classmethod
    def parsed(cls, reply: Reply) -> Replication:
        """From the answer to INFO replication; raises CannotConnect when it does not say what it must."""
        text = reply.decode("utf-8", "replace") if isinstance(reply, bytes) else ""
        lines = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
        lineage = lines.get("master_replid", "")[:LINEAGE_DIGITS]
        if len(lineage) < LINEAGE_DIGITS:
            raise CannotConnect("INFO replication tells no master_replid", settled=True)
        rows = [_fields(value) for key, value in lines.items() if key.startswith("slave") and key[5:].isdigit()]
        replicas = tuple(f"{row.get('ip')}:{row.get('port')} {row.get('state')}" for row in rows)
        return cls(lines.get("role", ""), lineage, replicas)


def _fields(row: str) -> dict[str, str]:
    return dict(each.split("=", 1) for each in row.split(",") if "=" in each)


@define(eq=False)
class Link:
    """An open connection to the master of `shard` at `address`, for `role`. To be used in the reactor thread."""

    shard: str
    role: str
    address: str
    lineage: str
    """The first 32 digits of master_replid, read when the connection was opened."""
    opened: Replication
    """All that was read then."""
    _wire: Wire
    _timeout: float
    """Seconds that a call has to be answered, unless it says otherwise."""
    _transaction: bool = field(default=False, init=False)

    @property
    def alive(self) -> bool:
        """Whether the connection is open."""
        return self._wire.ended is None

    @property
    def idle(self) -> bool:
        """Whether nothing is under way: no reply is due, and no MULTI without its EXEC."""
        return self._wire.idle and not self._transaction

    @property
    def between_transactions(self) -> bool:
        """Whether there is no MULTI without its EXEC."""
        return not self._transaction

    def call(self, *arguments: Argument, timeout: float | EllipsisType | None = ...) -> Deferred[Any]:
        """Send a command; its Reply, just as Redis gave it.

        Commands are sent and answered in the order of the calls, without waiting for each other's replies. An error
        reply fails the Deferred with RedisRefused. The end of the connection fails it with StoreUnavailable, and so
        does a reply that has not come `timeout` seconds after the call (None: there is no limit; by default the
        shard's), which ends the connection: the command may have been executed, or may still be. The time includes
        that of calls before it. The Deferred may be cancelled: the command may be executed all the same.
        """
        if arguments[0] in _TRANSACTION:
            self._transaction = arguments[0] in ("MULTI", b"MULTI")
        return self._wire.execute_command(*arguments, timeout=self._timeout if timeout is ... else timeout)

    def call_all(
        self, commands: Sequence[tuple[Any, ...]], timeout: float | EllipsisType | None = ...
    ) -> Deferred[list[Any]]:
        """Send commands at once, in order; their replies, RedisRefused for error replies, when all have come. Else as
        `call`. A transaction in it must have both its ends in it.
        """
        return self._wire.execute_commands(commands, timeout=self._timeout if timeout is ... else timeout)

    def look(self, timeout: float | None) -> Deferred[Replication]:
        """Ask the server again what it is. Not within a transaction."""
        return self._wire.execute_command("INFO", "replication", timeout=timeout).addCallback(Replication.parsed)

    def listen(self, ended: Callable[[Link, str], None], sign: Callable[[Link, RedisRefused], None]) -> None:
        """Let `ended` be called with the reason when the connection ends, and `sign` with an error reply that tells
        that the server changed.
        """

        def refused(reply: RedisRefused) -> None:
            if reply.code in SIGNS:
                sign(self, reply)

        self._wire.on_end = lambda reason: ended(self, reason)
        self._wire.on_refused = refused

    def close(self, reason: str, gently: bool = False) -> None:
        """End the connection; calls under way fail. `gently` lets leave what was written. Idempotent."""
        self._wire.end(reason, gently)

    def gone(self) -> Deferred[None]:
        """Fires when nothing of the connection is left."""
        return self._wire.gone()


_TRANSACTION = frozenset({"MULTI", "EXEC", "DISCARD", b"MULTI", b"EXEC", b"DISCARD"})


async def open_link(reactor: Any, address: Address, access: Access, shard: str, role: str, timeout: float) -> Link:
    """A Link to the server at `address`, which must say that it is a master. Raises CannotConnect. May be cancelled."""
    what = f"shard {shard}"
    wire, (server, replication) = await connect(
        reactor, address, access, what, timeout, ("ROLE",), ("INFO", "replication")
    )
    try:
        opened = Replication.parsed(replication)
        role_of_server = server[0] if isinstance(server, list) and server else b""
        if role_of_server != b"master" or opened.role != "master":
            raise CannotConnect(f"{what} at {address} is not a master: it says that it is a {opened.role}")
    except CannotConnect:
        wire.end("it is not used")
        raise
    # Only for people who look at CLIENT LIST: an ACL that does not allow it does no harm.
    wire.execute_command("CLIENT", "SETNAME", f"taba-{role}", timeout=timeout).addErrback(lambda _: None)
    if wire.ended is not None:
        raise CannotConnect(f"{wire.name}: {wire.ended}")
    return Link(shard, role, str(address), opened.lineage, opened, wire, timeout)
