"""What passes between the lanes and the spool: the batches that are held, and what has become of them.

Frozen objects only. A lane hands out actions; whoever owns the spool carries them out, in the order in which they come.
"""

from __future__ import annotations

from attrs import field, frozen

CONFLICT = "conflict"
"""Reason of a `SetAside`: the log has other events under the batch's number."""
DAMAGED = "damaged"
"""Reason of a `SetAside`: the batch's body cannot be read any more."""


@frozen
class Held:
    """A sealed batch that the spool keeps for a lane."""

    seq: int
    """Its number in the lane, from 1."""
    after: int
    """The number it follows."""
    before: int
    """The number of events that the lane gave before it."""
    events: int
    sealed: float
    """Wall time at which its oldest events were committed."""
    checksum: int
    """CRC-32C of the body."""
    length: int
    """Bytes of the body."""
    source: object = field(default=None, repr=False)
    """Where the body can be read from; only the spool understands it."""


@frozen
class Confirmed:
    """These batches are in the log for good: the spool may forget them."""

    incarnation: str
    vbucket: int
    batches: tuple[Held, ...]


@frozen
class SetAside:
    """This batch is not sent any more: count its events as refused for `reason`, on disk, then call `noted`.

    With `pass_over` the store will never have its number. Whoever gives numbers then takes `batch.events` off the
    events that the lane gave, and `batch.after` for the number to follow if that was `batch.seq`; so does recovery, for
    the batches of the lane that are already sealed as well. Seals that are on their way to the disk at this time need
    nothing more: the lane corrects them as they are added.
    """

    incarnation: str
    vbucket: int
    batch: Held
    reason: str
    pass_over: bool


@frozen
class NewIncarnation:
    """Another agent uses this lane's numbers: nothing new may be given under `incarnation`."""

    incarnation: str
    reason: str


@frozen
class Lost:
    """The log lost numbers `first` to `last` of a lane, which this agent does not hold any more.

    For the log and alarms; the store counts the events as it takes the next batch. `events` is None when unknown here.
    """

    incarnation: str
    vbucket: int
    first: int
    last: int
    events: int | None


Action = Confirmed | SetAside | NewIncarnation | Lost
