"""The sending half of a client: what to post, when, and what an answer means. It knows no socket, no clock, no chance.

An engine asks `next_action(now)` and gets a Post to carry out or a Wait. It tells the outcome of a Post by `answered`
or `failed`, and asks again. `now` is any clock that does not go back, in seconds.

Exactly once, on the hop to the agent, rests on these rules (docs/reference/protocol-1.md has the protocol):

* *Only the agent names instances.* Batch 0, empty, asks for one; a late copy of that request opens one that nobody
  uses.
* *A number is never given to other events.* The batch in flight keeps its number and its very bytes until it is
  answered; what is recorded meanwhile waits. One batch is in flight at a time: an agent remembers only the last number.
* *Sent is unknown.* An agent that does not know the instance may be one that lost its disk after it took the batch. So
  the batch is not sent again but counted as `unknown`. For the same reason a batch that is refused (400, 413, 415)
  after an attempt that went unanswered counts as `unknown`, and not as `refused`. Every other status is about the
  token, the place or a proxy, not about the batch: it is sent again until that is put right.
* *A page is no answer.* Agents do not speak HTML: a page is from a proxy, or from a wrong place, and whatever its
  status, also 200, the batch is repeated as if there were no answer. Only 404 and 405 say that much even then, that
  nothing at the place of protocol 2 has taken the batch.
* *An idle instance is left in time.* After INSTANCE_IDLE the next batch goes under a new one, before the agent forgets.
* *Two protocols, one number.* Batches are frames of protocol 2. To an agent that does not know it (404 or 405, which
  say that nothing was taken) a batch goes in protocol 1, and so do the next ones; a batch that was sent before keeps
  its instance, number and events, so that an agent that has it knows it for a duplicate. Once the agent fails to
  answer, as when it is replaced, the next new batch tries protocol 2 again.

What the agent has acknowledged is not kept. What could not be recorded for lack of room, or is unknown, is told to the
agent with the next batch, and again until a batch that tells it is acknowledged.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from typing import Any

from taba.client.cutting import room_of
from taba.client.drops import FULL, REASONS, REFUSED, UNKNOWN
from taba.client.encoding import Block, join_blocks
from taba.client.exchange import COLUMNS, TEXT, Answer, Batch, Post, Wait, describe, is_page, opening, whole_number
from taba.client.recorder import Recorder

__all__ = ["Answer", "Batch", "Post", "Sender", "Wait"]

DEFAULT_FLUSH_PERIOD = 1.0  # seconds
MAX_BATCH_EVENTS = 50_000
MAX_BATCH_BYTES = 3 << 20  # an agent takes 4 MiB
PACK_FROM = 500  # Blocks that wait; twice as many are joined where they can be
MAX_PACKED_BYTES = 32_000  # of a joined Block, so that batches can be cut close to their limits
INSTANCE_IDLE = 86_400.0  # seconds; half of an agent's INSTANCE_DAYS

FIRST_RETRY = 0.25  # seconds until the second attempt, at most
MAX_RETRY = 10.0  # seconds between attempts, at most, unless the agent asks for more
MAX_RETRY_AFTER = 60.0  # seconds; what an agent asks for beyond this is not waited for
DRAIN_RETRY = 0.5  # seconds between attempts, at most, once the client stops

_INSTANCE = re.compile(r"[0-9a-f]{32}\Z")
_REFUSED = frozenset((400, 413, 415))  # what an agent says of a batch that it will never take
_NOT_TAKEN = frozenset((401, 503))  # of these, and of 5xx, those that say for sure that the batch was not taken
_NO_SUCH_PLACE = frozenset((404, 405))  # of an agent that does not know protocol 2


class Sender:
    """One life of a client: an instance after the other, numbered batches, retries.

    One engine drives it in one thread; only `flush_soon`, `status` and `drained` are safe in others.
    """

    def __init__(
        self,
        recorder: Recorder,
        client_id: str,
        *,
        jitter: Callable[[], float],
        flush_period: float = DEFAULT_FLUSH_PERIOD,
        max_batch_events: int = MAX_BATCH_EVENTS,
        max_batch_bytes: int = MAX_BATCH_BYTES,
        token: Callable[[], str | None] = lambda: None,
        columns: bool = True,
    ) -> None:
        """`jitter` gives numbers in [0, 1); `flush_period` is in seconds; `token` is asked at every request for the
        token to show, if there is one; `columns` says whether there is a place that protocol 2 can be posted to.
        """
        self._recorder = recorder
        self._client_id = client_id
        self._jitter = jitter
        self._flush_period = flush_period
        self._max_batch_events = max_batch_events
        self._max_batch_bytes = max_batch_bytes
        self._token = token
        self._best = COLUMNS if columns else TEXT
        self.restart()

    def restart(self, on_revival: Callable[[], None] | None = None) -> None:
        """Begin a new life, closed, with nothing recorded, nothing to send and no instance.

        In a forked child, what there was is the parent's to send; the first event that is recorded calls `on_revival`.
        """
        self._recorder.restart(on_revival)
        self._pending: deque[Block] = deque()
        self._packed = 0  # how many Blocks were left when they were joined last
        self._batch: Batch | None = None
        self._instance: str | None = None
        self._number = 0  # the last one that was used in the instance
        self._heard = 0.0  # when the last acknowledged request was sent
        self._attempt = 0
        self._in_flight: int | None = None
        self._sent_at = 0.0
        self._flush_at = self._retry_at = float("-inf")
        self._failures = 0  # since the last acknowledgement
        self._protocol = self._best
        self._unreachable = self._report_due = self._draining = self._flushed = False
        self._sent = self._acknowledged = self._rejected = self._refused = self._unknown = 0
        self._batches = self._attempts_failed = 0
        self._last_error: str | None = None
        self._since: float | None = None
        self._reachable: bool | None = None
        self._reachable_since: float | None = None

    # -- what to do next -------------------------------------------------------------------------------------------

    def open(self, on_pressure: Callable[[], None]) -> None:
        """Start to record. `on_pressure` is called, in any thread, when the engine should come before the flush period
        is over; it must return at once."""
        self._since = self._recorder.wall()
        self._recorder.open(on_pressure)

    def next_action(self, now: float) -> Post | Wait:
        """What to do at `now`. A Post whose outcome was not told is given up: an answer that still comes is ignored."""
        self._give_up()
        if now >= self._flush_at:
            self._flush(now)
        if self._batch is None:
            self._batch = self._cut()
        if self._batch is None:
            return Wait(max(0.0, self._flush_at - now))
        if now < self._retry_at:
            return Wait(max(0.0, min(self._retry_at, self._flush_at) - now))
        return self._post(self._batch, now)

    def flush_soon(self) -> None:
        """Take what is recorded at the next `next_action`, and do not wait for the flush period."""
        self._flush_at = float("-inf")

    def drain(self) -> None:
        """Record nothing more; send what there is as fast as it goes. `drained` tells when that is done."""
        self._recorder.close()
        self._draining = True
        self._flushed = False
        self._retry_at = float("-inf")
        self.flush_soon()

    @property
    def drained(self) -> bool:
        """Whether, after `drain`, every event is acknowledged, or counted as refused, unknown or dropped."""
        return self._draining and self._flushed and self._batch is None and not self._pending and not self._report_due

    def _flush(self, now: float) -> None:
        self._flush_at = now + self._flush_period  # first, so that a `flush_soon` meanwhile stands
        alone = not self._pending
        self._pending += self._recorder.collect()
        if not alone and len(self._pending) >= 2 * max(self._packed, PACK_FROM):
            self._pack()
        self._report_due = self._recorder.drops.untold
        self._flushed = self._draining

    def _pack(self) -> None:
        """While the agent is away, every flush leaves a Block of every tab. Joined, the same events take less room."""
        blocks = list(self._pending)
        packed = join_blocks(blocks, MAX_PACKED_BYTES)
        self._pending = deque(packed)  # in one step: other threads look at it
        self._packed = len(packed)
        self._recorder.release(room_of(blocks) - room_of(packed))

    def _cut(self) -> Batch | None:
        """The next batch: the oldest Blocks, within the limits. An empty one where there are only drops to tell of."""
        if not self._pending:
            self._packed = 0
            if not self._report_due:
                return None
        blocks: list[Block] = []
        events = size = 0
        for block in self._pending:
            events += block.events
            size += block.longest + len(block.tab) + 2
            if blocks and (events > self._max_batch_events or size > self._max_batch_bytes):
                break
            blocks.append(block)
        for _ in blocks:
            self._pending.popleft()
        self._report_due = False
        return Batch(blocks, self._recorder.drops.take_untold())

    def _post(self, batch: Batch, now: float) -> Post:
        self._forget_idle_instance(batch, now)
        self._attempt += 1
        self._in_flight = self._attempt
        self._sent_at = now
        token = self._token()
        shown = {} if token is None else {"Authorization": f"Bearer {token}"}
        if self._instance is None:
            headers, body = self._opening()
            return Post(self._attempt, {**headers, **shown}, body, self._protocol)
        self._give_number(batch, self._instance)
        return Post(self._attempt, {**batch.headers(), **shown}, batch.body, batch.protocol)

    def _opening(self) -> tuple[dict[str, str], bytes]:
        """Headers and body that ask for an instance."""
        return opening(self._client_id, self._protocol)

    def _give_number(self, batch: Batch, instance: str) -> None:
        """Give a batch the number that it keeps, and its bytes."""
        if batch.number is None:
            self._number += 1
            self._sent += batch.events
            room = room_of(batch.blocks)
            batch.encode(self._client_id, instance, self._number, self._protocol)
            self._recorder.release(room - len(batch.body))

    def _forget_idle_instance(self, batch: Batch, now: float) -> None:
        """Leave an instance that the agent may soon forget, if the batch was never sent under it."""
        if batch.number is None and now - self._heard > INSTANCE_IDLE:
            self._instance = None

    # -- what came of it -------------------------------------------------------------------------------------------

    def answered(self, post: Post, answer: Answer, now: float) -> None:
        """`post` was answered, whatever the status."""
        batch = self._batch
        if post.attempt != self._in_flight or batch is None:
            return
        self._in_flight = None
        if post.protocol == COLUMNS and answer.status in _NO_SUCH_PLACE:
            self._fall_back(batch)
            return
        if is_page(answer):
            batch.uncertain = batch.uncertain or self._instance is not None
            self._fail(describe(answer), now, whole_number(answer, "retry-after"))
            return
        if self._instance is None:
            self._opened(answer, now)
        elif answer.status == 200:
            self._acknowledge(batch, answer)
        elif answer.status == 409:
            self._instance_unknown(batch, now)
        elif answer.status in _REFUSED:
            self._refuse(batch, answer)
        else:
            batch.uncertain = batch.uncertain or answer.status not in _NOT_TAKEN
            self._fail(describe(answer), now, whole_number(answer, "retry-after"))

    def failed(self, post: Post, reason: str, now: float) -> None:
        """`post` was not answered; whether the agent has it is not known. `reason` is for people."""
        if post.attempt == self._in_flight:
            self._give_up()
            self._fail(reason, now)

    def _give_up(self) -> None:
        if self._in_flight is not None and self._batch is not None and self._instance is not None:
            self._batch.uncertain = True
        self._in_flight = None

    def _fall_back(self, batch: Batch) -> None:
        """The agent does not know protocol 2, and has taken nothing of this attempt: say the same in protocol 1."""
        self._protocol = TEXT
        before = len(batch.body)
        batch.fall_back()
        self._recorder.release(before - len(batch.body))

    def _opened(self, answer: Answer, now: float) -> None:
        instance = answer.headers.get("taba-instance", "")
        if answer.status == 200 and _INSTANCE.match(instance):
            self._instance, self._number = instance, 0
            self._heard = self._sent_at
            self._reached(True)
        elif answer.status == 200:
            self._fail("the answer names no instance: is this a Taba agent of version 1.0 or later?", now)
        else:
            self._fail(describe(answer), now, whole_number(answer, "retry-after"))

    def _acknowledge(self, batch: Batch, answer: Answer) -> None:
        self._heard = self._sent_at
        self._acknowledged += batch.events
        rejected = whole_number(answer, "taba-rejected")
        if rejected:
            self._rejected += rejected
            self._notice("rejected", f"the agent refused {rejected} events of a batch: {describe(answer)}")
        self._reached(True)
        if self._unreachable:
            self._unreachable = False
            self._recorder.drops.forget("unreachable")
            self._notice("recovered", "the agent answers again")
        self._failures = 0
        self._batches += 1
        self._done(batch)

    def _instance_unknown(self, batch: Batch, now: float) -> None:
        """409: open a new instance. A second 409 in a row (several agents behind one address?) makes it wait."""
        self._instance = None
        self._reached(True)
        self._last_error = "409: the agent does not know the instance"
        if batch.events:
            self._notice("unknown", "the agent does not know this client's instance: events in flight are unknown")
        if self._failures:
            self._back_off(now)
        self._failures += 1
        self._count_unknown(batch)

    def _count_unknown(self, batch: Batch) -> None:
        """The agent may have taken the batch, or not: never send it again."""
        self._unknown += batch.events
        self._count(batch, UNKNOWN)
        self._report_due = self._draining  # there is no later flush that would see to it
        self._done(batch)

    def _count(self, batch: Batch, reason: str) -> None:
        """Count the events of a batch that is not acknowledged, and tell again what it tells."""
        drops = self._recorder.drops
        for tab, events in batch.tabs():
            drops.count(tab, reason, events)
        drops.tell_again(batch.unsent)

    def _refuse(self, batch: Batch, answer: Answer) -> None:
        self._reached(True)
        self._last_error = describe(answer)
        text = f"the agent refused a batch of {batch.events} events: {describe(answer)}"
        self._notice(("refused", answer.status), text)
        if batch.uncertain:
            self._count_unknown(batch)
        else:
            self._refused += batch.events
            self._count(batch, REFUSED)
            self._done(batch)

    def _done(self, batch: Batch) -> None:
        self._batch = None
        self._recorder.release(len(batch.body))

    def _fail(self, reason: str, now: float, retry_after: float = 0.0) -> None:
        """Try the same again, later."""
        self._last_error = reason
        self._attempts_failed += 1
        self._unreachable = True
        self._reached(False)
        self._protocol = self._best  # another agent may come in its place
        self._recorder.drops.forget("recovered")
        self._notice("unreachable", f"cannot send, will go on trying: {reason}")
        self._back_off(now, retry_after)
        self._failures += 1

    def _reached(self, reachable: bool) -> None:
        if reachable is not self._reachable:
            self._reachable, self._reachable_since = reachable, self._recorder.wall()

    def _back_off(self, now: float, retry_after: float = 0.0) -> None:
        delay = min(MAX_RETRY, FIRST_RETRY * 2.0 ** min(self._failures, 16)) * (1.0 + self._jitter()) / 2.0
        delay = max(delay, min(retry_after, MAX_RETRY_AFTER) * (1.0 + self._jitter() / 4.0))
        self._retry_at = now + (min(delay, DRAIN_RETRY) if self._draining else delay)

    def _notice(self, subject: object, text: str) -> None:
        self._recorder.drops.notice(subject, text)

    # -- for people ------------------------------------------------------------------------------------------------

    def take_notices(self) -> list[str]:
        """What is to be logged, each text once; the engine does it, outside of the application's calls."""
        return self._recorder.drops.take_notices()

    def buffered_events(self) -> int:
        """How many events are recorded and not acknowledged."""
        batch = self._batch
        pending = sum(block.events for block in self._pending.copy())
        return self._recorder.buffered() + pending + (batch.events if batch is not None else 0)

    def status(self) -> dict[str, Any]:
        """The account of this life of the client, for `GetStatus`."""
        batch, recorder = self._batch, self._recorder
        dropped = {reason: recorder.drops.total(reason) for reason in REASONS}
        return {
            "since": self._since,
            "buffered_events": self.buffered_events(),
            "buffered_bytes": recorder.used_bytes(),
            "in_flight_events": batch.events if batch is not None and batch.number is not None else 0,
            "sent": self._sent,
            "acknowledged": self._acknowledged,
            "rejected": self._rejected,
            "refused": self._refused,
            "unknown": self._unknown,
            "full": dropped[FULL],
            "not_running": recorder.not_running,
            "dropped": {reason: events for reason, events in dropped.items() if events},
            "dropped_by_tab": recorder.drops.by_tab(),
            "batches": self._batches,
            "failed_attempts": self._attempts_failed,
            "last_error": self._last_error,
            "agent_reachable": self._reachable,
            "agent_since": self._reachable_since,
            "protocol": self._protocol,
            "instance": self._instance,
            "number": self._number,
        }
