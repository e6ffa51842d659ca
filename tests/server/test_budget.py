"""SERVER_MEMORY_BYTES, shared out."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from taba.server.budget import PROCESS_BYTES, ServerBudget


class ServerBudgetTests(SynchronousTestCase):
    """The parts of a server's memory."""

    @given(st.integers(160 << 20, 1 << 40))
    def test_parts_fit(self, memory: int) -> None:
        """The parts and the process itself leave something of the whole for queries and checkpoints."""
        parts = ServerBudget.of(memory)
        together = PROCESS_BYTES + parts.states + parts.pending + parts.bodies + parts.agent
        self.assertLess(together, memory * 0.95)
        self.assertGreater(min(parts.states, parts.pending, parts.bodies, parts.agent), 4 << 20)

    def test_states_given_apart(self) -> None:
        """STATE_CACHE_BYTES counts as it is given, and changes nothing of the others."""
        given_apart, usual = ServerBudget.of(512 << 20, 3 << 30), ServerBudget.of(512 << 20)
        self.assertEqual(given_apart.states, 3 << 30)
        self.assertEqual((given_apart.pending, given_apart.bodies), (usual.pending, usual.bodies))
