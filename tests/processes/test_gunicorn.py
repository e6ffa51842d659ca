"""gunicorn with sync and with gevent workers, the application loaded before the fork and after it; workers are killed
and come again.

REAL: gunicorn, its workers, loopback sockets and real time.

Each request of a test records one event with a number of its own, so that every one of them can be asked for. The
application answers with what its client's agent has acknowledged before, so that the test knows which events must be
counted whatever becomes of the worker.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
from collections import Counter
from http.client import HTTPConnection, HTTPException
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from taba.testing import FakeAgent
from tests.processes.surroundings import PATIENCE, environment, free_port, until

WORKERS = 2

APPLICATION = """
import json, os
from urllib.parse import parse_qs
from taba import client

client.initialize("shop", os.environ["AGENT"], 0.02, os.environ["ENGINE"])
client.counter("loaded", 1)


def application(environ, start_response):
    for number in parse_qs(environ["QUERY_STRING"]).get("n", []):
        client.counter("requests", int(number))
    status = client.get_status()
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps({"pid": os.getpid(), **status}).encode()]
"""


class Gunicorn:
    """A master and its workers."""

    def __init__(self, folder: Path, agent: str, worker: str, engine: str, preload: bool) -> None:
        (folder / "shop.py").write_text(textwrap.dedent(APPLICATION))
        self.port = free_port()
        arguments = ["-k", worker, "-w", str(WORKERS), "-b", f"127.0.0.1:{self.port}", "--graceful-timeout", "10"]
        if preload:
            arguments.append("--preload")
        self.log = folder / "log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "gunicorn", *arguments, "shop:application"],
                cwd=folder, env={**environment(), "AGENT": agent, "ENGINE": engine}, stdout=log, stderr=log,
            )  # fmt: skip
        until(self.answers, PATIENCE, self.log.read_text)

    def answers(self) -> bool:
        """Whether it serves. AssertionError when it has ended."""
        assert self.process.poll() is None, self.log.read_text()
        return self.get("") is not None

    def get(self, query: str) -> dict[str, Any] | None:
        """The answer to a request, over a connection of its own; None where there is none."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request("GET", f"/?{query}")
            found: dict[str, Any] = json.loads(connection.getresponse().read())
            return found
        except (OSError, HTTPException, ValueError):
            return None
        finally:
            connection.close()

    def all_workers(self) -> set[int]:
        """The pids of all workers, once each of them has answered."""
        seen: set[int] = set()

        def look() -> bool:
            answer = self.get("")
            if answer is not None:
                seen.add(answer["pid"])
            return len(seen) >= WORKERS

        until(look, PATIENCE, self.log.read_text)
        return seen

    def stop(self) -> None:
        """End it in good order."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


class Asking:
    """Requests with numbers, and what is known of those that were answered."""

    def __init__(self, server: Gunicorn, others: int) -> None:
        """`others` is how many events each worker records before its first request."""
        self._server = server
        self._others = others
        self._next = 0
        self._last = 0
        self.answered: dict[int, list[int]] = {}
        """Worker -> the numbers that it answered, in order."""
        self._acknowledged: dict[int, int] = {}

    def more(self, count: int) -> None:
        """So many more requests. One that a worker took with it into its end is not known to be answered."""
        for number in range(self._next, self._next + count):
            answer = self._server.get(f"n={number}")
            if answer is not None:
                self._last = answer["pid"]
                self.answered.setdefault(self._last, []).append(number)
                self._acknowledged[self._last] = answer["acknowledged"]
        self._next += count

    def one_more(self) -> bool:
        """One more; True."""
        self.more(1)
        return True

    def pid_of_last(self) -> int:
        """The worker that answered last."""
        return self._last

    def acknowledged(self, pid: int) -> set[int]:
        """The numbers of a worker that an agent had acknowledged when it answered last: the oldest ones."""
        return set(self.answered[pid][: max(0, self._acknowledged[pid] - self._others)])


class GunicornTests(SynchronousTestCase):
    """Every event that is acknowledged to a worker is counted once."""

    if find_spec("gunicorn") is None:
        skip = "gunicorn is not installed (pip install 'taba[test]')"

    def check(self, worker: str, engine: str, preload: bool) -> None:
        """Requests; a worker killed in their midst; a crash of the agent; a reload in good order; the end."""
        agent = FakeAgent().start()
        self.addCleanup(agent.stop)
        with tempfile.TemporaryDirectory() as folder:
            server = Gunicorn(Path(folder), agent.url, worker, engine, preload)
            self.addCleanup(server.stop)
            before = server.all_workers()
            ask = Asking(server, 0 if preload else 1)
            ask.more(60)
            victim = ask.pid_of_last()
            until(lambda: ask.one_more() and ask.acknowledged(victim), PATIENCE, server.log.read_text)
            ask.more(20)
            os.kill(victim, signal.SIGKILL)
            ask.more(40)
            until(lambda: victim not in server.all_workers(), PATIENCE, server.log.read_text)
            agent.stop()
            ask.more(20)
            agent.hang_up(times=1)
            agent.start()
            ask.more(40)
            server.process.send_signal(signal.SIGHUP)
            until(lambda: not before & server.all_workers(), PATIENCE, server.log.read_text)
            ask.more(40)
            server.stop()
            self.assertEqual(server.process.returncode, 0, server.log.read_text())
        counted = Counter(agent.values("requests"))
        self.assertEqual([number for number, times in counted.items() if times > 1], [])
        for pid, numbers in ask.answered.items():
            due = ask.acknowledged(pid) if pid == victim else set(numbers)
            self.assertEqual(due - set(counted), set(), f"worker {pid}, killed outright: {pid == victim}")
        self.assertGreaterEqual(len(ask.answered), 2 * WORKERS)
        self.assertEqual((agent.refused, agent.unsent), ([], {}))

    def test_sync(self) -> None:
        """Sync workers, each of which loads the application."""
        self.check("sync", "thread", preload=False)

    def test_sync_preloaded(self) -> None:
        """Sync workers, forked after the application was loaded."""
        self.check("sync", "thread", preload=True)

    def test_gevent(self) -> None:
        """gevent workers, each of which loads the application."""
        self.check("gevent", "gevent", preload=False)

    def test_gevent_preloaded(self) -> None:
        """gevent workers, forked after the application was loaded."""
        self.check("gevent", "gevent", preload=True)

    def test_gevent_with_threads(self) -> None:
        """gevent workers with the default engine, whose thread is a greenlet there."""
        self.check("gevent", "thread", preload=False)

    if find_spec("gevent") is None:
        for _case in (test_gevent, test_gevent_preloaded, test_gevent_with_threads):
            _case.skip = "gevent is not installed (pip install 'taba[test]')"  # type: ignore[attr-defined]
