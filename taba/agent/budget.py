"""How the memory that an agent may take is shared out. Pure.

An idle agent takes PROCESS_BYTES. Of what is left each part has a share and its own way to keep to it: intake refuses
with 503, bodies that wait are read from the spool again, lanes with much that is not sealed yet are sealed. What no
part has is for requests on their way to servers, for what is handed from one part to the next, and for what allocators
lose; tests/benchmarks/overload.py shows what the whole process really takes.
"""

from __future__ import annotations

from attrs import frozen

PROCESS_BYTES = 72 << 20
"""What the process takes with nothing to do: Python, Twisted, OpenSSL."""
LEAST_BYTES = 96 << 20
"""With less an agent is of no use."""
INTAKE, BODIES, WAITING = 0.35, 0.12, 0.12
"""Shares of the rest."""


@frozen
class AgentBudget:
    """The parts, in bytes."""

    intake: int
    """Events of requests that are coming in, and of commits that are not durable yet."""
    bodies: int
    """Bodies of sealed batches that were not sent yet; others are read from the spool."""
    waiting: int
    """Sections that wait for their seal."""

    @classmethod
    def of(cls, memory: int) -> AgentBudget:
        """The parts of `memory` bytes; of less than LEAST_BYTES, those of so many."""
        room = max(memory, LEAST_BYTES) - PROCESS_BYTES
        return cls(*(int(room * share) for share in (INTAKE, BODIES, WAITING)))


def memory_inside(room: int) -> int:
    """The `memory` of an agent in another's process, which has `room` bytes beside that process's own."""
    return max(LEAST_BYTES, PROCESS_BYTES + room)
