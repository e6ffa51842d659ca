"""Senders with one of their rules switched off: see `test_exactly_once`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from taba.client.cutting import room_of
from taba.client.encoding import encode_body, encode_frame
from taba.client.exchange import opening
from taba.client.recorder import Recorder
from taba.client.sender import Answer, Batch, Sender
from tests.client.model_agent import ModelAgent


class _KeepsBlocks(Sender):
    """A Sender that could encode a batch again."""

    def _cut(self) -> Batch | None:
        batch = super()._cut()
        if batch is not None:
            self._kept = list(batch.blocks)
        return batch


class SentIsSentAgain(_KeepsBlocks):
    """Without sent_is_unknown: after a 409 the batch goes under the new instance."""

    def _count_unknown(self, batch: Batch) -> None:
        batch.number, batch.blocks = None, self._kept
        self._recorder.release(len(batch.body))
        self._recorder.release(-room_of(self._kept))


class TextUnderANewNumber(_KeepsBlocks):
    """Without two_protocols_one_number: an agent that does not know protocol 2 gets the batch as another one."""

    def _fall_back(self, batch: Batch) -> None:
        if batch.number is not None:
            self._recorder.release(len(batch.body) - room_of(self._kept))
            batch.number, batch.blocks = None, self._kept
        super()._fall_back(batch)


class NumberForMoreEvents(_KeepsBlocks):
    """Without numbers_not_reused: a repeated batch takes along what was recorded meanwhile, under its old number."""

    def _give_number(self, batch: Batch, instance: str) -> None:
        if batch.number is not None:
            more = self._recorder.collect()
            self._kept += more
            batch.events += sum(block.events for block in more)
            frame = encode_frame("client", instance, batch.number, self._kept)
            batch.body = frame if batch.protocol == 2 else encode_body(frame)
        super()._give_number(batch, instance)


class NamesItsInstance(Sender):
    """Without agent_names_instance: the client draws the name."""

    def __init__(self, recorder: Recorder, client_id: str, **settings: Any) -> None:
        super().__init__(recorder, client_id, columns=False, **settings)

    def _opening(self) -> tuple[dict[str, str], bytes]:
        return {"Taba-Batch": "c" * 32 + "/0"}, opening(self._client_id, 1)[1]


class AgentOfNamedInstances(ModelAgent):
    """What an agent would have to do for such clients."""

    def answer(self, protocol: int, headers: dict[str, str], body: bytes) -> Answer:
        instance, _, number = headers["Taba-Batch"].partition("/")
        if number == "0":
            self.numbers.setdefault(instance, 0)
            return Answer(200, {"taba-instance": instance}, "")
        return super().answer(protocol, headers, body)


class ForkKeepsAll(Sender):
    """Without fork_starts_empty: the child goes on with the memory of its parent."""

    def restart(self, on_revival: Callable[[], None] | None = None) -> None:
        if not hasattr(self, "_pending"):
            super().restart(on_revival)


class RefusedIsRefused(Sender):
    """Without "refused after an unanswered attempt is unknown"."""

    def _give_up(self) -> None:
        self._in_flight = None


class StaysIdle(Sender):
    """Without leaving an idle instance in time."""

    def _forget_idle_instance(self, batch: Batch, now: float) -> None:
        """Never."""
