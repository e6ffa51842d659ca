"""One lane of an agent: what it sends next, and what an answer means. Pure: times are passed in, actions come out.

A lane is (incarnation, vbucket). Its batches are numbered 1, 2, 3 ...; a number means the same events for ever. This is
the agent's half of exactly once; the store's half is `IStore.append`. The rules, by the names that the tests use:

* one in flight: a batch, or a look at the lane's last number, goes out only when nothing of the lane is on its way.
* retention: a batch is held until it is confirmed. Its first ok alone frees nothing, because a store that fails over
  may take back what it said ok to.
* second look: a request sent `confirm_seconds` or more after the first ok must be answered with a last number not below
  the batch's. Time alone confirms nothing.
* look lineage: both under the same lineage. Under another one that answer is a new first ok: a late copy of an old
  request may have brought the batch again just now, and the next failover may take it back again.
* quiet lanes look: a lane with nothing to send asks for its last number, or a rollback of its last batches would never
  be seen, and they would never be confirmed.
* rewind: a last number below what was sent means that the log lost batches; the lane goes back to the one after it.
* gap stands, pass over: a gap that the held batches cannot fill is asked again until it has stood for `confirm_seconds`
  (a master that is about to be deposed may say anything). If it stays, the next batch follows `last`, and keeps its
  number: under a new one an old request could still bring it a second time.
* checksum: a last number whose checksum is not ours is a conflict: another agent, on a copy of this disk, used the
  number. The batch is set aside and the agent takes a new incarnation, so also when the last number is higher than was
  ever given.
* chain: a batch names the checksum of the one it follows, so that the store sees a conflict that lies one batch back.
* set aside: a batch that the store will never take (too old, say) does not leave a gap: the next one follows the one
  before, and the numbers of events are corrected. Nothing more is sent until the spool has noted it (`noted`), else a
  crash in between would take the missing batch for one that is in the log.
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from math import ceil, inf

from attrs import define, evolve, field, frozen

from taba.agent.held import CONFLICT, DAMAGED, Action, Confirmed, Held, Lost, NewIncarnation, SetAside
from taba.errors import LocalProtocolError
from taba.interfaces import Append, Outcome, Verdict

CONFIRM_SECONDS = 30.0  # AGENT_CONFIRM_SECONDS; must exceed what a failover can take back (redis: see its guide)
NOW = -inf  # due at once
NEVER = inf
PAUSE_SECONDS = 0.25  # after the first "moved"; doubles with each further one
MAX_PAUSE_SECONDS = 5.0
LOOKS_PER_CONFIRM = 8  # looks fall due on a grid of confirm_seconds / this, so that many lanes share a request
ASKS_PER_CONFIRM = 6  # a gap that cannot be filled is asked again so often while it has to stand


@frozen
class Outgoing:
    """What a lane sends: a batch, whose body is to be read from `held`, or, where that is None, a look."""

    lane: Lane
    append: Append
    """Without the body."""
    held: Held | None


class LaneState(Enum):
    """What a lane waits for."""

    EMPTY = "empty"
    """It holds nothing."""
    LOOK = "look"
    """To ask what the log has before it sends a body: after a restart, and when a body cannot be read."""
    READY = "ready"
    """To send its next batch."""
    QUIET = "quiet"
    """All it holds had a first ok; the second look falls due later."""
    GAP = "gap"
    """The log lacks numbers that are not held; it asks again until the gap has stood long enough."""
    IN_FLIGHT = "in flight"
    """The answer to a batch or a look."""
    ASIDE = "aside"
    """The spool to note a batch that was set aside."""


# Members of an Enum are looked up slowly in Python 3.11, and every answer asks for these.
_CONFLICT, _GAP, _MOVED, _REFUSED = Verdict.CONFLICT, Verdict.GAP, Verdict.MOVED, Verdict.REFUSED


@define(eq=False)
class Lane:
    """The delivery of one lane. Times are seconds of a monotonic clock; `now` never goes back.

    `given`, `follows` and `so_far` are the numbers of a lane that has given batches before: the last number given, the
    last one that was not passed over, and the events given. A new lane starts from its first batch.
    """

    incarnation: str
    vbucket: int
    confirm_seconds: float = CONFIRM_SECONDS
    given: int = 0
    follows: int = 0
    so_far: int = 0
    phase: float = 0.0
    """Where in a grain of looks this agent's fall due, in [0, 1): those of many agents do not come together."""
    state: LaneState = field(default=LaneState.EMPTY, init=False)
    due: float = field(default=NEVER, init=False)
    """From this time on `next` returns something."""
    lineage: str = field(default="", init=False)
    """The lineage of the last answer."""
    _held: dict[int, Held] = field(factory=dict, init=False)  # ascending by number
    # (number, time): up to this number batches had their first ok under the lineage by then; ascending by both.
    _oks: deque[tuple[int, float]] = field(factory=deque, init=False)
    _next: int = field(default=1, init=False)  # the lowest held number that the log is not known to have, or given + 1
    _flight: Outgoing | None = field(default=None, init=False)
    _look_first: bool = field(default=False, init=False)
    _gap: tuple[int, float] | None = field(default=None, init=False)  # last, and since when it has been so
    _unreadable: int = field(default=0, init=False)  # the number whose body cannot be read
    _pauses: int = field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        self._next = self.given + 1

    # -- what it holds

    @property
    def held(self) -> tuple[Held, ...]:
        """The batches that are not confirmed, ascending. O(held)."""
        return tuple(self._held.values())

    @property
    def oldest(self) -> Held | None:
        """The first of the batches that are not confirmed."""
        return next(iter(self._held.values()), None)

    @property
    def unsent(self) -> int:
        """About how many batches the log is not known to have; 0 when all had their first ok."""
        return max(0, self.given + 1 - self._next)

    @property
    def reached(self) -> int:
        """The first number that the log is not known to have. It changes when an answer says what the log has."""
        return self._next

    @property
    def unsent_bytes(self) -> int:
        """The bytes of the batches that the log is not known to have. O(held) while there are some."""
        if self._next > self.given:
            return 0
        return sum(batch.length for seq, batch in self._held.items() if seq >= self._next)

    @property
    def flight(self) -> Outgoing | None:
        """What is in flight."""
        return self._flight

    @property
    def next_length(self) -> int:
        """The bytes of the body that `next` would send; 0 for a look."""
        return self._held[self._next].length if self.state is LaneState.READY else 0

    def add(self, batch: Held) -> None:
        """Take the lane's next batch; its seal is synced. Numbers have no gaps: raises LocalProtocolError for another.

        What the batch follows, and the events before it, are the lane's own words: the seal was written before it could
        know what was set aside meanwhile.
        """
        if self.given == 0 and not self._held and batch.seq >= 1:
            self.given, self.follows, self.so_far = batch.seq - 1, batch.after, batch.before
            self._next = batch.seq
        if batch.seq != self.given + 1:
            raise LocalProtocolError(f"lane {self.incarnation}/{self.vbucket}: {batch.seq} after {self.given}")
        if (batch.after, batch.before) != (self.follows, self.so_far):
            batch = evolve(batch, after=self.follows, before=self.so_far)
        self._held[batch.seq] = batch
        self.given = self.follows = batch.seq
        self.so_far = batch.before + batch.events
        if self.state in (LaneState.EMPTY, LaneState.QUIET):
            self.state, self.due = LaneState.READY, NOW

    def recover(self, batches: list[Held]) -> None:
        """Take what a spool held for this lane, ascending, corrected for what was set aside. Only for a new lane.

        The lane looks first: most of it is in the log, and only the rest needs its bodies.
        """
        if self._held:
            raise LocalProtocolError(f"lane {self.incarnation}/{self.vbucket} is not new")
        if not batches:
            return
        self._held = {batch.seq: batch for batch in batches}
        newest = batches[-1]
        if newest.seq > self.given:
            self.given = self.follows = newest.seq
            self.so_far = newest.before + newest.events
        self._next = batches[0].seq
        self._look_first = True
        self.state, self.due = LaneState.LOOK, NOW

    # -- sending

    def next(self, now: float) -> Outgoing | None:
        """What the lane sends now, or None while nothing is due."""
        return None if now < self.due else self.send()

    def send(self) -> Outgoing:
        """What a lane that is due sends. After it nothing more until `answered`, `failed` or `unreadable`."""
        if self.state is LaneState.READY:
            held: Held | None = self._held[self._next]
            append = self._append(self._held[self._next])
        else:
            held = None
            append = Append(self.vbucket, self.incarnation, next(reversed(self._held)))
        self._flight = Outgoing(self, append, held)
        self.state, self.due = LaneState.IN_FLIGHT, NEVER
        return self._flight

    def _append(self, batch: Held) -> Append:
        """The batch as it goes out. A followed batch that is not held is confirmed: no other can come in its place."""
        followed = self._held.get(batch.after)
        return Append(
            self.vbucket,
            self.incarnation,
            batch.seq,
            batch.after,
            followed.checksum if followed else None,
            batch.before,
            batch.events,
            batch.sealed,
            batch.checksum,
        )

    def failed(self, now: float) -> None:
        """There is no answer, and will be none. What was sent may be in the log, or not, or come there later."""
        flight = self._flight
        if flight is None:
            return
        self._settle(now)
        if not flight.held and self.state in (LaneState.QUIET, LaneState.GAP):
            self.due = NOW

    def unreadable(self, now: float) -> None:
        """The body of the batch in flight cannot be read any more; it was not sent.

        The lane asks whether the log has it from before. If not, it is set aside as damaged.
        """
        if self._flight and self._flight.held:
            self._unreadable = self._flight.held.seq
            self._look_first = True
            self._settle(now)

    def suspect(self) -> None:
        """The lane's lineage has ended elsewhere: a quiet lane looks now instead of when its look falls due."""
        if self.state is LaneState.QUIET:
            self.due = NOW

    def noted(self, now: float) -> None:
        """The spool has noted what was set aside: the lane goes on."""
        if self.state is LaneState.ASIDE:
            self._settle(now)

    # -- answers

    def answered(self, outcome: Outcome, sent_at: float, now: float) -> list[Action]:
        """Take the answer to what is in flight, sent not before `sent_at`. Answers to anything else are ignored."""
        flight, verdict, last = self._flight, outcome.verdict, outcome.last
        if flight is None or outcome.seq != flight.append.seq:
            return []
        if verdict is _MOVED or (verdict is _REFUSED and not flight.held):
            self._pause(now)
            return []
        self._pauses, self._look_first = 0, False
        if verdict is _REFUSED:
            return [self._set_aside(outcome.seq, outcome.reason, pass_over=True)]
        mine = self._held.get(last)
        if verdict is _CONFLICT or (mine and mine.checksum != outcome.checksum):
            return self._conflict(mine, now)
        actions: list[Action] = []
        if last > self.given:
            actions.append(NewIncarnation(self.incarnation, f"the log has number {last} of {self.given}"))
        self._hear(last, outcome.lineage, now)
        if self._oks and self._oks[0][1] + self.confirm_seconds <= sent_at:
            actions.append(self._confirm(sent_at))
        self._next = self._first_above(last)
        if verdict is _GAP:
            actions += self._stand(last, mine, sent_at, now)
        else:
            self._gap = None
        if self._unreadable == self._next and self._unreadable in self._held and self._gap is None:
            return [*actions, self._set_aside(self._unreadable, DAMAGED, pass_over=True)]
        self._settle(now)
        return actions

    def _hear(self, last: int, lineage: str, now: float) -> None:
        """Note first oks: the log has everything up to `last`, and nothing above, says this lineage."""
        oks = self._oks
        if lineage != self.lineage:
            oks.clear()
            self.lineage = lineage
        while oks and oks[-1][0] > last:
            _, at = oks.pop()
            if not oks or oks[-1][0] < last:
                oks.append((last, at))
                break
        oked = oks[-1][0] if oks else 0
        if oked < last and self._held and next(iter(self._held)) <= last:
            oks.append((min(last, self.given), now))

    def _confirm(self, sent_at: float) -> Confirmed:
        """Let go of what had its first ok long enough before the answered request was sent."""
        upto, batches = 0, []
        while self._oks and self._oks[0][1] + self.confirm_seconds <= sent_at:
            upto, _ = self._oks.popleft()
        while self._held and (first := next(iter(self._held))) <= upto:
            batches.append(self._held.pop(first))
        return Confirmed(self.incarnation, self.vbucket, tuple(batches))

    def _first_above(self, last: int) -> int:
        """The lowest held number above `last`; given + 1 when there is none."""
        if last >= self.given:
            return self.given + 1
        if last + 1 in self._held:
            return last + 1
        return min((seq for seq in self._held if seq > last), default=self.given + 1)

    def _stand(self, last: int, mine: Held | None, sent_at: float, now: float) -> list[Action]:
        """Judge a gap after `last`: rewinding fills it, or it has to stand, or it stood and is passed over.

        `mine` is the batch numbered `last`, if that was still held when the answer came.
        """
        batch = self._held.get(self._next)
        if batch is None or batch.after <= last:
            self._gap = None
            return []
        if self._gap is None or self._gap[0] != last:
            self._gap = (last, now)
        if sent_at < self._gap[1] + self.confirm_seconds:
            return []
        self._gap = None
        self._held[batch.seq] = evolve(batch, after=last)
        events = batch.before - mine.before - mine.events if mine else None
        return [Lost(self.incarnation, self.vbucket, last + 1, batch.after, events)]

    def _conflict(self, mine: Held | None, now: float) -> list[Action]:
        """Somebody else used a number of this lane. Ours cannot be sent under it, nor safely under any other."""
        renew = NewIncarnation(self.incarnation, "the log has other events under a number of this lane")
        if mine is None:  # no honest store says so: a batch names only checksums that are held
            self._pause(now)
            return [renew]
        return [self._set_aside(mine.seq, CONFLICT, pass_over=False), renew]

    def _set_aside(self, seq: int, reason: str, *, pass_over: bool) -> SetAside:
        """Let go of a batch that will not be sent again, and wait until the spool has noted that."""
        batch = self._held.pop(seq)
        if pass_over:
            self._pass_over(batch)
        self._next = self._first_above(seq)
        self._flight, self.state, self.due = None, LaneState.ASIDE, NEVER
        return SetAside(self.incarnation, self.vbucket, batch, reason, pass_over)

    def _pass_over(self, gone: Held) -> None:
        """Let the next batch follow the one before `gone`, and take its events off all that come later."""
        later = [number for number in self._held if number > gone.seq]
        for number in later:
            each = self._held[number]
            self._held[number] = evolve(each, before=each.before - gone.events)
        self.so_far -= gone.events
        if later:
            self._held[later[0]] = evolve(self._held[later[0]], after=gone.after)
        else:
            self.follows = gone.after

    # -- what comes next

    def _pause(self, now: float) -> None:
        """The log is elsewhere, or not to be written now: come back later, and later each time."""
        self._settle(now)
        self.due = max(self.due, now + min(PAUSE_SECONDS * 2**self._pauses, MAX_PAUSE_SECONDS))
        self._pauses = min(self._pauses + 1, 16)

    def _settle(self, now: float) -> None:
        """Find the state that follows from what is held and known; nothing is in flight."""
        self._flight = None
        if not self._held:
            self._oks.clear()
            self.state, self.due = LaneState.EMPTY, NEVER
        elif self._look_first:
            self.state, self.due = LaneState.LOOK, NOW
        elif self._gap is not None:
            self.state, self.due = LaneState.GAP, now + self.confirm_seconds / ASKS_PER_CONFIRM
        elif self._next in self._held:
            self.state, self.due = LaneState.READY, NOW
        elif not self._oks or self._oks[-1][0] < next(reversed(self._held)):
            # The batches above these were set aside, so no answer has spoken of these yet.
            self.state, self.due = LaneState.LOOK, NOW
        else:
            # The look confirms all that is held, and comes together with those of other lanes.
            earliest = self._oks[-1][1] + self.confirm_seconds
            grain = self.confirm_seconds / LOOKS_PER_CONFIRM
            fallen = (ceil(earliest / grain - self.phase) + self.phase) * grain
            self.state, self.due = LaneState.QUIET, max(earliest, fallen)
