"""What a sentinel knows of another process: a master, a replica, or another sentinel.

Times are monotonic seconds. `act_ping` is when the oldest unanswered PING was sent, or when the link broke; the
instance is subjectively down when that is longer ago than down-after.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

from attrs import define, field

from taba.testing.redis.sentinel.link import Link


class Kind(Enum):
    """What a process is, to a sentinel."""

    MASTER = "master"
    REPLICA = "slave"
    SENTINEL = "sentinel"


class Reconfiguration(Enum):
    """How far a replica has got in following a new master."""

    NONE = ""
    SENT = "reconf_sent"
    IN_PROGRESS = "reconf_inprog"
    DONE = "reconf_done"


@define(eq=False)
class Instance:
    """One process. `listening` is the link that hears hello messages; sentinels have none."""

    kind: Kind
    host: str
    port: int
    created: float
    run_id: str = ""
    link: Link = field(init=False)
    listening: Link | None = field(default=None, init=False)
    # Availability
    act_ping: float | None = field(init=False)
    last_ping: float = field(init=False)
    last_available: float = field(init=False)
    last_pong: float = field(init=False)
    down_since: float | None = field(default=None, init=False)
    """Since when it has been subjectively down, None when it is not."""
    last_down: float | None = field(default=None, init=False)
    """When it last began to be down."""
    # INFO
    info_at: float | None = field(default=None, init=False)
    info_asked: float | None = field(default=None, init=False)
    role: Kind = field(init=False)
    """The role that it reports."""
    role_since: float = field(init=False)
    followed: tuple[str, int] | None = field(default=None, init=False)
    """The master that a replica reports."""
    followed_since: float = field(init=False)
    link_is_up: bool = field(default=False, init=False)
    link_down_for: float = field(default=0.0, init=False)
    priority: int = field(default=100, init=False)
    offset: int = field(default=0, init=False)
    reconfiguration: Reconfiguration = field(default=Reconfiguration.NONE, init=False)
    reconfigured_at: float = field(default=0.0, init=False)
    # Hello messages, and what another sentinel says of the master
    last_hello: float = field(default=0.0, init=False)
    answered_at: float | None = field(default=None, init=False)
    says_down: bool = field(default=False, init=False)
    leader: str | None = field(default=None, init=False)
    leader_epoch: int = field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        self.act_ping = self.last_ping = self.last_available = self.last_pong = self.created
        self.role, self.role_since, self.followed_since = self.kind, self.created, self.created

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        return self.host, self.port

    def is_down(self) -> bool:
        """Whether this sentinel holds it to be down."""
        return self.down_since is not None

    def no_down_for(self, now: float, seconds: float) -> bool:
        """Whether it has not begun to be down for a while."""
        return self.last_down is None or now - self.last_down > seconds

    def name(self) -> str:
        """What events and replies call it."""
        return self.run_id if self.kind is Kind.SENTINEL else f"{self.host}:{self.port}"

    def ponged(self, now: float, acceptable: bool) -> None:
        """It has answered a PING."""
        self.last_pong = now
        if acceptable:
            self.last_available, self.act_ping = now, None

    def pinged(self, now: float) -> None:
        """A PING was sent."""
        self.last_ping = now
        if self.act_ping is None:
            self.act_ping = now

    def judge(self, now: float, down_after: float, lies: bool) -> str | None:
        """Find out whether it is down; the event, when that has changed. `lies`: it reports a role that cannot be."""
        if self.act_ping is not None:
            elapsed = now - self.act_ping
        else:
            elapsed = 0.0 if self.link.is_up() else now - self.last_available
        down = elapsed > down_after or lies
        if down and self.down_since is None:
            self.down_since = self.last_down = now
            return "+sdown"
        if not down and self.down_since is not None:
            self.down_since = None
            return "-sdown"
        return None

    def close(self) -> None:
        """Break the links."""
        self.link.close()
        if self.listening is not None:
            self.listening.close()


MakeInstance = Callable[[Kind, str, int, str], Instance]
"""Makes an instance of a kind at host and port, with a run id, and its links."""
