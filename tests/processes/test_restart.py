"""A server that ends, in any way, and starts again on the same folder; and what keeps one from starting.

REAL: server processes on loopback, signals, and a mount where that is permitted.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.processes.asking import Event, ask, body, counters
from tests.processes.mounting import mount, unmount
from tests.processes.running import TWISTD, RealProcess, ServerProcess, Stage, start_all
from tests.processes.surroundings import PATIENCE, free_port, memory_of, until

USED = ("re=1&name=used", "re=1&name=used&raw=1")
"""Parameters that select what the tests record, and not the server's own tabs: rendered, and byte by byte."""


def fill(server: ServerProcess) -> None:
    """Events of all Types, of several clients; none of them leaves a window in the next half a minute."""
    now = time.time()
    for client in ("client-1", "client-2"):
        tabs: dict[str, list[Event]] = {
            "used_counter": [("CounterGroup", now - n % 10, n) for n in range(50)],
            "used_percentile": [("PercentileGroup", now - n % 10, n / 7) for n in range(500)],
            "used_gauge": [("Gauge", now, client)],
            f"used_{client}": [("CounterGroup", now - 3 * 3600, -0.125)],
        }
        answer = server.post(body(client, tabs))
        assert (answer.status, answer.text) == (200, ""), answer
    server.wait_for_count("used_counter", 100)
    server.wait_for(lambda: server.json("/status")["total_tasks"] == 0, "everything is folded")


def everything(server: ServerProcess) -> dict[str, str]:
    """What a server knows of what the tests recorded. The raw States do not depend on the time of asking."""
    asked = {f"{path}?{parameters}" for path in ("/tabs", "/projection") for parameters in USED}
    asked |= {"/names?re=1&name=used", "/types?re=1&name=used", "/clients?re=1&client=client"}
    answers = {path: server.ask(path) for path in sorted(asked)}
    assert all(answer.status == 200 for answer in answers.values()), answers
    return {path: answer.text for path, answer in answers.items()}


class RestartTests(SynchronousTestCase):
    """One server after the other on one folder."""

    def setUp(self) -> None:
        self.stage = Stage()
        self.addCleanup(self.stage.close)

    def test_every_number_is_unchanged(self) -> None:
        """After SIGTERM, and after kill -9, a server shows every number as before, to the last byte of the States."""
        server = self.stage.server()
        start_all(server)
        fill(server)
        before = everything(server)
        self.assertIn('used_gauge: {"client-1": 1, "client-2": 1}', before["/tabs?re=1&name=used"])
        self.assertEqual(server.stop(), 0)
        start_all(server)
        self.assertEqual(everything(server), before)
        server.kill()
        start_all(server)
        self.assertEqual(everything(server), before)

    def test_answered_is_kept(self) -> None:
        """What was answered 200 the moment before the end is there after the next start, once, however it ended."""
        server = self.stage.server()
        start_all(server)
        for count, (number, status) in enumerate(((signal.SIGKILL, -signal.SIGKILL), (signal.SIGTERM, 0)), 1):
            self.assertEqual(server.post(counters("client", "used", [1])).status, 200)
            server.send(number)
            self.assertEqual(server.ended(), status)
            start_all(server)
            server.wait_for_count("used", count)

    def test_one_process_per_folder(self) -> None:
        """A second server on a folder says that it is in use and ends with a failure; the first one goes on."""
        server = self.stage.server()
        start_all(server)
        fill(server)
        second = self.stage.server(name="second", folder=server.folder)
        self.assertEqual(second.run(), 1)
        self.assertIn("taba-data is in use by another Taba process", second.output())
        self.assertNotIn("Traceback", second.output())
        self.assertEqual(server.post(counters("client", "used", [1])).status, 200)
        server.wait_for_count("used", 1)

    def test_daemon(self) -> None:
        """Without -n the server works in the background, with its files where it was started, until SIGTERM."""
        place, port, agent_port = self.stage.place("daemon"), free_port(), free_port()
        command = self.stage.command(
            "daemon", *TWISTD, "taba-server", "--port", str(port), "--agent-port", str(agent_port)
        )
        self.assertEqual(command.run(), 0, command.tail())
        pid_file, log = place / "twistd.pid", place / "twistd.log"
        self.addCleanup(end_daemon, pid_file)
        until(lambda: log.exists() and "Ready." in log.read_text(), PATIENCE, lambda: f"ready\n{listing(place)}")
        pid = int(pid_file.read_text())
        self.assertEqual(ask(agent_port, "/post", counters("client", "used", [1, 2])).status, 200)
        until(lambda: "used: " in ask(port, "/tabs?name=used").text, PATIENCE, "the events are visible")
        self.assertEqual(sorted(each.name for each in place.iterdir()), ["taba-data", "twistd.log", "twistd.pid"])
        self.assertGreater(memory_of(pid), 0)
        os.kill(pid, signal.SIGTERM)
        until(lambda: not pid_file.exists(), PATIENCE, lambda: f"the daemon ends\n{listing(place)}")
        self.assertIn("Server Shut Down", log.read_text())


def listing(place: Path) -> str:
    """The files of a folder, and the log of a daemon in it, for people."""
    log = place / "twistd.log"
    return f"{sorted(each.name for each in place.iterdir())}\n{log.read_text() if log.exists() else 'no log'}"


def end_daemon(pid_file: Path) -> None:
    """Kill a daemon that a failed test has left."""
    if pid_file.exists():
        os.kill(int(pid_file.read_text()), signal.SIGKILL)


class CannotStartTests(SynchronousTestCase):
    """What keeps a server from starting is said in a sentence, and the status is not 0."""

    def setUp(self) -> None:
        self.stage = Stage()
        self.addCleanup(self.stage.close)
        self.server = self.stage.server()

    def assertCannotStart(self, sentence: str) -> None:
        """The server ends with status 1 and this sentence, and without a traceback."""
        status = self.server.run()
        self.assertIn(f"Taba cannot start: {sentence}", self.server.output())
        self.assertEqual(status, 1)
        self.assertNotIn("Traceback", self.server.output())

    def test_port_in_use(self) -> None:
        """A port that another program has is named, be it the server's own or the applications'."""
        for port in (self.server.port, self.server.agent_port):
            with socket.socket() as other:
                other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                other.bind(("127.0.0.1", port))
                other.listen()
                self.assertCannotStart(f"Cannot listen on 127.0.0.1:{port}: ")
        start_all(self.server)

    def test_file_in_the_way(self) -> None:
        """A file where the folder should be is named."""
        (self.server.folder / "taba-data").write_text("a letter")
        self.assertCannotStart(f"The folder {self.server.folder / 'taba-data'}")
        self.assertIn(f"cannot be used: File exists: {self.server.folder / 'taba-data'}", self.server.output())
        self.assertEqual((self.server.folder / "taba-data").read_text(), "a letter")

    def test_read_only_disk(self) -> None:
        """A folder on a disk that is mounted read-only is named."""
        disk = self.stage.place("disk")
        mount("-t", "tmpfs", "-o", "ro,size=1m", "tmpfs", str(disk))
        self.stage.clean_up.append(lambda: unmount(disk))
        self.server = self.stage.server("--data-dir", str(disk / "data"), name="on-disk")
        self.assertCannotStart(f"The folder {disk / 'data'}")
        self.assertIn("cannot be used: Read-only file system", self.server.output())

    def test_what_is_no_database(self) -> None:
        """A folder whose database is something else is named, and nothing in it is changed."""
        data = self.server.folder / "taba-data"
        data.mkdir()
        (data / "store.db").write_bytes(b"a letter to nobody in particular " * 100)
        self.assertCannotStart("The store cannot be opened: ")
        self.assertIn(str(data), self.server.output())
        self.assertEqual((data / "store.db").read_bytes(), b"a letter to nobody in particular " * 100)


HANGS = """
import threading, time
from taba.real import end_at_last
threading.Thread(target=time.sleep, args=(600,)).start()
end_at_last()
"""


class HangingTests(SynchronousTestCase):
    """The end of a process that was told to end, and of which a part never comes to rest."""

    def test_a_thread_that_hangs(self) -> None:
        """A thread that waits for a disk that is gone does not keep the process, which ends with status 0."""
        stage = Stage()
        self.addCleanup(stage.close)
        process: RealProcess = stage.command("hangs", "-c", HANGS)
        process.start()
        self.assertEqual(process.ended(), 0)
