"""A checkpoint that fails in its middle, for the mutant that writes it in two parts."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from taba.errors import StoreUnavailable
from taba.interfaces import Written
from taba.store.folder import open_folder
from tests.contracts.store_harness import batch, selection
from tests.store import test_embedded as embedded


class WholeCheckpointTests(embedded.EmbeddedSuite):
    """A real database whose statements fail."""

    def test_states_are_not_written_without_their_position(self) -> None:
        """When the disk fails after the States and before the position, neither is there, and both can be written."""
        faults: dict[str, Callable[[sqlite3.Connection], None]] = {}
        folder = embedded.FaultyFolder(open_folder(self.path), faults)
        store = self.start(folder)  # type: ignore[arg-type]
        self.successResultOf(store.append([batch(1)]))
        checkpoint = self.checkpoint(store, folded=1, states={("tab", "c"): b"1"}, types={"tab": "Gauge"})
        faults["UPDATE vbuckets SET folded"] = embedded.disk_error
        self.failureResultOf(store.checkpoint([checkpoint]), StoreUnavailable)
        faults.clear()
        found: list[object] = []
        self.successResultOf(store.each_state(selection(), found.extend))
        self.assertEqual(found, [])
        self.assertEqual(self.successResultOf(store.checkpoint([checkpoint])), [Written.DONE])
