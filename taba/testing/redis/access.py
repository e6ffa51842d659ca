"""Users, their passwords, and what each may do: a simple form of Redis's ACLs.

A user has allow-lists of commands and of key patterns. Categories other than @all, selectors and channels are not
simulated: everybody may use every channel.
"""

from __future__ import annotations

from collections.abc import Sequence

from attrs import define, evolve, field, frozen

from taba.testing.redis.command import Call, Command, command, table
from taba.testing.redis.resp import OK, Reply, ReplyError, shown
from taba.testing.redis.scanning import glob

WRONG_PASSWORD = "WRONGPASS invalid username-password pair or user is disabled."
_NO_PASSWORD = (
    "ERR AUTH <password> called without any password configured for the default user. "
    "Are you sure your configuration is correct?"
)
KEYS_DENIED = "NOPERM this user has no permissions to access one of the keys used as arguments"


@frozen
class User:
    """One user. `commands` are names in capitals, of containers with or without the subcommand; None allows all."""

    name: bytes
    passwords: frozenset[bytes] = frozenset()
    needs_password: bool = True
    enabled: bool = True
    commands: frozenset[bytes] | None = frozenset()
    denied: frozenset[bytes] = frozenset()
    """Commands taken away again."""
    keys: tuple[bytes, ...] = ()
    """Patterns of the keys it may use; `*` allows all."""

    def may_run(self, asked: Command) -> bool:
        """Whether the commands that it may run include this one."""
        names = {asked.name.encode(), asked.name.encode().partition(b"|")[0]}
        return not names & self.denied and (self.commands is None or bool(names & self.commands))

    def may_use(self, keys: Sequence[bytes]) -> bool:
        """Whether it may use all of these keys."""
        return b"*" in self.keys or all(any(glob(pattern)(key) for pattern in self.keys) for key in keys)

    def takes(self, password: bytes) -> bool:
        """Whether it comes in with this password."""
        return self.enabled and (not self.needs_password or password in self.passwords)


DEFAULT_USER = User(b"default", needs_password=False, commands=None, keys=(b"*",))


@define(eq=False)
class Users:
    """The users of a server; `default` is always there, and whose rights a new connection has."""

    by_name: dict[bytes, User] = field(factory=lambda: {b"default": DEFAULT_USER})

    def default(self) -> User:
        """Who nobody is."""
        return self.by_name[b"default"]

    def is_open(self) -> bool:
        """Whether a connection may run commands without authentication."""
        return self.default().enabled and not self.default().needs_password

    def require_password(self, password: bytes) -> None:
        """What `requirepass` does: the default user needs a password, or (empty) none."""
        passwords = frozenset([password]) if password else frozenset[bytes]()
        self.by_name[b"default"] = evolve(self.default(), passwords=passwords, needs_password=bool(password))

    def authenticate(self, name: bytes | None, password: bytes) -> User:
        """The user of a name and password; raises ReplyError."""
        if name is None and not self.default().needs_password:
            raise ReplyError(_NO_PASSWORD)
        user = self.by_name.get(b"default" if name is None else name)
        if user is None or not user.takes(password):
            raise ReplyError(WRONG_PASSWORD)
        return user


def check(user: User, asked: Command, argv: Sequence[bytes]) -> None:
    """Raise NOPERM unless a user may run a command on its keys."""
    if not user.may_run(asked):
        raise ReplyError(f"NOPERM this user has no permissions to run the '{asked.lower()}' command")
    if not user.may_use(asked.keys_of(argv)):
        raise ReplyError(KEYS_DENIED)


def changed(user: User, rule: bytes) -> User:
    """A user after one rule of ACL SETUSER; raises ReplyError for what is not simulated."""
    word = rule.lower()
    simple: dict[bytes, dict[str, object]] = {
        b"on": {"enabled": True},
        b"off": {"enabled": False},
        b"nopass": {"needs_password": False, "passwords": frozenset()},
        b"resetpass": {"needs_password": True, "passwords": frozenset()},
        b"allkeys": {"keys": (b"*",)},
        b"resetkeys": {"keys": ()},
        b"allcommands": {"commands": None, "denied": frozenset()},
        b"+@all": {"commands": None, "denied": frozenset()},
        b"nocommands": {"commands": frozenset(), "denied": frozenset()},
        b"-@all": {"commands": frozenset(), "denied": frozenset()},
        b"allchannels": {},
        b"resetchannels": {},
    }
    if word in simple:
        return evolve(user, **simple[word])  # type: ignore[arg-type]
    if word == b"reset":
        return User(user.name, enabled=False)
    sign, rest = rule[:1], rule[1:]
    if sign == b">":
        return evolve(user, passwords=user.passwords | {rest}, needs_password=True)
    if sign == b"<":
        return evolve(user, passwords=user.passwords - {rest})
    if sign == b"~":
        return evolve(user, keys=(*user.keys, rest))
    if sign == b"&":
        return user
    name = rest.upper()
    if sign in (b"+", b"-") and not name.startswith(b"@"):
        allowed = user.commands
        if sign == b"+":
            with_it = None if allowed is None else allowed | {name}
            return evolve(user, commands=with_it, denied=user.denied - {name})
        return evolve(user, commands=None if allowed is None else allowed - {name}, denied=user.denied | {name})
    raise ReplyError(f"ERR Error in ACL SETUSER modifier '{shown(rule)}': Syntax error")


def auth(call: Call) -> Reply:
    """AUTH [user] password."""
    if len(call.argv) > 3:
        raise ReplyError("ERR syntax error")
    name = call.argv[1] if len(call.argv) == 3 else None
    call.session.user = call.engine.users.authenticate(name, call.argv[-1])
    call.session.authenticated = True
    return OK


def whoami(call: Call) -> Reply:
    """ACL WHOAMI."""
    return call.session.user.name if call.session.user is not None else None


def set_user(call: Call) -> Reply:
    """ACL SETUSER name rule ..."""
    users = call.engine.users.by_name
    user = users.get(call.argv[2], User(call.argv[2], enabled=False))
    for rule in call.argv[3:]:
        user = changed(user, rule)
    users[call.argv[2]] = user
    for session in call.engine.sessions.values():
        if session.user is not None and session.user.name == user.name:
            session.user = user
    return OK


def delete_user(call: Call) -> Reply:
    """ACL DELUSER name ...: how many were there; their connections close."""
    if b"default" in call.argv[2:]:
        raise ReplyError("ERR The 'default' user cannot be removed")
    gone = 0
    for name in call.argv[2:]:
        gone += call.engine.users.by_name.pop(name, None) is not None
        for session in list(call.engine.sessions.values()):
            if session.user is not None and session.user.name == name:
                session.end()
    return gone


def list_users(call: Call) -> Reply:
    """ACL USERS."""
    return [*sorted(call.engine.users.by_name)]


COMMANDS = table(
    [
        command("AUTH", auth, -2, "noauth loading stale noscript"),
        command("ACL|WHOAMI", whoami, 2, "loading stale noscript"),
        command("ACL|SETUSER", set_user, -3, "loading stale noscript"),
        command("ACL|DELUSER", delete_user, -3, "loading stale noscript"),
        command("ACL|USERS", list_users, 2, "loading stale noscript"),
    ]
)
