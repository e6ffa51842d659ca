"""The agent double: what it keeps, how it misbehaves, and that it answers as the real agent does.

REAL: all but the contract uses loopback sockets. It waits for events, never for time.
"""

from __future__ import annotations

import json
import logging
import math
import os
import struct
import subprocess
import sys
import tempfile
import textwrap
import threading
import zlib
from collections.abc import Callable
from http.client import HTTPConnection, RemoteDisconnected
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import TestResult
from urllib.parse import urlsplit

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

import taba
from taba.agent.http import AgentResources
from taba.agent.service import Agent
from taba.agent.site import agent_site
from taba.client import Client
from taba.client.encoding import CHUNK_EVENTS
from taba.handlers.registry import builtin
from taba.testing import FakeAgent, FakeAgentMixin, RecordedEvent
from taba.testing.fake_reading import MAX_DEPTH, MAX_PAYLOAD, NUMERIC, STRUCTURED
from taba.testing.pytest_plugin import agent_of_a_test, pytest_configure
from tests.agent.agent_case import WALL, AgentCase, Away

PATIENCE = 20.0  # seconds until a test gives up waiting
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


class EngineTests(FakeCase):
    """Each engine by its name, in a process of its own, under load, while the agent dies and comes again."""

    RECORD = """
import sys
from taba import client

def record(start):
    for i in range(start, start + 500):
        client.counter(f"tab{i % 7}", i)
"""
    BLOCKING = """
client.initialize("script", sys.argv[1], 0.02, sys.argv[2])
for start in range(0, 10_000, 500):
    record(start)
    sleep(0.005)
if not client.stop(20.0):
    sys.exit(repr(client.get_status()))
"""
    ASYNCIO = """
import asyncio

async def main():
    client.initialize("script", sys.argv[1], 0.02, "asyncio")
    for start in range(0, 10_000, 500):
        record(start)
        await asyncio.sleep(0.005)
    if not await client.stop(20.0):
        sys.exit(repr(client.get_status()))

asyncio.run(main())
"""
    TWISTED = """
from twisted.internet import task

async def main(reactor):
    await client.initialize("script", sys.argv[1], 0.02, "twisted")
    for start in range(0, 10_000, 500):
        record(start)
        await task.deferLater(reactor, 0.005)
    if not await client.stop(20.0):
        sys.exit(repr(client.get_status()))

task.react(main)
"""

    def run_engine(self, name: str, script: str) -> None:
        """Run a script, kill the agent in its middle and bring it back; every event counts once."""
        running = subprocess.Popen(
            [sys.executable, "-c", self.RECORD + script, self.taba_agent.url, name],
            env={**os.environ, "PYTHONPATH": str(Path(taba.__file__).parent.parent)},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.taba_agent.wait_for_events(500, PATIENCE)
        self.taba_agent.stop()
        self.taba_agent.hang_up(times=1)
        self.taba_agent.start()
        said = running.communicate(timeout=PATIENCE)
        self.assertEqual(running.returncode, 0, said)
        self.assertEqual(sorted(event.value for event in self.taba_agent.events), list(range(10_000)))
        self.assertEqual((self.taba_agent.unsent, self.taba_agent.refused), ({}, []))

    def test_thread(self) -> None:
        """The thread engine, which is the default."""
        self.run_engine("thread", "from time import sleep\n" + self.BLOCKING)

    def test_gevent(self) -> None:
        """The gevent engine."""
        self.run_engine("gevent", "from gevent import sleep\n" + self.BLOCKING)

    if find_spec("gevent") is None:
        test_gevent.skip = "gevent is not installed"  # type: ignore[attr-defined]

    def test_asyncio(self) -> None:
        """The asyncio engine."""
        self.run_engine("asyncio", self.ASYNCIO)

    def test_twisted(self) -> None:
        """The Twisted engine, on the global reactor."""
        self.run_engine("twisted", self.TWISTED)

    def test_no_such_engine(self) -> None:
        """A name that no engine has is refused, with those that there are, and nothing starts."""
        client = Client()
        with self.assertRaises(ValueError) as caught:
            client.initialize("app", self.taba_agent.url, 1, "tornado")
        self.assertIn("thread, asyncio, gevent, twisted", str(caught.exception))
        self.assertEqual(client.get_status()["state"], "uninitialized")

    def test_authorities_by_the_environment(self) -> None:
        """TABA_CA_FILE is heeded by an engine that is asked for by its name."""
        self.addCleanup(os.environ.pop, "TABA_CA_FILE", None)
        os.environ["TABA_CA_FILE"] = "/nowhere.pem"
        for name in ("thread", "twisted"):
            with self.assertRaises(ValueError) as caught:
                Client().initialize("app", "https://localhost/post", 1, name)
            self.assertIn("/nowhere.pem", str(caught.exception))


# -- the contract ------------------------------------------------------------------------------------------------------

COMPARED = ("content-type", "retry-after", "taba-instance", "taba-duplicate", "taba-rejected")
"""Headers that clients may go by."""

Told = tuple[int, dict[str, str], object]


class ContractCase(AgentCase):
    """The real agent behind its real site, and the fake one, asked the same."""

    def setUp(self) -> None:
        super().setUp()
        self.agent = self.start(Away())
        self.pass_time(0.5)
        self.site = agent_site(AgentResources(self.agent), self.process)
        self.fake = FakeAgent(wall=self.wall)

    def make(self, endpoint: Any, **settings: Any) -> Agent:
        """With every Type that comes with Taba."""
        made = super().make(endpoint, **settings)
        return Agent(made.settings, self.process, builtin().kinds(), [endpoint])

    def real_answer(self, path: str, headers: dict[str, str], body: bytes) -> Told:
        """What the real agent says."""
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        channel = self.site.buildProtocol(None)
        transport = StringTransport()
        channel.makeConnection(transport)
        channel.dataReceived(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n{head}\r\n".encode())
        channel.dataReceived(body)
        self.pass_time(0.2)
        channel.connectionLost(Failure(ConnectionDone()))
        first, _, text = transport.value().partition(b"\r\n\r\n")
        lines = first.decode().split("\r\n")
        if "chunked" in first.decode().lower():
            raise AssertionError("the real agent gives lengths")
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        return self.told(int(lines[0].split()[1]), fields, text.decode())

    def fake_answer(self, path: str, headers: dict[str, str], body: bytes) -> Told:
        """What the fake one says."""
        answer = self.fake.answer(path, {name.lower(): value for name, value in headers.items()}, body)
        assert answer is not None
        return self.told(answer.status, {name.lower(): value for name, value in answer.headers.items()}, answer.text)

    def told(self, status: int, fields: dict[str, str], text: str) -> Told:
        """What counts of an answer."""
        is_json = fields["content-type"] == "application/json"
        kept = {name: fields[name] for name in COMPARED if name in fields}
        return status, kept, json.loads(text) if is_json else text

    def compare(self, path: str, headers: dict[str, str], body: bytes) -> Told:
        """The answer of both, which is one."""
        real, fake = self.real_answer(path, headers, body), self.fake_answer(path, headers, body)
        self.assertEqual(real, fake, (path, headers, body[:200]))
        return real


def event(type: object = "CounterGroup", time: object = WALL, payload: object = "1") -> str:
    """An event line."""
    return json.dumps([type, time, payload])


LINES = (
    [event(type, payload=payload) for type in (*NUMERIC, *STRUCTURED, "Own", "") for payload in ("1", "[2.5,3]", '"x"')]
    + [event(time=time) for time in (-1, 0, 253402300799, 253402300800, WALL + 30, WALL + 1e6, WALL * 1000, True, "1")]
    + [event(payload=payload) for payload in (
        "true", "false", "null", "[]", "[true]", "[[1]]", "{}", "1e999", "-1e999", "1e-999", "NaN", "Infinity", " 7 ",
        "01", "1.", ".5", "+1", "", "1 2", "9" * 400, "9" * 5000, "123456789012345678901234567890", '"1"', 5, None)]
    + [event("Gauge", payload=payload) for payload in (
        "null", '"é"', '{"a":[1,{"b":2}]}', "[1,2", "{'a':1}", '"\\ud800"', "1e999", "[NaN]", '"a\nb"',
        "[" * MAX_DEPTH + "]" * MAX_DEPTH, "[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1))]
    + ["x", "{}", "[]", "[1]", '["CounterGroup", 1]', '["CounterGroup", 1, "1", 2]', '[ "CounterGroup" ,\t1 , "1" ] ',
       '["CounterGroup", NaN, "1"]', '["CounterGroup", 1e999, "1"]', '["CounterGroup", 1, "1"',
       '["Counter\\u0047roup",1,"1"]',
       '["Gauge", 1, "\\"\\ud83d\\ude00\\""]', '["Gauge", 1, "\\"\\ud83d\\""]', '["Gauge", 1, "\t1"]',
       "[" * 5000, "\r", " "]
)  # fmt: skip

NAMES = ["t", "a.b/c:d", "with blank", "ü", "x" * 512, "x" * 513, "1", "\r", " "]


class ContractTests(ContractCase):
    """One answer from the real agent and from the double."""

    def test_numbered_batches(self) -> None:
        """Instances, numbers, duplicates, unknown instances, and what senders dropped."""
        body = f"1\n\nc\n\nt\n{event()}\n".encode()
        real = self.real_answer("/post", {"Taba-Batch": "0"}, b"")[1].pop("taba-instance")
        fake = self.fake_answer("/post", {"Taba-Batch": "0"}, b"")[1].pop("taba-instance")
        self.assertEqual(len(real), len(fake))
        seen = []
        batches = [(1, body), (1, body), (3, b""), (2, body), (4, b"1\n\n"), (5, b"bad"), *[(5, body + b"x\n")] * 2]
        for number, sent in batches:
            answers = [
                ask("/post", {"Taba-Batch": f"{instance}/{number}", "Taba-Unsent": "full=2, novel=1"}, sent)
                for ask, instance in ((self.real_answer, real), (self.fake_answer, fake))
            ]
            self.assertEqual(*answers)
            seen.append((answers[0][0], "taba-duplicate" in answers[0][1]))
        taken, duplicate, refused = (200, False), (200, True), (400, False)
        self.assertEqual(seen, [taken, duplicate, taken, duplicate, taken, refused, taken, duplicate])
        self.assertEqual(self.compare("/post", {"Taba-Batch": f"{'9' * 32}/1"}, body)[0], 409)
        self.assertEqual(self.fake.unsent, {"full": 8, "other": 4})

    def test_headers(self) -> None:
        """Headers that cannot be understood."""
        body = f"1\n\nc\n\nt\n{event()}\n".encode()
        for headers in (
            {"Taba-Batch": "1"}, {"Taba-Batch": "0/1"}, {"Taba-Batch": ""}, {"Taba-Batch": f"{'A' * 32}/1"},
            {"Taba-Batch": f"{'a' * 32}/0"}, {"Taba-Batch": "0"}, {"Taba-Unsent": "full"}, {"Taba-Unsent": "full=-1"},
            {"Taba-Unsent": "FULL=1"},
        ):  # fmt: skip
            self.assertEqual(self.compare("/post", headers, body)[0], 400)
        for headers in ({"Taba-Unsent": ""}, {"Taba-Unsent": " full=1 ,, other=2"}):
            self.assertEqual(self.compare("/post", headers, body)[0], 200)

    def test_structure(self) -> None:
        """Bodies whose structure is wrong, at every line, and those that are just short."""
        whole = f"1\n\nc\n\nt\n{event()}\n\nu\n{event()}\n\n\n\nd\n\nt\n{event()}\n\n\n"
        for cut in range(len(whole) + 1):
            self.compare("/post", {}, whole[:cut].encode())
        lines = whole.split("\n")
        for at in range(len(lines)):
            for other in ("x", "\r", "1\r", "2", " "):
                self.compare("/post", {}, "\n".join([*lines[:at], other, *lines[at:]]).encode())
            self.compare("/post", {}, "\n".join([*lines[:at], *lines[at + 1 :]]).encode())
        self.compare("/post", {}, whole.replace("\n", "\r\n").encode())

    def test_event_lines(self) -> None:
        """Each kind of event, right or wrong, by itself."""
        for line in LINES:
            self.compare("/post", {}, f"1\n\nc\n\nt\n{line}\n".encode())
        for name in NAMES:
            self.compare("/post", {}, f"1\n\n{name}\n\nt\n{event()}\n".encode())
            self.compare("/post", {}, f"1\n\nc\n\n{name}\n{event()}\n".encode())

    def test_future(self) -> None:
        """Events just within MAX_CLOCK_SKEW of the clock, and just beyond."""
        for ahead, rejected in ((59.5, None), (60.5, "1")):
            for ask in (self.real_answer, self.fake_answer):
                told = ask("/post", {}, f"1\n\nc\n\nt\n{event(time=self.wall() + ahead)}\n".encode())
                self.assertEqual((told[0], told[1].get("taba-rejected")), (200, rejected))

    def test_sizes(self) -> None:
        """Payloads at the limit and beyond it, escaped and not, and a line that is too long for anything."""
        for length in (MAX_PAYLOAD, MAX_PAYLOAD + 1):
            for text in ("x" * (length - 2), "é" * (length // 2 - 1) + "x" * (length % 2)):
                for ascii_only in (True, False):
                    line = json.dumps(["Gauge", WALL, json.dumps(text, ensure_ascii=False)], ensure_ascii=ascii_only)
                    self.compare("/post", {}, f"1\n\nc\n\nt\n{line}\n".encode())
        self.compare("/post", {}, b"1\n\nc\n\nt\n" + b"x" * (6 * MAX_PAYLOAD + 5000) + b"\n")

    def test_latin_1(self) -> None:
        """A body that is not UTF-8 is read as Latin-1."""
        line = json.dumps(["Gauge", WALL, '"é"'], ensure_ascii=False)
        self.assertEqual(self.compare("/post", {}, f"1\n\nc\n\nt\n{line}\n".encode("latin-1"))[0], 200)
        self.assertEqual(self.fake.values("t"), ["é"])

    def test_zipped(self) -> None:
        """Whole streams, cut ones, more than a stream, none, and a bomb."""
        body = f"1\n\nc\n\nt\n{event()}\n".encode()
        zipped = zlib.compress(body)
        self.assertEqual(self.compare("/post_zip", {}, zipped)[0], 200)
        for wrong in (zipped[:-1], zipped[:5], zipped + b"x", body, zlib.compress(b"bad"), b""):
            self.assertEqual(self.compare("/post_zip", {}, wrong)[0], 400)
        bomb = zlib.compress(body + b"\n" * (8 << 20))
        self.assertEqual([ask("/post_zip", {}, bomb)[0] for ask in (self.real_answer, self.fake_answer)], [413, 413])

    def test_full(self) -> None:
        """An agent whose disk is full (why is said in other words)."""
        self.crash()
        self.disk.fill()
        self.agent = self.start(Away())
        self.site = agent_site(AgentResources(self.agent), self.process)
        self.fake.be_full()
        for headers in ({}, {"Taba-Batch": "0"}):
            real = self.real_answer("/post", headers, b"1\n\n")
            self.assertEqual(real[:2], self.fake_answer("/post", headers, b"1\n\n")[:2])
            self.assertEqual((real[0], real[1]["retry-after"]), (503, "1"))

    @settings(max_examples=150)
    @given(st.data())
    def test_any_body(self, data: st.DataObject) -> None:
        """Bodies of any lines that occur, in any order that may just make sense."""
        blocks = data.draw(
            st.lists(st.tuples(st.sampled_from(NAMES[:4]), st.lists(st.sampled_from(LINES), max_size=14)), max_size=4)
        )
        ends = data.draw(st.sampled_from(("", "\n", "\n\n", "\n\n\n")))
        text = "".join(f"{tab}\n" + "".join(f"{line}\n" for line in lines) + "\n" for tab, lines in blocks)
        self.compare("/post", {}, f"1\n\nc\n\n{text}".encode() + ends.encode() + f"d\n\nt\n{event()}\n".encode())


# -- for the tests of others -------------------------------------------------------------------------------------------


class FrameContractTests(ContractCase):
    """One answer to frames of protocol 2."""

    def frame(self, header: object, *columns: float, length: int | None = None) -> bytes:
        """A frame; `length` is what it says of its header, by default the truth."""
        text = header if isinstance(header, bytes) else json.dumps(header).encode()
        said = len(text) if length is None else length
        return said.to_bytes(4, "little") + text + struct.pack(f"<{len(columns)}d", *columns)

    def told(self, status: int, fields: dict[str, str], text: str) -> Told:
        """But for the words, which are for people."""
        status, kept, said = super().told(status, fields, text)
        if isinstance(said, dict):
            errors = [{**error, "reason": error["reason"].partition(":")[0]} for error in said["errors"]]
            return status, kept, {**said, "errors": errors}
        return status, kept, None

    def ask(self, header: object, *columns: float, **headers: str) -> Told:
        """The answer of both to a frame."""
        return self.compare("/v2/events", headers, self.frame(header, *columns))

    def test_events(self) -> None:
        """Each kind of event in columns, right or wrong, by itself and beside right ones."""
        now = self.wall()
        for tab in NAMES:
            for type in (*NUMERIC, *STRUCTURED, "Own", ""):
                self.ask({"client": "c", "tabs": [[tab, type, 1]]}, now, 1.0)
        for client in NAMES:
            self.ask({"client": client, "tabs": [["t", "CounterGroup", 2]]}, now, now, 1.0, 2.0)
        odd = (-1.0, 0.0, -0.0, 253402300799.0, 253402300800.0, now + 30, now + 1e6, math.nan, math.inf, -math.inf, 1e308)
        for number in odd:
            told = self.ask({"client": "c", "tabs": [["t", "CounterGroup", 3]]}, now, number, now, 1.0, 2.0, 3.0)
            self.ask({"client": "c", "tabs": [["t", "PercentileGroup", 2]]}, now, now, number, 3.0)
            self.assertEqual(told[0], 200)
        self.assertEqual(set(map(math.isfinite, self.fake.values("t"))), {True})

    def test_structured(self) -> None:
        """Each kind of event in the header."""
        now = self.wall()
        values = [1, 2.5, "x", "é\ud800", None, True, [], [1, 2], ["v", 5], ["v", True], {"a": [1, {"b": 2}]}, [[[1]]], [[], 1]]
        for type in (*NUMERIC, *STRUCTURED, "Own"):
            for value in values:
                self.ask({"client": "c", "tabs": [], "structured": [["t", type, [[now, value], [now, 1]]]]})
        for event in ([now], [now, 1, 2], {}, [], [None, 1], ["1", 1], [True, 1], [-1, 1], [now + 1e6, 1], [now * 1e3, 1], 7):
            self.ask({"client": "c", "structured": [["t", "Gauge", [event, [now, 1]]]]})
            self.ask({"client": "c", "structured": [["t", "Own", [event]], ["no name", "Gauge", [event]]]})
        big = b'{"client":"c","structured":[["t","%b",[[1,1e999],[1,[%b]],[1,2]]]]}'
        for type in (b"Gauge", b"CounterGroup"):
            self.ask(big % (type, b"9" * 400))
        deep = json.loads("[" * MAX_DEPTH + "]" * MAX_DEPTH)
        self.assertEqual(self.ask({"client": "c", "structured": [["t", "Gauge", [[1, deep]]]]})[2], None)

    def test_numbers_of_rows(self) -> None:
        """Refused events are named by their tabs, and counted from 0 within their rows; those of the header first."""
        now = self.wall()
        header = {
            "client": "c", "tabs": [["a", "CounterGroup", 2], ["b", "Gauge", 1]],
            "structured": [["g", "Gauge", [[now, 1], [-1, 1]]]],
        }  # fmt: skip
        told = self.ask(header, now, now, 1.0, math.nan, now, 1.0)
        self.assertEqual(told[2], {"accepted": 2, "rejected": 3, "errors": [
            {"tab": "g", "event": 1, "reason": "time"}, {"tab": "a", "event": 1, "reason": "value"},
            {"tab": "b", "event": 0, "reason": "type"}]})  # fmt: skip

    def test_numbered_batches(self) -> None:
        """Instances, numbers, duplicates, unknown instances, and what senders dropped."""
        opening = self.frame({"client": "c", "batch": 0, "tabs": []})
        instances = [
            ask("/v2/events", {}, opening)[1]["taba-instance"] for ask in (self.real_answer, self.fake_answer)
        ]
        seen = []
        for number in (1, 1, 3, 2):
            answers = []
            for ask, instance in zip((self.real_answer, self.fake_answer), instances, strict=True):
                header = {
                    "client": "c", "instance": instance, "batch": number, "tabs": [["t", "CounterGroup", 1]],
                    "unsent": {"full": {"t": 2, "u": 1}, "novel": {"t": 1}},
                }  # fmt: skip
                answers.append(ask("/v2/events", {}, self.frame(header, WALL, 1.0)))
            self.assertEqual(*answers)
            seen.append((answers[0][0], "taba-duplicate" in answers[0][1]))
        self.assertEqual(seen, [(200, False), (200, True), (200, False), (200, True)])
        self.assertEqual(self.ask({"client": "c", "instance": "9" * 32, "batch": 1, "tabs": []})[0], 409)
        by_tab = {"full": {"t": 4, "u": 2}, "other": {"t": 2}}
        self.assertEqual((self.fake.unsent_by_tab, self.agent.facts()["unsent"]), (by_tab, by_tab))

    def test_headers(self) -> None:
        """Headers of a frame that are wrong in one way or another, and some that are not."""
        row = ["t", "CounterGroup", 1]
        for header in (
            [], 1, "x", {}, {"client": 1}, {"client": ""}, {"tabs": []}, {"client": "c", "tabs": 1},
            {"client": "c", "batch": 0, "tabs": [row]}, {"client": "c", "batch": 1}, {"client": "c", "batch": -1},
            {"client": "c", "batch": 0, "unsent": {"full": {"a": 1}}}, {"client": "c", "batch": 1.0},
            {"client": "c", "instance": "1" * 32}, {"client": "c", "instance": "1" * 32, "batch": 0},
            {"client": "c", "instance": "A" * 32, "batch": 1}, {"client": "c", "instance": "1", "batch": 1},
            {"client": "c", "instance": None, "batch": 1}, {"client": "c", "batch": 2**53, "instance": "1" * 32},
            {"client": "c", "tabs": [["t", "CounterGroup"]]}, {"client": "c", "tabs": [[1, "CounterGroup", 1]]},
            {"client": "c", "tabs": [[*row, 1]]}, {"client": "c", "tabs": [["t", "CounterGroup", -1]]},
            {"client": "c", "tabs": [["t", "CounterGroup", 1.0]]}, {"client": "c", "tabs": [["t", "C", True]]},
            {"client": "c", "structured": 1}, {"client": "c", "structured": [["t", "Gauge", 1]]},
            {"client": "c", "structured": [["t", "Gauge"]]}, {"client": "c", "unsent": []},
            {"client": "c", "unsent": {"full": 1}}, {"client": "c", "unsent": {"full": {"a": -1}}},
            {"client": "c", "unsent": {"full": {"a": 1.5}}}, b"", b"{", b"\xff", b'{"client":"c"}x', b'{"client":NaN}',
            b'{"client":"c","client":"c"}', b'{"client":"c","novel":NaN}',
        ):  # fmt: skip
            told = self.ask(header, WALL, 1.0)
            self.assertEqual(told[0], 400, header)
        self.assertEqual(self.ask({"client": "c", "tabs": [row], "novel": {"x": [1]}}, WALL, 1.0)[0], 200)
        self.assertEqual(self.ask({"client": "c", "tabs": [["t", "CounterGroup", 0], row]}, WALL, 1.0)[0], 200)
        self.assertEqual(self.ask({"client": "c"})[0], 200)
        for headers in ({"Taba-Batch": "0"}, {"Taba-Unsent": "full=1"}):
            body = self.frame({"client": "c", "tabs": []})
            self.assertEqual(self.compare("/v2/events", headers, body)[0], 400)

    def test_structure(self) -> None:
        """Frames that are cut anywhere, and such as have something behind them."""
        whole = self.frame({"client": "c", "tabs": [["t", "CounterGroup", 2]]}, WALL, WALL, 1.0, 2.0)
        for cut in range(len(whole)):
            self.assertEqual(self.compare("/v2/events", {}, whole[:cut])[0], 400)
        self.assertEqual(self.compare("/v2/events", {}, whole)[0], 200)
        self.assertEqual(self.compare("/v2/events", {}, whole + b"x")[0], 400)
        self.assertEqual(self.compare("/v2/events", {}, self.frame({"client": "c"}, length=10**6))[0], 400)

    def test_encodings(self) -> None:
        """Deflated frames, and encodings that there are not."""
        whole = self.frame({"client": "c", "tabs": [["t", "CounterGroup", 1]]}, WALL, 1.0)
        zipped = zlib.compress(whole)
        for encoding, body, status in (
            ("deflate", zipped, 200), ("identity", whole, 200), ("Deflate", zipped, 200), ("deflate", whole, 400),
            ("deflate", zipped[:-1], 400), ("deflate", zipped + b"x", 400), ("gzip", zipped, 415), ("br", whole, 415),
        ):  # fmt: skip
            self.assertEqual(self.compare("/v2/events", {"Content-Encoding": encoding}, body)[0], status)
        self.assertEqual(self.fake.values("t"), [1, 1, 1])



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
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        self.assertEqual(ended.returncode, 0, ended.stdout + ended.stderr)
        self.assertIn("2 passed", ended.stdout)

    if find_spec("pytest") is None:
        test_with_pytest.skip = "pytest is not installed"  # type: ignore[attr-defined]
