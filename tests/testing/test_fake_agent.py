"""The agent double: what it keeps, and how it misbehaves. That it answers as the real agent does: `test_fake_contract`.

REAL: these tests use loopback sockets. They wait for events, never for time.
"""

from __future__ import annotations

import logging
import subprocess
import sys
import tempfile
import textwrap
import threading
from collections.abc import Callable
from http.client import HTTPConnection, RemoteDisconnected
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import TestResult
from urllib.parse import urlsplit

from twisted.trial.unittest import SynchronousTestCase

import taba
from taba.client import Client
from taba.client.encoding import CHUNK_EVENTS
from taba.testing import FakeAgent, FakeAgentMixin, RecordedEvent
from taba.testing.pytest_plugin import agent_of_a_test, pytest_configure

PATIENCE = 60.0  # seconds until a test gives up waiting

PERIOD = 0.02  # seconds between flushes


class FakeCase(FakeAgentMixin, SynchronousTestCase):
    def setUp(self) -> None:
        super().setUp()
        log = logging.getLogger("taba.client")
        self.addCleanup(log.setLevel, log.level)
        log.setLevel(logging.CRITICAL)

    def port(self) -> int:
        """That of the agent."""
        port = urlsplit(self.taba_agent.url).port
        assert port is not None
        return port

    def start(self, flush_period: float = PERIOD) -> Client:
        """A client of the agent."""
        client = Client()
        client.initialize("app", self.taba_agent.url, flush_period)
        self.addCleanup(client.stop, 0.0)
        return client

    def post(self, body: bytes, path: str = "/post", **headers: str) -> tuple[int, dict[str, str], str]:
        """Post over a connection of its own."""
        connection = HTTPConnection("127.0.0.1", self.port(), timeout=PATIENCE)
        try:
            connection.request("POST", path, body, {name.replace("_", "-"): value for name, value in headers.items()})
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read().decode()
        finally:
            connection.close()


class KeepingTests(FakeCase):
    """What it keeps of what clients send."""

    def test_events(self) -> None:
        """Every event is kept with its client, tab, Type, value and time, whatever its Type."""
        times = iter(range(999, 2000))  # the first one is that of the start
        client = Client(wall=lambda: float(next(times)))
        client.initialize("app", self.taba_agent.url, 3600)
        client.counter("won")
        client.counter("won", 2.5)
        client.percentile("ms", 7)
        client.gauge("version", {"a": ["ü", None]})
        client.gauge("lease", "x", 5000)
        client.buffer("log", "line")
        client.record_event("totals", "TotalsCounter", 3)
        client.record_event("pairs", "CounterGroup", [4, "more"])
        client.record_event("truths", "CounterGroup", True)
        self.assertIs(client.stop(PATIENCE), True)
        self.assertEqual(sorted(self.taba_agent.events), [
            RecordedEvent("app", "lease", "ExpiryGauge", ["x", 5000], 1004.0),
            RecordedEvent("app", "log", "Buffer", "line", 1005.0),
            RecordedEvent("app", "ms", "PercentileGroup", 7, 1002.0),
            RecordedEvent("app", "pairs", "CounterGroup", 4, 1007.0),
            RecordedEvent("app", "totals", "TotalsCounter", 3, 1006.0),
            RecordedEvent("app", "truths", "CounterGroup", 1, 1008.0),
            RecordedEvent("app", "version", "Gauge", {"a": ["ü", None]}, 1003.0),
            RecordedEvent("app", "won", "CounterGroup", 1, 1000.0),
            RecordedEvent("app", "won", "CounterGroup", 2.5, 1001.0),
        ])  # fmt: skip
        self.assertEqual(self.taba_agent.refused, [])

    def test_values(self) -> None:
        """The values of a tab, of all clients or of one, in their order."""
        body = b'1\n\n%b\n\nt\n["CounterGroup", 1, "%d"]\n["CounterGroup", 2, "9"]\n'
        self.post(body % (b"one", 1))
        self.post(body % (b"two", 2))
        agent = self.taba_agent
        self.assertEqual((agent.values("t"), agent.values("t", "two"), agent.values("u")), ([1, 9, 2, 9], [2, 9], []))

    def test_load(self) -> None:
        """Some thousand events from several threads are each kept once."""
        client = self.start()

        def record(start: int) -> None:
            for i in range(start, start + 3 * CHUNK_EVENTS):
                client.counter("a", i)

        threads = [threading.Thread(target=record, args=(i * 3 * CHUNK_EVENTS,)) for i in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.taba_agent.wait_for_events(9 * CHUNK_EVENTS, PATIENCE)
        self.assertEqual(sorted(self.taba_agent.values("a")), list(range(9 * CHUNK_EVENTS)))

    def test_refused_events(self) -> None:
        """Events that an agent refuses singly are listed by their reasons."""
        self.post(b'1\n\nc\n\nt\n["CounterGroup", 1, "\\"x\\""]\n["CounterGroup", 1, "2"]\n')
        self.assertEqual((self.taba_agent.refused, self.taba_agent.values("t")), (["value"], [2]))

    def test_own_types(self) -> None:
        """Types of your own have to be told, and take any JSON."""
        body = b'1\n\nc\n\nt\n["Own", 1, "{}"]\n'
        with FakeAgent(types=["Own"]) as agent:
            for each in (agent, self.taba_agent):
                each.answer("/post", {}, body)
            self.assertEqual((agent.values("t"), agent.refused), ([{}], []))
        self.assertEqual(self.taba_agent.refused, ["type"])

    def test_drops_by_tab(self) -> None:
        """What clients dropped can be asked for by tab, and in all."""
        self.taba_agent.be_full(retry_after=0)
        client = Client(max_buffer_bytes=20_000)
        client.initialize("app", self.taba_agent.url, 3600)
        for number in range(2000):
            client.counter("a", number)
        self.taba_agent.behave()
        self.assertIs(client.stop(PATIENCE), True)
        dropped = client.get_status()["full"]
        self.assertGreater(dropped, 0)
        self.assertEqual(len(self.taba_agent.values("a")), 2000 - dropped)
        self.assertEqual(self.taba_agent.unsent_by_tab, {"full": {"a": dropped}})
        self.post(b"1\n\n", Taba_Unsent="unknown=3")
        self.assertEqual(self.taba_agent.unsent_by_tab["unknown"], {"": 3})

    def test_before_protocol_2(self) -> None:
        """An agent of before protocol 2 is one, too: a client sends it the same in protocol 1."""
        with FakeAgent(columns=False) as agent:
            client = Client()
            client.initialize("app", agent.url, 3600)
            client.counter("a", 2.5)
            client.gauge("g", {"k": 1})
            self.assertIs(client.stop(PATIENCE), True)
            self.assertEqual((agent.values("a"), agent.values("g")), ([2.5], [{"k": 1}]))
            self.assertEqual(client.get_status()["protocol"], 1)

    def test_half_characters(self) -> None:
        """Half of a surrogate pair stands for U+FFFD, as it does at an agent; both halves are one character."""
        line = '["Gauge", 1, "{\\"\\\\ud83d\\": [\\"\\ude00\\", \\"\\\\ud83d\\\\ude00\\"]}"]'
        self.taba_agent.answer("/post", {}, f"1\n\nc\n\nt\n{line}\n".encode())
        self.assertEqual(self.taba_agent.values("t"), [{"\ufffd": ["\ufffd", "\U0001f600"]}])

    def test_clear(self) -> None:
        """What came so far can be forgotten; numbers cannot: a batch that is sent again stays a duplicate."""
        client = self.start(flush_period=3600)
        client.counter("a", 1)
        client.stop(PATIENCE)
        instance = client.get_status()["instance"]
        self.taba_agent.clear()
        body = b'1\n\nc\n\nt\n["CounterGroup", 1, "1"]\n'
        self.assertEqual(self.post(body, Taba_Batch=f"{instance}/1")[1]["taba-duplicate"], "1")
        self.assertEqual(self.taba_agent.events, [])

    def test_waiting_in_vain(self) -> None:
        """To wait for what does not come fails the test, and says what came."""
        self.post(b'1\n\nc\n\nt\n["CounterGroup", 1, "1"]\n')
        with self.assertRaises(AssertionError) as caught:
            self.taba_agent.wait_for_events(2, timeout=0.01)
        self.assertIn("1 requests came, 1 events counted", str(caught.exception))

    def test_not_started(self) -> None:
        """An agent that was never started has no address."""
        with self.assertRaises(ValueError):
            FakeAgent().url  # noqa: B018

    def test_what_it_does_not_do(self) -> None:
        """Other methods, other paths and bodies in chunks are refused with the reason."""
        self.assertEqual(self.post(b"", "/v2/append")[0], 404)
        connection = HTTPConnection("127.0.0.1", self.port(), timeout=PATIENCE)
        self.addCleanup(connection.close)
        connection.request("GET", "/post")
        answer = connection.getresponse()
        self.assertEqual((answer.status, answer.getheader("Allow")), (405, "POST"))
        self.assertEqual(answer.read(), b"This path takes POST.\n")
        connection.putrequest("POST", "/post")
        connection.putheader("Transfer-Encoding", "chunked")
        connection.endheaders()
        self.assertEqual(connection.getresponse().status, 411)


class MisbehavingTests(FakeCase):
    """What can be made to go wrong."""

    BODY = b'1\n\nc\n\nt\n["CounterGroup", 1, "1"]\n'

    def test_refuse(self) -> None:
        """Refused requests are answered with the given status, as often as said, and not counted."""
        self.taba_agent.refuse(413, "Too much.", times=2)
        answers = [self.post(self.BODY) for _ in range(3)]
        self.assertEqual([status for status, _, _ in answers], [413, 413, 200])
        self.assertEqual((answers[0][2], self.taba_agent.values("t")), ("Too much.\n", [1]))
        self.assertEqual(self.taba_agent.requests, 3)

    def test_client_is_refused(self) -> None:
        """An application sees in its client's status that its events were refused."""
        client = self.start()
        client.counter("a", 1)
        self.taba_agent.wait_for_events(1, PATIENCE)
        self.taba_agent.refuse(413)
        client.counter("a", 2)
        self.assertIs(client.stop(PATIENCE), True)
        status = client.get_status()
        self.assertEqual((status["acknowledged"], status["refused"], self.taba_agent.values("a")), (1, 1, [1]))
        self.assertIn("413: Refused by the test.", status["last_error"])

    def test_full(self) -> None:
        """A full agent takes nothing until it behaves; the client keeps its events and sends them then."""
        self.taba_agent.be_full(retry_after=0)
        client = self.start()
        for i in range(100):
            client.counter("a", i)
        self.taba_agent.wait_for(lambda: self.taba_agent.requests >= 2, PATIENCE)
        self.assertEqual(self.taba_agent.events, [])
        self.taba_agent.behave()
        self.taba_agent.wait_for_events(100, PATIENCE)
        self.assertEqual(self.taba_agent.values("a"), list(range(100)))

    def test_hang_up(self) -> None:
        """An agent that hangs up took the events or did not; either way the client's are counted once."""
        for takes in (True, False):
            self.taba_agent.clear()
            client = self.start()
            client.counter("a", 1)
            self.taba_agent.wait_for_events(1, PATIENCE)
            self.taba_agent.hang_up(times=2, takes=takes)
            client.counter("a", 2)
            self.taba_agent.wait_for_events(2, PATIENCE)
            self.assertIs(client.stop(PATIENCE), True)
            self.assertEqual((self.taba_agent.values("a"), client.get_status()["acknowledged"]), ([1, 2], 2))
        self.taba_agent.hang_up(times=1)
        with self.assertRaises(RemoteDisconnected):
            self.post(self.BODY)

    def test_slow(self) -> None:
        """A slow agent counts at once and answers when it is told to behave; the application does not wait."""
        self.taba_agent.be_slow()
        client = self.start()
        client.counter("a")
        self.taba_agent.wait_for(lambda: self.taba_agent.requests, PATIENCE)
        self.assertEqual(client.get_status()["buffered_events"], 1)
        self.taba_agent.behave()
        self.taba_agent.wait_for_events(1, PATIENCE)
        self.taba_agent.be_slow(0.001, times=1)
        self.assertEqual(self.post(self.BODY)[0], 200)

    def test_crash_and_return(self) -> None:
        """Stopped and started again it has the same address and knows its instances: every event counts once."""
        client = self.start()
        for i in range(2000):
            client.counter("a", i)
        self.taba_agent.wait_for_events(2000, PATIENCE)
        url = self.taba_agent.url
        self.taba_agent.stop()
        for i in range(2000, 4000):
            client.counter("a", i)
        self.taba_agent.start()
        self.taba_agent.wait_for_events(4000, PATIENCE)
        self.assertIs(client.stop(PATIENCE), True)
        self.assertEqual((self.taba_agent.url, self.taba_agent.values("a")), (url, list(range(4000))))

    def test_lost_disk(self) -> None:
        """Without its disk it knows no instance: what is in flight is unknown, and said so with the next batch."""
        client = self.start()
        client.counter("a", 1)
        self.taba_agent.wait_for_events(1, PATIENCE)
        self.taba_agent.lose_disk()
        client.counter("a", 2)
        self.taba_agent.wait_for(lambda: self.taba_agent.unsent, PATIENCE)
        client.stop(PATIENCE)
        self.assertEqual((self.taba_agent.values("a"), self.taba_agent.unsent), ([1], {"unknown": 1}))

    def test_stop_twice(self) -> None:
        """To stop or start twice does no harm, and a stopped agent is not there."""
        self.taba_agent.start()
        self.taba_agent.stop()
        self.taba_agent.stop()
        with self.assertRaises(ConnectionRefusedError):
            self.post(self.BODY)



class MixinTests(SynchronousTestCase):
    def test_mixin(self) -> None:
        """In a TestCase the agent runs from before its setUp to the end of the test."""
        seen: list[Any] = []

        class Case(FakeAgentMixin, SynchronousTestCase):
            def setUp(self) -> None:
                super().setUp()
                seen.append(self.taba_agent)

            def test_something(self) -> None:
                client = Client()
                client.initialize("app", self.taba_agent.url, 3600)
                client.counter("a", 5)
                client.stop(PATIENCE)
                seen.append(self.taba_agent.values("a"))

        result = TestResult()
        Case("test_something").run(result)
        self.assertTrue(result.wasSuccessful(), result.errors)
        self.assertEqual((seen[1], seen[0]._server), ([5], None))


class PytestTests(SynchronousTestCase):
    def test_fixture(self) -> None:
        """The fixture is an agent that runs until the test is over."""
        fixture = agent_of_a_test()
        agent = next(iter(fixture))
        self.assertEqual(agent.start().requests, 0)
        self.assertEqual(list(fixture), [])
        self.assertIsNone(agent._server)

    def test_registration(self) -> None:
        """pytest is given the fixture by its name."""
        registered: list[Any] = []

        def fixture(name: str) -> Callable[[Any], Any]:
            return lambda function: (name, function)

        before = sys.modules.get("pytest")
        sys.modules["pytest"] = SimpleNamespace(fixture=fixture)  # type: ignore[assignment]
        try:
            manager = SimpleNamespace(register=lambda plugin, name: registered.append(plugin.taba_agent))
            pytest_configure(SimpleNamespace(pluginmanager=manager))
        finally:
            del sys.modules["pytest"]
            if before is not None:
                sys.modules["pytest"] = before
        self.assertEqual(registered, [("taba_agent", agent_of_a_test)])

    def test_with_pytest(self) -> None:
        """A test of pytest uses the fixture."""
        folder = Path(tempfile.mkdtemp())
        (folder / "conftest.py").write_text('pytest_plugins = ["taba.testing.pytest_plugin"]\n')
        (folder / "test_it.py").write_text(textwrap.dedent("""
            from taba import client

            def test_checkout(taba_agent):
                client.initialize("app", taba_agent.url)
                client.counter("checkouts")
                client.stop()
                assert taba_agent.values("checkouts") == [1]

            def test_another(taba_agent):
                assert taba_agent.events == []
        """))
        ended = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder)],
            env={"PYTHONPATH": str(Path(taba.__file__).parent.parent)}, cwd=folder,
            capture_output=True, text=True, timeout=180, check=False,
        )  # fmt: skip
        self.assertEqual(ended.returncode, 0, ended.stdout + ended.stderr)
        self.assertIn("2 passed", ended.stdout)

    if find_spec("pytest") is None:
        test_with_pytest.skip = "pytest is not installed"  # type: ignore[attr-defined]
