"""The thread engine against a real socket of this machine, with real threads, forks and processes.

REAL: this module uses loopback sockets and subprocesses. It waits for events, never for time.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import taba
from taba.client import Client
from taba.client.cutting import TAB_BYTES
from taba.client.engines.posting import Poster, PostFailed
from taba.client.engines.thread import ThreadEngine
from taba.client.names import parse_url
from taba.client.recorder import Recorder
from taba.client.sender import Answer, Post, Sender, Wait
from tests.client.engines_contract import EngineContract
from tests.client.loopback import PATIENCE, LoopbackAgent, LoopbackCase

PERIOD = 0.02  # seconds between flushes


class ThreadContractTests(EngineContract, SynchronousTestCase):
    """What every engine keeps."""

    engine = "thread"


class EngineCase(LoopbackCase):
    def start(self, flush_period: float = PERIOD, timeout: float = PATIENCE, max_buffer_bytes: int = 1 << 20) -> Client:
        client = Client(max_buffer_bytes=max_buffer_bytes)
        client.initialize("client", self.agent.url, flush_period, partial(ThreadEngine, request_timeout=timeout))
        self.addCleanup(client.stop, 0.0)
        return client


class SendingTests(EngineCase):
    def test_two_clients(self) -> None:
        """Two clients in one process do not mix."""
        one, two = self.start(), self.start()
        one.counter("a", 1)
        two.counter("a", 2)
        self.agent.wait_for_events(2)
        self.assertNotEqual(one.get_status()["instance"], two.get_status()["instance"])


class FaultTests(EngineCase):
    def test_agent_comes_later(self) -> None:
        """A client that starts before its agent keeps what is recorded until the agent is there."""
        port = self.agent.port
        self.agent.stop()
        client = self.start()
        client.counter("a", 1)
        failed = threading.Event()

        class Watch(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                failed.set()

        log = logging.getLogger("taba.client")
        log.setLevel(logging.WARNING)
        watch = Watch()
        log.addHandler(watch)
        self.addCleanup(log.removeHandler, watch)
        self.assertTrue(failed.wait(PATIENCE))
        self.assertIn("ConnectionRefusedError", str(client.get_status()["last_error"]))
        self.agent = LoopbackAgent(port)
        self.agent.wait_for_events(1)

    def test_stop_with_an_agent_that_hangs(self) -> None:
        """An agent that never answers cannot hold up Stop, nor spoil the client's next life."""
        client = self.start()
        client.counter("a", 1)
        self.agent.wait_for_events(1)
        self.agent.hold.clear()
        client.counter("a", 2)
        self.agent.wait_for_events(2)
        (thread,) = [thread for thread in threading.enumerate() if thread.name == "taba-client"]
        self.assertIs(client.stop(0.1), False)
        client.initialize("client", self.agent.url, PERIOD)
        client.counter("a", 3)
        self.agent.hold.set()
        thread.join(PATIENCE)
        self.agent.wait_for_events(3)
        self.assertIs(client.stop(PATIENCE), True)
        self.assertEqual(self.agent.values(), [1, 2, 3])
        self.assertEqual(client.get_status()["buffered_bytes"], TAB_BYTES + 1)

    def test_an_error_does_not_end_the_thread(self) -> None:
        """Should the library itself fail, it logs that and goes on."""

        class Failing(Sender):
            failures = 1

            def next_action(self, now: float) -> Post | Wait:
                if self.failures:
                    self.failures -= 1
                    raise RuntimeError("a defect")
                return super().next_action(now)

        recorder = Recorder(time.time)
        engine = ThreadEngine(Failing(recorder, "client", jitter=lambda: 0.0, flush_period=PERIOD), self.agent.url)
        engine._sleep = lambda seconds: None  # type: ignore[method-assign]
        engine.start()
        self.addCleanup(engine.stop, 0.0)
        recorder.counter("a", 1)
        self.agent.wait_for_events(1)


class PosterTests(EngineCase):
    """Single requests over a kept connection."""

    def setUp(self) -> None:
        super().setUp()
        self.poster = Poster(parse_url(self.agent.url))
        self.addCleanup(self.poster.close)

    def open(self) -> Answer:
        return self.poster.post({"Taba-Batch": "0"}, b"", PATIENCE)

    def test_connection_closed_while_idle(self) -> None:
        """An agent that closed a connection nobody used is asked again at once, over another."""
        self.open()
        for connection in list(self.agent._open):
            connection.close_now()
        self.assertEqual(self.open().status, 200)
        self.assertEqual(self.agent.connections, 2)

    def test_agent_gone(self) -> None:
        """Where nobody listens any more, that is said, on the kept connection and on a new one."""
        self.open()
        self.agent.stop()
        for _ in range(2):
            with self.assertRaises(PostFailed) as caught:
                self.open()
            self.assertIn("refused", str(caught.exception))

    def test_not_http(self) -> None:
        """What does not speak HTTP is a failed attempt like others."""
        self.agent.stop()
        with self.raw_server(b"220 mail.example ESMTP\r\n\r\n"), self.assertRaises(PostFailed) as caught:
            self.open()
        self.assertIn("BadStatusLine", str(caught.exception))

    def test_early_answer(self) -> None:
        """The answer of an agent that refuses a body before it has all of it is heard."""
        self.agent.stop()
        with self.raw_server(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nno!"):
            answer = self.poster.post({"Taba-Batch": "x"}, bytes(8 << 20), PATIENCE)
        self.assertEqual((answer.status, answer.text), (413, "no!"))

    @contextmanager
    def raw_server(self, answer: bytes) -> Iterator[None]:
        """Somebody on the agent's port who reads a little, says `answer` and hangs up."""
        listener = socket.create_server(("127.0.0.1", 0))
        self.poster = Poster(parse_url(f"http://127.0.0.1:{listener.getsockname()[1]}/post"))
        self.addCleanup(self.poster.close)

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(100)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        with listener:
            yield
            thread.join(PATIENCE)


def _in_child(work: Callable[[], None]) -> int:
    """Fork, do `work` in the child, and give the child's exit code."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            signal.alarm(int(PATIENCE))
            work()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


class ForkTests(EngineCase):
    def test_fork_while_a_request_is_out(self) -> None:
        """A fork in the middle of a request confuses neither process, though they share its connection for a moment."""
        client = self.start()
        client.counter("a", 1)
        self.agent.wait_for_events(1)
        self.agent.hold.clear()
        client.counter("a", 2)
        self.agent.wait_for(lambda: len(self.agent.requests) == 3)

        def work() -> None:
            client.counter("a", 3)
            assert client.stop(PATIENCE) is True

        def answer_both() -> None:
            self.agent.wait_for(lambda: len(self.agent.requests) == 4)
            self.agent.hold.set()

        release = threading.Thread(target=answer_both)
        release.start()
        self.assertEqual(_in_child(work), 0)
        release.join()
        client.counter("a", 4)
        client.stop(PATIENCE)
        self.assertEqual(self.agent.values(), [1, 2, 3, 4])

    def test_connection_is_not_shared(self) -> None:
        """A child opens a connection of its own, and leaves its parent's open."""
        poster = Poster(parse_url(self.agent.url))
        self.addCleanup(poster.close)
        opening = {"Taba-Batch": "0"}
        poster.post(opening, b"", PATIENCE)

        def work() -> None:
            poster.forget()
            assert poster.post(opening, b"", PATIENCE).status == 200

        self.assertEqual(_in_child(work), 0)
        self.assertEqual(poster.post(opening, b"", PATIENCE).status, 200)
        self.assertEqual((len(self.agent.requests), self.agent.connections), (3, 2))

    def test_fork_in_many_threads(self) -> None:
        """Forks while other threads record, at any point of it, leave no lock held in the child."""
        client = self.start(max_buffer_bytes=100_000)
        done = threading.Event()

        def record() -> None:
            while not done.wait(0.0001):  # lets the forking thread have its turn
                for _ in range(20):
                    client.counter("a", 0)
                    client.gauge("g", "x")
                    client.counter("bad name")

        threads = [threading.Thread(target=record) for _ in range(2)]
        for thread in threads:
            thread.start()
        try:

            def work() -> None:
                for _ in range(10):
                    client.gauge("child", 1)
                    client.counter("bad name")
                    client.counter("child")
                client.get_status()

            self.assertEqual([_in_child(work) for _ in range(10)], [0] * 10)
        finally:
            done.set()
            for thread in threads:
                thread.join()


class ExitTests(EngineCase):
    def run_script(self, script: str, agent: str | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", textwrap.dedent(script), agent or self.agent.url],
            env={**os.environ, "PYTHONPATH": str(Path(taba.__file__).parent.parent)},
            capture_output=True, text=True, timeout=PATIENCE, check=False,
        )  # fmt: skip

    def test_exit_by_an_exception(self) -> None:
        """So has one that ends by an exception."""
        ended = self.run_script("""
            import sys
            from taba import client
            client.Initialize("script", sys.argv[1], flush_period=3600)
            client.Counter("a", 1)
            raise SystemExit(3)
        """)
        self.assertEqual((ended.returncode, self.agent.values()), (3, [1]))

    def test_exit_of_a_forked_child(self) -> None:
        """Parent and child of a fork each send their own at their ends."""
        ended = self.run_script("""
            import os, sys
            from taba import client
            client.Initialize("script", sys.argv[1], flush_period=3600)
            client.Counter("a", 1)
            child = os.fork()
            client.Counter("a", 2 if child else 3)
            if child:
                os.waitpid(child, 0)
        """)
        self.assertEqual((ended.returncode, ended.stderr), (0, ""))
        self.assertEqual(self.agent.values(), [1, 2, 3])
