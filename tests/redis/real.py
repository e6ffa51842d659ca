"""Starts real redis-server and redis-sentinel processes on free ports, in a temporary folder, and breaks them.

    with Servers() as servers:
        cluster = servers.cluster("shard1", replicas=2, sentinels=3)
        cluster.master().kill()

REAL: processes, sockets and time. Whatever is waited for is asked of the servers; nothing is taken for granted because
some time has passed. Tests skip themselves where there is no redis-server: `skip = missing()`.
"""

from __future__ import annotations

import atexit
import ctypes
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from attrs import define, field
from hiredis import Reader, pack_command

from tests.processes.surroundings import PATIENCE, free_port, until

ASK_SECONDS = 5.0
PR_SET_PDEATHSIG = 1
DOWN_AFTER = 2000  # milliseconds, as docs recommend


def missing() -> str | None:
    """Why tests on real servers cannot run here; None when they can."""
    absent = [name for name in ("redis-server", "redis-sentinel") if shutil.which(name) is None]
    return f"there is no {' and no '.join(absent)} here" if absent else None


def _die_with_parent() -> None:
    """Runs in the child: a test run that is killed leaves no servers behind."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


@define(eq=False)
class RedisProcess:
    """A redis-server, or a redis-sentinel: it may be ended and started again, on its port and with its files."""

    name: str
    folder: Path
    settings: list[str]
    """Lines of its configuration file, but for port and folder."""
    program: str = "redis-server"
    port: int = field(factory=free_port)
    password: tuple[str, ...] = ()
    """With which `ask` comes in: (password,) or (user, password)."""
    _popen: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens, without TLS."""
        return "127.0.0.1", self.port

    @property
    def log(self) -> Path:
        """What it writes, of all its lives."""
        return self.folder.with_suffix(".log")

    def start(self) -> RedisProcess:
        """Start it; it is not waited for."""
        self.folder.mkdir(exist_ok=True)
        file = self.folder / "redis.conf"
        if not file.exists():  # servers and Sentinels write to theirs what they have to remember
            lines = [f"port {self.port}", f"dir {self.folder}", "bind 127.0.0.1", *self.settings]
            file.write_text("\n".join(lines) + "\n")
        with open(self.log, "ab") as log:
            self._popen = subprocess.Popen(
                [self.program, str(file)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=_die_with_parent,
            )
        return self

    @property
    def alive(self) -> bool:
        """Whether it runs (or is stopped by a signal)."""
        return self._popen is not None and self._popen.poll() is None

    def kill(self) -> None:
        """Kill -9, if it runs."""
        if self._popen is not None:
            self._popen.kill()
            self._popen.wait()

    def stop(self) -> None:
        """SIGSTOP: it hangs, with its connections open."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)

    def restart(self) -> None:
        """Kill -9, start, and wait until it answers."""
        self.kill()
        self.start()
        self.ready()

    def _signal(self, number: signal.Signals) -> None:
        assert self._popen is not None, f"{self.name} was not started"
        self._popen.send_signal(number)

    def ask(self, *command: str | bytes | int) -> Any:
        """The reply to one command, on a connection of its own; error replies are answered, not raised. OSError when
        there is no answer within ASK_SECONDS.
        """
        with socket.create_connection(self.address, timeout=ASK_SECONDS) as connection:
            commands = [("AUTH", *self.password)] if self.password else []
            reply: Any = None
            reader = Reader()
            for each in (*commands, command):
                connection.sendall(pack_command(each))  # type: ignore[arg-type]
                reply = reader.gets()
                while reply is False:
                    received = connection.recv(65536)
                    if not received:
                        raise OSError(f"{self.name} closed the connection")
                    reader.feed(received)
                    reply = reader.gets()
            return reply

    def fields(self, *command: str) -> dict[str, str]:
        """The reply to INFO, or to a command that answers names and values in turn."""
        reply = self.ask(*command)
        if isinstance(reply, bytes):
            return dict(line.split(":", 1) for line in reply.decode().splitlines() if ":" in line)
        texts = [each.decode() for each in reply] if isinstance(reply, list) else []
        return dict(zip(texts[::2], texts[1::2], strict=True))

    def ready(self, within: float = PATIENCE) -> RedisProcess:
        """Wait until it answers, and has read its data."""
        self.wait_for(lambda: self.ask("PING") == b"PONG", "answers", within)
        return self

    def wait_for(self, condition: Any, what: str, within: float = PATIENCE) -> None:
        """Wait until `condition()` is true; OSErrors are no answer. AssertionError, with its log, after that time."""

        def looked() -> bool:
            assert self.alive, f"{self.name} has ended\n{self.tail()}"
            try:
                return bool(condition())
            except OSError:
                return False

        until(looked, within, lambda: f"{self.name} {what}\n{self.tail()}")

    def tail(self) -> str:
        """The end of its log, for people."""
        return "\n".join(self.log.read_text("utf-8", "replace").splitlines()[-30:]) if self.log.exists() else ""


@define(eq=False)
class Cluster:
    """Shards, each a master with its replicas, and the Sentinels that watch all of them."""

    shards: dict[str, list[RedisProcess]]
    sentinels: list[RedisProcess]

    def sentinel_addresses(self) -> list[tuple[str, int]]:
        """As settings have them."""
        return [each.address for each in self.sentinels]

    def master(self, shard: str = "shard1") -> RedisProcess:
        """The process that the first living Sentinel names."""
        for sentinel in self.sentinels:
            try:
                named = sentinel.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", shard)
            except OSError:
                continue
            return next(each for each in self.shards[shard] if each.port == int(named[1]))
        raise AssertionError("no Sentinel answers")

    def settle(self, within: float = PATIENCE) -> None:
        """Wait until every process runs, each master has all its replicas, and all Sentinels know and agree on it."""
        for process in [*self.sentinels, *(each for shard in self.shards.values() for each in shard)]:
            if not process.alive:
                process.start()
            process.ready()
        for shard, servers in self.shards.items():
            for sentinel in self.sentinels:
                sentinel.wait_for(lambda: self._settled(sentinel, shard, len(servers) - 1), f"knows {shard}", within)  # noqa: B023 - called at once

    def _settled(self, sentinel: RedisProcess, shard: str, replicas: int) -> bool:
        master, row = self.master(shard), sentinel.fields("SENTINEL", "MASTER", shard)
        info = master.fields("INFO", "replication")
        online = sum(key.startswith("slave") and "state=online" in value for key, value in info.items())
        rows = [_texts(each) for each in sentinel.ask("SENTINEL", "REPLICAS", shard)]
        healthy = sum(each["flags"] == "slave" and each["master-link-status"] == "ok" for each in rows)
        return (
            info["role"] == "master"
            and int(row["port"]) == master.port
            and row["flags"] == "master"
            and online == healthy == replicas
            and int(row["num-other-sentinels"]) == len(self.sentinels) - 1
        )


def _texts(row: Sequence[bytes]) -> dict[str, str]:
    texts = [each.decode() for each in row]
    return dict(zip(texts[::2], texts[1::2], strict=True))


@define(eq=False)
class Servers:
    """A temporary folder and the processes started in it; `close` ends them, and so does the end of the test run."""

    folder: Path = field(factory=lambda: Path(tempfile.mkdtemp(prefix="taba-redis-")).resolve())
    processes: list[RedisProcess] = field(factory=list, init=False)

    def __attrs_post_init__(self) -> None:
        atexit.register(self.close)

    def __enter__(self) -> Servers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Kill everything and remove the folder. Idempotent."""
        atexit.unregister(self.close)
        for each in self.processes:
            each.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def server(self, name: str = "server", *settings: str, password: tuple[str, ...] = ()) -> RedisProcess:
        """A redis-server, started, with lines of configuration beside the usual: everything kept in an AOF."""
        lines = ["appendonly yes", 'save ""', "repl-diskless-sync-delay 0", "repl-ping-replica-period 1", *settings]
        return self._add(RedisProcess(name, self.folder / name, lines, password=password))

    def sentinel(self, name: str, masters: Mapping[str, RedisProcess], quorum: int, *settings: str) -> RedisProcess:
        """A redis-sentinel, started, that watches masters under their names."""
        lines = list(settings)
        for shard, master in masters.items():
            lines += [
                f"sentinel monitor {shard} 127.0.0.1 {master.port} {quorum}",
                f"sentinel down-after-milliseconds {shard} {DOWN_AFTER}",
                f"sentinel failover-timeout {shard} 6000",
            ]
            if master.password:
                lines.append(f"sentinel auth-pass {shard} {master.password[-1]}")
        return self._add(RedisProcess(name, self.folder / name, lines, "redis-sentinel"))

    def cluster(self, *shards: str, replicas: int = 2, sentinels: int = 3) -> Cluster:
        """Shards under Sentinels, all settled."""
        started: dict[str, list[RedisProcess]] = {}
        for shard in shards:
            master = self.server(f"{shard}-0").ready()
            copies = [self.server(f"{shard}-{i + 1}", f"replicaof 127.0.0.1 {master.port}") for i in range(replicas)]
            for copy in copies:
                copy.wait_for(
                    lambda copy=copy: copy.fields("INFO", "replication").get("master_link_status") == "up", "follows"
                )
            started[shard] = [master, *copies]
        masters = {shard: servers[0] for shard, servers in started.items()}
        watching = [self.sentinel(f"sentinel-{i}", masters, sentinels // 2 + 1) for i in range(sentinels)]
        cluster = Cluster(started, watching)
        cluster.settle()
        return cluster

    def _add(self, process: RedisProcess) -> RedisProcess:
        self.processes.append(process)
        return process.start()
