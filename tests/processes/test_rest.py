"""What servers do when nobody does anything with them: they record a little of themselves, and rest.

REAL: the server processes of test_first_start, which have run for a while when this module's turn comes after it.
"""

from __future__ import annotations

import socket
import time

from twisted.trial.unittest import SynchronousTestCase

from tests.processes import test_first_start
from tests.processes.asking import counters
from tests.processes.surroundings import PATIENCE, until

OWN_TABS = """
    taba_events_recieved taba_latency_enqueue_sec taba_latency_task_in_queue_ms taba_latency_task_processed_ms
    taba_post_zip_time_ms task_process_time_time
"""
REST_SECONDS = 10.0
"""How long a server at rest is watched."""
MOST_CPU_AT_REST = 0.02
"""Of a core; it takes less than a half of that. The exact figure is a benchmark's affair."""
MOST_MEMORY_AT_REST = 80 << 20
"""Bytes."""


class RestTests(SynchronousTestCase):
    """A server that was used a little, and one that was not used at all."""

    shared = test_first_start.FirstStartTests.shared

    def setUp(self) -> None:
        self.started = self.shared.get()
        self.server = self.started.used

    def test_own_tabs(self) -> None:
        """Some seconds after a first event, the server's own tabs are there under its own client's name."""
        self.assertEqual(self.server.post(counters("client", "used", [1])).status, 200)
        names: set[str] = set()

        def recorded() -> bool:
            names.update(self.server.ask("/names").text.split())
            return names >= set(OWN_TABS.split())

        until(recorded, PATIENCE, lambda: f"own tabs: {sorted(set(OWN_TABS.split()) - names)} are missing")
        host = socket.gethostname().split(".")[0]
        self.assertIn(f"taba_server.{host}", self.server.ask("/clients").text.split())

    def test_takes_next_to_nothing_at_rest(self) -> None:
        """A server that nobody uses takes less than a fiftieth of a core and less than 80 MiB."""
        server, since = self.started.resting, self.started.rests_since
        until(lambda: time.monotonic() - since >= REST_SECONDS, PATIENCE, "time passes")
        seconds = time.monotonic() - since
        load, memory = (server.cpu_seconds() - self.started.cpu_before) / seconds, server.memory()
        print(f"at rest for {seconds:.0f} s: {load:.2%} of a core, {memory / (1 << 20):.0f} MiB")
        self.assertLess(load, MOST_CPU_AT_REST)
        self.assertLess(memory, MOST_MEMORY_AT_REST)
