"""The embedded store for real: threads, a real reactor, and a process that is killed. The only tests here that wait for
anything.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import Any
from uuid import uuid4

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults, inlineCallbacks
from twisted.trial.unittest import SynchronousTestCase, TestCase

from taba.interfaces import Checkpoint, Position, Written
from taba.real import SingleThread
from taba.store.embedded import EmbeddedStore
from taba.store.folder import open_folder
from tests.contracts.store_harness import V, W, batch, look, selection
from tests.store.harnesses import Surroundings, started

APPEND_UNTIL_KILLED = """
import sys
from taba.store.folder import open_folder
from tests.contracts.store_harness import batch
from tests.store.harnesses import Surroundings, started
store = started(Surroundings().embedded(open_folder(sys.argv[1])))
seq = 0
while True:
    seq += 1
    store.append([batch(seq, vbucket=v) for v in range(8)]).addCallback(lambda _: print(seq, flush=True))
"""


class ThreadTests(TestCase):
    """Two threads and the global reactor."""

    timeout = 300

    @inlineCallbacks
    def test_everything_at_once(self) -> Any:
        """Appends, a waiting reader, checkpoints and queries, all under way together, in threads of their own."""
        store = EmbeddedStore(
            open_folder(self.mktemp()),
            8,
            clock=reactor,
            wall=time.time,
            new_id=lambda: uuid4().hex,
            writer=SingleThread(reactor, "writer"),
            reader=SingleThread(reactor, "reader"),
        )
        self.addCleanup(store.stopService)  # else its threads would keep a failed test's process from ending
        yield store.startService()
        reading = store.read({W: 0}, 1 << 20, 50)
        now = time.time()
        appends = [store.append([batch(seq, sealed=now)]) for seq in range(1, 51)]
        leases = yield store.acquire([V], "be-1", 60.0)
        yield gatherResults(appends)
        states = {("tab", f"c{number:04}"): bytes(100) for number in range(3000)}
        checkpoint = Checkpoint(leases[V], store.cluster.lineage, Position(0, 0), Position(50, 1), states)
        writing = store.checkpoint([checkpoint])
        rows: list[Any] = []
        *_, written = yield gatherResults([store.ledger(), store.tabs(), store.depth(), writing])
        self.assertEqual(written, [Written.DONE])
        yield store.each_state(selection(), lambda page: rows.extend(page))
        self.assertEqual(len(rows), 3000)
        self.assertNoResult(reading)
        yield store.append([batch(1, vbucket=W, sealed=now)])
        entries = yield reading
        self.assertEqual([entry.body for entry in entries], [batch(1).body])
        last: Deferred[Any] = store.append([batch(51, sealed=now)])
        yield store.stopService()
        (outcome,) = self.successResultOf(last)
        self.assertTrue(outcome.appended)


class KillTests(SynchronousTestCase):
    """A process that ends without notice."""

    def test_what_was_answered_outlives_the_process(self) -> None:
        """After kill -9 everything that was acknowledged is in the log, once, and at most one call more."""
        path = os.path.abspath(self.mktemp())
        child = subprocess.Popen(
            [sys.executable, "-c", APPEND_UNTIL_KILLED, path],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        assert child.stdout is not None
        for _ in range(30):
            child.stdout.readline()
        child.kill()
        rest, _ = child.communicate()
        acknowledged = 30 + rest.count(b"\n")
        store = started(Surroundings().embedded(open_folder(path)))
        lasts = {outcome.last for outcome in self.successResultOf(store.append([look(1, vbucket=v) for v in range(8)]))}
        self.assertEqual(len(lasts), 1)
        self.assertIn(lasts.pop(), (acknowledged, acknowledged + 1))
        for vbucket in range(8):
            entries = self.successResultOf(store.read({vbucket: 0}, 1 << 24, 0))
            self.assertEqual([entry.body for entry in entries], [batch(entry.id).body for entry in entries])
            self.assertGreaterEqual(len(entries), acknowledged)
        self.successResultOf(store.stopService())
