"""The client as an application sees it, and what importing it costs."""

from __future__ import annotations

import ast
import inspect
import json
import os
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

import taba
from taba import client
from taba.client import Client
from taba.client.encoding import encode_frame
from taba.client.sender import Sender
from tests.client.model_agent import read_frame

URL = "http://localhost:8279/post"
FOLDER = Path(client.__file__).parent


class StillEngine:
    """An engine that sends nothing, so that a test can look at what is recorded."""

    def __init__(self, sender: Sender, url: str) -> None:
        self.sender = sender
        self.url = url
        self.stopped_with: float | None = None

    def start(self) -> str:
        self.sender.open(lambda: None)
        return "started"

    def stop(self, timeout: float) -> str:
        self.sender.drain()
        self.stopped_with = timeout
        return "stopped"

    def events(self) -> list[tuple[str, str, object]]:
        frame = encode_frame("c", None, 0, self.sender._recorder.collect())
        return [(event.tab, event.type, event.payload) for event in read_frame(frame)[1]]


def _put(name: str, value: str | None) -> None:
    """Set a variable of the environment, or take it away."""
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value


class ClientTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.client = Client()
        self.engines: list[StillEngine] = []

    def make_engine(self, sender: Sender, url: str) -> StillEngine:
        self.engines.append(StillEngine(sender, url))
        return self.engines[-1]

    def initialize(self, client_id: str = "client", url: str = URL, flush_period: float = 1) -> Any:
        return self.client.initialize(client_id, url, flush_period, self.make_engine)

    def test_bad_client_ids(self) -> None:
        """A client id that the protocol cannot carry is refused with a ValueError, and nothing starts."""
        for client_id in ("", "two words", "x" * 513, "ünï", "a\nb", None, 7):
            with self.assertRaises(ValueError):
                self.initialize(client_id)  # type: ignore[arg-type]
        self.assertEqual((self.engines, self.client.get_status()["state"]), ([], "uninitialized"))

    def test_bad_urls_and_periods(self) -> None:
        """So are URLs and flush periods that make no sense."""
        for url, period in (("localhost:8279", 1), ("", 1), (URL, 0), (URL, -1), (URL, float("nan"))):
            with self.assertRaises(ValueError):
                self.initialize("client", url, period)
        self.assertEqual(self.engines, [])

    def test_token_and_authorities(self) -> None:
        """A token comes from an argument, a file or the environment, and an engine is given the authorities by name;
        what cannot be used is a ValueError, and nothing starts.
        """
        with tempfile.NamedTemporaryFile("w") as file:
            file.write("the-token-in-the-file\n")
            file.flush()
            for given, environment, token in (
                ({"token": "the-token-itself"}, file.name, "the-token-itself"),
                ({"token_file": file.name}, None, "the-token-in-the-file"),
                ({}, file.name, "the-token-in-the-file"),
                ({"token_file": ""}, file.name, None),
                ({}, None, None),
            ):
                self.set_environment(TABA_TOKEN_FILE=environment)
                self.client.initialize("client", URL, 1, self.make_engine, **given)
                self.assertEqual(self.engines[-1].sender._token(), token)
                self.client.stop()
        started = len(self.engines)
        for given in ({"token": "short"}, {"token_file": "/nowhere"}, {"token": "x" * 16, "token_file": "/nowhere"}):
            self.assertRaises(ValueError, self.client.initialize, "client", URL, 1, self.make_engine, **given)
        self.assertEqual(len(self.engines), started)
        told: list[str] = []

        def engine(sender: Sender, url: str, ca_file: str) -> StillEngine:
            told.append(ca_file)
            return self.make_engine(sender, url)

        self.client.initialize("client", "https://localhost/post", 1, engine, ca_file="/ca.pem")
        self.assertEqual(told, ["/ca.pem"])

    def set_environment(self, **variables: str | None) -> None:
        """Set variables, or take them away, until the test is over."""
        for name, value in variables.items():
            before = os.environ.get(name)
            self.addCleanup(_put, name, before)
            _put(name, value)

    def test_authorities_of_the_default_engine(self) -> None:
        """The default engine and the Twisted one refuse authorities that cannot be read before they start."""
        for missing, environment in (("/nowhere.pem", None), (None, "/nowhere.pem")):
            self.set_environment(TABA_CA_FILE=environment)
            problem = self.assertRaises(
                ValueError, self.client.initialize, "client", "https://localhost/post", ca_file=missing
            )
            self.assertIn("/nowhere.pem", str(problem))
        from taba.client.engines.twisted import TwistedEngine

        with self.assertRaises(ValueError) as caught:
            self.client.initialize(
                "client", URL, 1, partial(TwistedEngine, reactor=None), ca_file="/nowhere.pem"
            )
        self.assertIn("/nowhere.pem cannot be read", str(caught.exception))
        self.assertEqual(self.client.get_status()["state"], "uninitialized")

    def test_twice(self) -> None:
        """A client that runs cannot be initialized; one that was stopped can."""
        self.initialize()
        with self.assertRaises(ValueError):
            self.initialize()
        self.client.stop()
        self.initialize("again")
        self.assertEqual(self.client.get_status()["client_id"], "again")

    def test_engine(self) -> None:
        """The engine gets the URL and the timeout, and what it returns is returned."""
        self.assertEqual(self.initialize(), "started")
        self.assertEqual(self.client.stop(0.5), "stopped")
        self.assertEqual((self.engines[0].url, self.engines[0].stopped_with), (URL, 0.5))

    def test_stop_when_not_running(self) -> None:
        """To stop what does not run is no error."""
        self.assertIs(self.client.stop(), True)
        self.initialize()
        self.client.stop()
        self.assertIs(self.client.stop(), True)

    def test_recording(self) -> None:
        """Each method records an event of its Type; the numbers are 1 by default."""
        self.initialize()
        self.client.counter("a")
        self.client.percentile("b", 2)
        self.client.gauge("c", "v")
        self.client.buffer("d", "v")
        self.client.record_event("e", "Own", 3)
        self.client.tab("f").record()
        self.client.tab("g", "PercentileGroup").Record(4)
        self.assertEqual(self.engines[0].events(), [
            ("a", "CounterGroup", 1), ("f", "CounterGroup", 1), ("b", "PercentileGroup", 2),
            ("g", "PercentileGroup", 4), ("c", "Gauge", "v"), ("d", "Buffer", "v"), ("e", "Own", 3)])  # fmt: skip

    def test_status(self) -> None:
        """The status says what state the client is in, and counts what was recorded without it running."""
        self.client.counter("a")
        seen = [self.client.get_status()]
        self.assertEqual((seen[0]["not_running"], seen[0]["client_id"]), (1, None))
        self.initialize()
        self.client.counter("a")
        seen.append(self.client.get_status())
        self.assertEqual((seen[1]["buffered_events"], seen[1]["dropped"], seen[1]["client_id"]), (1, {}, "client"))
        self.assertApproximates(seen[1]["since"], time.time(), 60)
        self.client.stop()
        seen.append(self.client.get_status())
        self.assertEqual([(status["state"], status["running"]) for status in seen], [
            ("uninitialized", False), ("running", True), ("stopped", False)])  # fmt: skip
        self.assertEqual(len({tuple(status) for status in seen}), 1)  # the members are always the same

    def test_status_is_documented(self) -> None:
        """Every member of the status is explained, and can be written as JSON."""
        self.initialize()
        status = self.client.get_status()
        self.assertEqual(json.loads(json.dumps(status)), status)
        explained = str(Client.get_status.__doc__)
        self.assertEqual([name for name in status if f"`{name}`" not in explained], [])

    def test_a_new_life_starts_empty(self) -> None:
        """What an earlier life could not send is not sent by the next: its account was closed."""
        self.initialize()
        self.client.counter("a")
        self.client.stop()
        self.initialize()
        self.assertEqual(self.engines[1].events(), [])


class EngineNameTests(SynchronousTestCase):
    """Engines are asked for by their names."""

    def test_no_such_engine(self) -> None:
        """A name that no engine has is refused, with those that there are, and nothing starts."""
        made = Client()
        with self.assertRaises(ValueError) as caught:
            made.initialize("app", URL, 1, "tornado")
        self.assertIn("thread, asyncio, gevent, twisted", str(caught.exception))
        self.assertEqual(made.get_status()["state"], "uninitialized")

    def test_authorities_by_the_environment(self) -> None:
        """TABA_CA_FILE is heeded by an engine that is asked for by its name."""
        self.addCleanup(os.environ.pop, "TABA_CA_FILE", None)
        os.environ["TABA_CA_FILE"] = "/nowhere.pem"
        for name in ("thread", "twisted"):
            with self.assertRaises(ValueError) as caught:
                Client().initialize("app", "https://localhost/post", 1, name)
            self.assertIn("/nowhere.pem", str(caught.exception))


class ModuleTests(SynchronousTestCase):
    """The functions of the package, which are those of the one Client that it keeps."""

    NAMES = {
        "Initialize": "initialize", "Stop": "stop", "GetStatus": "get_status", "RecordEvent": "record_event",
        "Counter": "counter", "Percentile": "percentile", "Gauge": "gauge", "Buffer": "buffer",
        "Unique": "unique",
    }  # fmt: skip

    def setUp(self) -> None:
        self.engines: list[StillEngine] = []
        client.Initialize("client", URL, engine_class=self.make_engine)
        self.addCleanup(client.Stop)

    def make_engine(self, sender: Sender, url: str) -> StillEngine:
        self.engines.append(StillEngine(sender, url))
        return self.engines[-1]

    def test_signatures(self) -> None:
        """The first client's names and parameters, in their order, and today's beside them."""
        names = (*self.NAMES, "Tab")
        found = {name: list(inspect.signature(getattr(client, name)).parameters) for name in names}
        self.assertEqual(found, {
            "Initialize": [
                "client_id", "event_post_url", "flush_period", "engine_class", "token", "token_file", "ca_file"],
            "Stop": ["timeout"],
            "GetStatus": [], "RecordEvent": ["name", "type", "value", "tab_type"], "Counter": ["name", "value"],
            "Percentile": ["name", "value"], "Gauge": ["name", "value", "expiration"],
            "Buffer": ["name", "value", "expiration"], "Tab": ["name", "type"],
            "Unique": ["name", "value"],
        })  # fmt: skip
        for old, new in self.NAMES.items():
            if old != "RecordEvent":
                self.assertEqual(getattr(client, old), getattr(client, new))

    def test_everything_is_exported(self) -> None:
        """`__all__` names what there is."""
        self.assertTrue({*self.NAMES, *self.NAMES.values(), "Tab", "Client", "timer"} <= set(client.__all__))
        self.assertEqual([name for name in client.__all__ if not hasattr(client, name)], [])

    def test_old_names(self) -> None:
        """A script for the first client runs as it is."""
        client.Counter("a")
        client.Counter("a", 100)
        client.Percentile("b", 0.5)
        client.Gauge("c", "v")
        client.Gauge("d", "v", 1400000060)
        client.Buffer("e", "v")
        client.Tab("f", "PercentileGroup").Record(7)
        client.Tab("g").Record()
        self.assertEqual(sorted(self.engines[0].events(), key=repr), [
            ("a", "CounterGroup", 1), ("a", "CounterGroup", 100), ("b", "PercentileGroup", 0.5), ("c", "Gauge", "v"),
            ("d", "ExpiryGauge", ["v", 1400000060]), ("e", "Buffer", "v"), ("f", "PercentileGroup", 7),
            ("g", "CounterGroup", 1)])  # fmt: skip

    def test_record_event_in_both_orders(self) -> None:
        """RecordEvent takes the Type before the value, and behind it as the first client did."""
        client.RecordEvent("a", "CounterGroup", 1)
        client.RecordEvent("b", 2, "CounterGroup")
        client.RecordEvent("c", "value", "Gauge")
        client.RecordEvent("d", "Gauge", "value")
        client.RecordEvent("e", "Gauge", "Gauge")
        client.RecordEvent("f", "Own", "value")
        client.RecordEvent("g", value=5, tab_type="PercentileGroup")
        client.RecordEvent("h", 6, tab_type="PercentileGroup")
        self.assertEqual(sorted(self.engines[0].events(), key=repr), [
            ("a", "CounterGroup", 1), ("b", "CounterGroup", 2), ("c", "Gauge", "value"), ("d", "Gauge", "value"),
            ("e", "Gauge", "Gauge"), ("f", "Own", "value"), ("g", "PercentileGroup", 5),
            ("h", "PercentileGroup", 6)])  # fmt: skip


class ImportTests(SynchronousTestCase):
    def modules_after(self, statement: str) -> set[str]:
        script = f"import sys; before = set(sys.modules); {statement}; print(*sorted(set(sys.modules) - before))"
        environment = {**os.environ, "PYTHONPATH": str(Path(taba.__file__).parent.parent)}
        return set(subprocess.check_output([sys.executable, "-c", script], env=environment, text=True).split())

    def foreign(self, modules: set[str]) -> list[str]:
        return sorted(
            name for name in modules
            if name.partition(".")[0] not in sys.stdlib_module_names
            and not (name == "taba" or name.startswith("taba.client"))
        )  # fmt: skip

    def test_import_is_standard_library_only(self) -> None:
        """`import taba.client` loads the standard library and taba.client itself, and neither an engine nor HTTP."""
        modules = self.modules_after("import taba.client")
        self.assertEqual(self.foreign(modules), [])
        unwanted = ("taba.client.engines", "http.client", "ssl", "asyncio", "multiprocessing", "inspect", "logging")
        self.assertEqual([name for name in unwanted if name in modules], [])

    def test_thread_engine_is_standard_library_only(self) -> None:
        """So does an application that runs the default engine."""
        self.assertEqual(self.foreign(self.modules_after("import taba.client.engines.thread")), [])

    def test_imports_in_the_source(self) -> None:
        """No module of the client but the Twisted engine names anything else, not even in a function."""
        found = set()
        for path in FOLDER.rglob("*.py"):
            if path.name == "twisted.py":
                continue
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Import):
                    found |= {alias.name for alias in node.names}
                elif isinstance(node, ast.ImportFrom):
                    self.assertEqual(node.level, 0)
                    found.add(str(node.module))
        self.assertEqual(self.foreign(found), [])

    def test_only_the_api_keeps_state(self) -> None:
        """The package's Client is the one object that a module of the client library keeps."""
        kept = []
        for path in FOLDER.rglob("*.py"):
            for node in ast.parse(path.read_text()).body:
                if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
                    kept.append(ast.unparse(node.value.func))
        constant = {"frozenset", "re.compile", "logging.getLogger", "TypeVar", "json.JSONEncoder"}
        self.assertEqual(sorted({*kept} - constant), ["Client"])
