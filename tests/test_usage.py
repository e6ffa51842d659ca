"""What a process says that it uses is what it uses."""

from __future__ import annotations

import os
import time

from twisted.trial.unittest import SynchronousTestCase

from taba.metrics import Exposition
from taba.usage import Usage, expose, usage_of_this_process
from tests.test_metrics import read

MIB = 1 << 20


class UsageTests(SynchronousTestCase):
    """This very process, on Linux."""

    def test_cpu_and_files(self) -> None:
        """Work takes CPU, and an open file is counted."""
        before = usage_of_this_process()
        while time.process_time() < before.cpu_seconds + 0.02:
            pass
        with open(os.devnull, "rb"):
            now = usage_of_this_process()
        assert now.open_fds is not None
        assert before.open_fds is not None
        self.assertGreaterEqual(now.cpu_seconds, before.cpu_seconds + 0.01)
        self.assertEqual(now.open_fds, before.open_fds + 1)

    def test_memory_and_start(self) -> None:
        """Memory is in bytes, and the start in seconds since 1970, before now."""
        usage = usage_of_this_process()
        assert usage.resident_bytes is not None
        assert usage.virtual_bytes is not None
        assert usage.started is not None
        self.assertGreater(usage.resident_bytes, 5 * MIB)
        self.assertGreaterEqual(usage.virtual_bytes, usage.resident_bytes)
        self.assertLess(abs(time.time() - usage.started), 30 * 86_400)
        self.assertLessEqual(usage.started, time.time() + 1.0)

    def test_what_is_not_known(self) -> None:
        """What the system does not tell is left out; versions are always there."""
        into = Exposition()
        expose(into, Usage(2.5))
        found = read(into.text())
        self.assertEqual(found["process_cpu_seconds_total"], {(): 2.5})
        self.assertNotIn("process_open_fds", found)
        self.assertEqual(list(found["taba_build_info"].values()), [1])
        self.assertEqual(list(found["python_info"].values()), [1])
