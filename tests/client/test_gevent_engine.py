"""The gevent engine with the real gevent, with and without monkey-patching, against an agent on a real socket.

REAL: this module uses loopback sockets, forks and subprocesses. It waits for events, never for time, but where a
deadline is what is tested. Each test has a hub, and so a thread, of its own: the one of the main thread would stay, and
take the signals of child processes from the tests after it.
"""

from __future__ import annotations

import os
import signal
import ssl
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable
from functools import partial, wraps
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

import taba
from taba.client import Client
from taba.client.engines.gevent import CooperativePoster, GeventEngine
from taba.client.engines.posting import PostFailed
from taba.client.names import parse_url
from taba.client.recorder import Recorder
from taba.client.sender import Post, Sender, Wait
from tests.certificates import Authority
from tests.client.engines_contract import EngineContract
from tests.client.loopback import PATIENCE, LoopbackCase

PERIOD = 0.02  # seconds between flushes
ABSENT = None if find_spec("gevent") else "gevent is not installed"


def on_a_hub(test: Callable[[Any], None]) -> Callable[[Any], None]:
    """The test in a thread with a hub of its own."""

    @wraps(test)
    def in_thread(case: Any) -> None:
        problems: list[BaseException] = []

        def run() -> None:
            hub = import_module("gevent").get_hub()
            try:
                test(case)
            except BaseException as problem:
                problems.append(problem)
            finally:
                hub.destroy(destroy_loop=True)

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        for problem in problems:
            raise problem

    return in_thread


class GeventContractTests(EngineContract, SynchronousTestCase):
    """What every engine keeps."""

    engine = "gevent"


class EngineCase(LoopbackCase):
    def start(self, flush_period: float = PERIOD, timeout: float = PATIENCE, max_buffer_bytes: int = 1 << 20) -> Client:
        """A client on the hub of this thread."""
        client = Client(max_buffer_bytes=max_buffer_bytes)
        client.initialize("client", self.agent.url, flush_period, partial(GeventEngine, request_timeout=timeout))
        return client

    def beside(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """What a blocking function gives, while the hub runs."""
        return import_module("gevent").get_hub().threadpool.apply(function, arguments)

    def events(self, count: int) -> None:
        """Wait until so many events are counted, while the hub runs."""
        self.beside(self.agent.wait_for_events, count)


class SendingTests(EngineCase):
    skip = ABSENT

    @on_a_hub
    def test_engine_by_name(self) -> None:
        """The engine is asked for by its name."""
        client = Client()
        client.initialize("client", self.agent.url, 3600, "gevent")
        client.counter("a", 1)
        self.assertIs(client.stop(PATIENCE), True)
        self.assertEqual((self.agent.values(), client.get_status()["state"]), ([1], "stopped"))


class FaultTests(EngineCase):
    skip = ABSENT

    @on_a_hub
    def test_stop_with_an_agent_that_hangs(self) -> None:
        """An agent that never answers cannot hold up Stop, nor spoil the client's next life."""
        client = self.start()
        client.counter("a", 1)
        self.events(1)
        self.agent.hold.clear()
        client.counter("a", 2)
        self.events(2)
        self.assertIs(client.stop(0.1), False)
        client.initialize("client", self.agent.url, PERIOD, "gevent")
        client.counter("a", 3)
        self.agent.hold.set()
        self.events(3)
        self.assertIs(client.stop(PATIENCE), True)
        self.assertEqual(self.agent.values(), [1, 2, 3])

    @on_a_hub
    def test_an_error_does_not_end_the_greenlet(self) -> None:
        """Should the library itself fail, it logs that and goes on."""

        class Failing(Sender):
            failures = 1

            def next_action(self, now: float) -> Post | Wait:
                if self.failures:
                    self.failures -= 1
                    raise RuntimeError("a defect")
                return super().next_action(now)

        recorder = Recorder(time.time)
        engine = GeventEngine(Failing(recorder, "client", jitter=lambda: 0.0, flush_period=PERIOD), self.agent.url)
        engine.start()
        recorder.counter("a", 1)
        import_module("gevent").sleep(0)
        engine._wake.set()
        self.events(1)
        self.assertIs(engine.stop(PATIENCE), True)

    @on_a_hub
    def test_tls(self) -> None:
        """With https the agent's certificate is verified by the given authorities, and refused without them."""
        folder = Path(tempfile.mkdtemp())
        authority = Authority("authority")
        ca_file = authority.save(folder)
        certificate, key = authority.issue(folder, "agent", "127.0.0.1", "localhost")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        server = self.agent._server
        server.socket = context.wrap_socket(server.socket, server_side=True)
        url = parse_url(f"https://localhost:{self.agent.port}/post")
        poster = CooperativePoster(url, str(ca_file))
        for _ in range(2):
            self.assertEqual(poster.post({"Taba-Batch": "0"}, b"", PATIENCE).status, 200)
        poster.close()
        with self.assertRaises(PostFailed) as caught:
            CooperativePoster(url).post({"Taba-Batch": "0"}, b"", PATIENCE)
        self.assertIn("CERTIFICATE_VERIFY_FAILED", str(caught.exception))


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
    skip = ABSENT

    @on_a_hub
    def test_fork_starts_empty(self) -> None:
        """What the parent had not sent at a fork is sent by the parent alone, over its connection; the child has an
        instance and a connection of its own.
        """
        client = self.start()
        client.counter("a", 1)
        self.events(1)
        client.counter("a", 2)

        def work() -> None:
            assert client.get_status()["buffered_events"] == 0
            client.counter("a", 3)
            import_module("gevent").sleep(3 * PERIOD)  # the parent's greenlet would be due, too
            assert client.stop(PATIENCE) is True

        self.assertEqual(_in_child(work), 0)
        client.counter("a", 4)
        self.events(4)
        self.assertIs(client.stop(PATIENCE), True)
        self.assertEqual(self.agent.values(), [1, 2, 3, 4])
        self.assertEqual((len(self.agent.agent.numbers), self.agent.connections), (2, 2))

    @on_a_hub
    def test_fork_in_the_middle_of_a_request(self) -> None:
        """A fork while a request is out confuses neither process; a child that recorded nothing just stops."""
        client = self.start()
        client.counter("a", 1)
        self.events(1)
        self.agent.hold.clear()
        client.counter("a", 2)
        self.events(2)

        def silent() -> None:
            assert client.stop(PATIENCE) is True

        def work() -> None:
            client.counter("a", 3)
            import_module("gevent").sleep(PERIOD)
            assert client.stop(PATIENCE) is True

        self.assertEqual(_in_child(silent), 0)

        def answer_both() -> None:
            self.agent.wait_for(lambda: len(self.agent.requests) == 4)
            self.agent.hold.set()

        release = threading.Thread(target=answer_both)
        release.start()
        self.assertEqual(_in_child(work), 0)
        release.join()
        client.counter("a", 4)
        self.events(4)
        client.stop(PATIENCE)
        self.assertEqual((self.agent.values(), self.agent.connections), ([1, 2, 3, 4], 2))


class ProcessTests(EngineCase):
    """Whole processes, most of them monkey-patched."""

    skip = ABSENT

    def run_script(self, script: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", textwrap.dedent(script), self.agent.url],
            env={**os.environ, "PYTHONPATH": str(Path(taba.__file__).parent.parent)},
            capture_output=True, text=True, timeout=PATIENCE, check=False,
        )  # fmt: skip

    def numbers(self) -> list[Any]:
        return sorted(event.payload for event in self.agent.agent.events)

    def test_patched_before(self) -> None:
        """A process patched before everything else sends under load, from greenlets and from what were threads."""
        ended = self.run_script("""
            from gevent import monkey; monkey.patch_all()
            import sys, threading, time
            import gevent
            from taba import client

            def record(start):
                for i in range(start, start + 2500):
                    client.counter("a", i)
                    if i % 100 == 0:
                        time.sleep(0)

            client.initialize("script", sys.argv[1], 0.01, "gevent")
            threads = [threading.Thread(target=record, args=(i * 2500,)) for i in range(2)]
            for thread in threads:
                thread.start()
            gevent.joinall([gevent.spawn(record, i * 2500) for i in (2, 3)])
            for thread in threads:
                thread.join()
            while client.get_status()["acknowledged"] < 10_000:
                time.sleep(0.01)
        """)
        self.assertEqual((ended.returncode, ended.stderr), (0, ""))
        self.assertEqual(self.numbers(), list(range(10_000)))

    def test_patched_after(self) -> None:
        """So does one that imported the client, locks and all, before it was patched, and it flushes at exit."""
        ended = self.run_script("""
            import sys
            from taba import client
            from gevent import monkey; monkey.patch_all()
            client.initialize("script", sys.argv[1], 3600, "gevent")
            for i in range(5000):
                client.counter("a", i)
        """)
        self.assertEqual((ended.returncode, self.numbers()), (0, list(range(5000))), ended.stderr)

    def test_thread_engine_patched(self) -> None:
        """The default engine, too, runs where everything is patched."""
        ended = self.run_script("""
            from gevent import monkey; monkey.patch_all()
            import sys
            from taba import client
            client.initialize("script", sys.argv[1], 3600)
            for i in range(5000):
                client.counter("a", i)
        """)
        self.assertEqual((ended.returncode, self.numbers()), (0, list(range(5000))), ended.stderr)

    def test_workers_forked_after_loading(self) -> None:
        """Workers that a parent without gevent forks after it loaded the application each send their own, as do
        the parent and children of gevent's own fork.
        """
        ended = self.run_script("""
            import os, sys
            from taba import client
            client.initialize("application", sys.argv[1], 3600, "gevent")
            client.counter("a", 0)

            def worker(number):
                import gevent
                from gevent import monkey
                monkey.patch_all()
                gevent.reinit()
                gevent.spawn(client.counter, "a", number).join()
                child = os.fork()  # gevent's
                client.counter("a", number + (10 if child else 20))
                if child:
                    os.waitpid(child, 0)

            children = []
            for number in (1, 2):
                child = os.fork()
                if not child:
                    worker(number)
                    sys.exit()
                children.append(child)
            for child in children:
                _, status = os.waitpid(child, 0)
                assert status == 0
        """)
        self.assertEqual((ended.returncode, self.numbers()), (0, [0, 1, 2, 11, 12, 21, 22]), ended.stderr)
        self.assertEqual(len(self.agent.agent.numbers), 5)

    def test_multiprocessing(self) -> None:
        """What a child of multiprocessing records is sent when it ends, without a call of Stop."""
        ended = self.run_script("""
            from gevent import monkey; monkey.patch_all()
            import multiprocessing, sys
            from taba import client
            client.initialize("script", sys.argv[1], 3600, "gevent")
            client.counter("a", 1)
            process = multiprocessing.get_context("fork").Process(target=client.counter, args=("a", 2))
            process.start()
            process.join()
            assert process.exitcode == 0
        """)
        self.assertEqual((ended.returncode, self.numbers()), (0, [1, 2]), ended.stderr)


class AbsentTests(SynchronousTestCase):
    def test_without_gevent(self) -> None:
        """Where gevent is not installed the engine is refused with the reason, and nothing starts."""
        script = """
            import sys
            sys.modules["gevent"] = None
            from taba import client
            try:
                client.initialize("script", "http://localhost/post", 1, "gevent")
            except ValueError as problem:
                print(client.get_status()["state"], problem)
        """
        environment = {**os.environ, "PYTHONPATH": str(Path(taba.__file__).parent.parent)}
        said = subprocess.check_output([sys.executable, "-c", textwrap.dedent(script)], env=environment, text=True)
        self.assertIn("uninitialized the gevent engine needs gevent", said)
