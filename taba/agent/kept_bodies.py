"""The bodies of sealed batches that were not sent yet, kept in memory up to a size; others are in the spool. Pure."""

from __future__ import annotations

from attrs import define, field

from taba.agent.records import LaneKey


@define(eq=False)
class KeptBodies:
    """Bodies by (lane, number), of `most` bytes together at most: what comes beyond that is not kept."""

    most: int
    size: int = field(default=0, init=False)
    _bodies: dict[tuple[LaneKey, int], bytes] = field(factory=dict, init=False)

    def put(self, key: LaneKey, seq: int, body: bytes) -> None:
        """Keep a body, if there is room."""
        if self.size + len(body) <= self.most:
            self._bodies[key, seq] = body
            self.size += len(body)

    def take(self, key: LaneKey, seq: int) -> bytes | None:
        """A body, which is not kept any longer; None when it is not here."""
        body = self._bodies.pop((key, seq), None)
        if body is not None:
            self.size -= len(body)
        return body
