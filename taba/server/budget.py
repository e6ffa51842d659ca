"""How the memory that a server may take is shared out. Pure.

An idle server takes PROCESS_BYTES. Of what is left each part has a share and its own way to keep to it: agents'
requests beyond theirs are refused with 503, be reads no further while too much waits for a checkpoint, States that
were not used for long leave, and the agent inside has a budget of its own. What no part has is for queries,
checkpoints on their way to the store, and what allocators lose; tests/benchmarks/overload.py shows what the whole
process really takes.
"""

from __future__ import annotations

from attrs import frozen

PROCESS_BYTES = 80 << 20
"""What the process takes with nothing to do: Python, Twisted, OpenSSL, SQLite."""
STATES, PENDING, BODIES, AGENT = 0.33, 0.12, 0.12, 0.20
"""Shares of the rest."""


@frozen
class ServerBudget:
    """The parts, in bytes."""

    states: int
    """States and running Aggregates that be keeps."""
    pending: int
    """What be has taken from the logs and not written yet."""
    bodies: int
    """Requests of agents, from their first byte to their answer."""
    agent: int
    """The agent inside."""

    @classmethod
    def of(cls, memory: int, states: int | None = None) -> ServerBudget:
        """The parts of `memory` bytes, at least half more than PROCESS_BYTES; `states` may be given apart."""
        room = max(memory, PROCESS_BYTES * 3 // 2) - PROCESS_BYTES
        shares = [int(room * share) for share in (STATES, PENDING, BODIES, AGENT)]
        return cls(shares[0] if states is None else states, *shares[1:])
