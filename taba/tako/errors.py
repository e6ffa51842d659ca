"""The exceptions of Tako. Facts stand in attributes, not only in the text."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from taba.errors import RemoteProtocolError, SettingsError, TabaError


class TakoError(TabaError):
    """The root of what Tako raises on purpose while it runs."""


@frozen
class Mistake:
    """One mistake in a configuration."""

    path: str
    """Where, such as deployments.main.buckets.b1; empty for the whole."""
    problem: str

    def __str__(self) -> str:
        return f"{self.path}: {self.problem}" if self.path else self.problem


class ConfigurationError(SettingsError):
    """A configuration cannot be used; `mistakes` has every one of its mistakes."""

    def __init__(self, name: str, mistakes: Sequence[Mistake]) -> None:
        super().__init__("\n".join(f"{name}: {each}" for each in mistakes))
        self.name = name
        self.mistakes = tuple(mistakes)


class BadKey(TakoError):
    """A key is empty or too long."""

    def __init__(self, length: int, limit: int) -> None:
        problem = "A key has one byte at least." if not length else f"The key has {length} bytes; the limit is {limit}."
        super().__init__(problem)
        self.length = length
        self.limit = limit


class BadTimestamp(TakoError):
    """A timestamp is not decimal microseconds since 1970."""


class ClockAhead(BadTimestamp):
    """A timestamp is further in the future than clocks may be apart."""

    def __init__(self, stamp: int, now: int, most: float) -> None:
        super().__init__(
            f"The timestamp {stamp} is {(stamp - now) / 1e6:.1f} seconds ahead of the clock here; {most:g} are allowed."
        )
        self.stamp = stamp
        self.now = now
        self.most = most


class Unreachable(TakoError):
    """A node did not answer: it cannot be reached, or not in time. What was asked may or may not have been done."""

    def __init__(self, node: str, reason: str) -> None:
        super().__init__(f"{node}: {reason}")
        self.node = node
        self.reason = reason


class Refused(TakoError):
    """A node answered that it does not do what it was asked for; `code` is one of the words in docs/tako/reference.md.
    """

    def __init__(self, code: str, reason: str, version: int = 0) -> None:
        super().__init__(f"{code}: {reason}" if reason else code)
        self.code = code
        self.reason = reason
        self.version = version
        """Of the configuration that the node runs on."""


class NotEnough(TakoError):
    """Fewer nodes answered than the level asks for."""

    def __init__(self, what: str, level: str, held: int, nodes: int, reasons: Sequence[str]) -> None:
        whys = "; ".join(dict.fromkeys(reasons))
        super().__init__(f"{what}: {held} of {nodes} nodes, which is not {level}" + (f" ({whys})" if whys else ""))
        self.level = level
        self.held = held
        self.nodes = nodes
        self.reasons = tuple(reasons)


class StorageFailed(TakoError):
    """The disk did not do what it was asked for. Nothing of it was done, or, after a failed commit, perhaps all."""


class DiskFull(StorageFailed):
    """The disk has no room for what was to be stored; what is stored is as it was."""


class Damaged(StorageFailed):
    """A stored value is not what it was when it was stored."""


class Gone(TakoError):
    """The version that was asked for is not there any more, or never was."""


class BadMessage(RemoteProtocolError):
    """A message of the internal protocol is malformed; the connection it came on ends."""
