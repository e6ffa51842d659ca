"""An application on one of the engines, in a process of its own: what `engines_contract` runs.

    python -m tests.client.engine_program ENGINE SCENARIO URL

A scenario is one coroutine for all engines. What differs, how to run it, to pause and to wait for `stop`, is in a `Run`
for each of them. The last line that a process writes is what the scenario returned, as JSON.

REAL: threads, forks, processes and real time.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import select
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from importlib import import_module
from typing import Any

from taba.client import Client
from taba.client.api import engine_named

PATIENCE = 60.0  # seconds that anything may take
PERIOD = 0.02  # seconds between flushes
NEVER = 3600.0  # between flushes, where nothing is to be sent by itself

Scenario = Callable[["Run"], Coroutine[Any, Any, Any]]


class Run:
    """The thread engine; others differ where they say so."""

    def __init__(self, engine: str, url: str) -> None:
        self.engine = engine
        self.url = url
        self.client = Client()

    def run(self, scenario: Scenario) -> Any:
        """Run a scenario to its end; what it returned."""
        try:
            scenario(self).send(None)
        except StopIteration as end:
            return end.value
        raise AssertionError("nothing here waits but by waiting")

    async def pause(self, seconds: float) -> None:
        """Let time pass, and the engine run."""
        time.sleep(seconds)

    async def stop(self, timeout: float = PATIENCE) -> bool:
        """Stop the client."""
        stopped: bool = self.client.stop(timeout)
        return stopped

    def start(self, flush_period: float = PERIOD, client: str = "program", **settings: Any) -> Client:
        """Start the client; `settings` are those of the engine."""
        engine = partial(engine_named(self.engine), **settings) if settings else self.engine
        self.client.initialize(client, self.url, flush_period, engine)
        return self.client

    async def wait_for(self, condition: Callable[[], Any]) -> None:
        """Wait until something holds."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError(f"it did not come to that: {self.client.get_status()}")
            await self.pause(0.005)


class GeventRun(Run):
    """Pauses as gevent does."""

    async def pause(self, seconds: float) -> None:
        import_module("gevent").sleep(seconds)


class AsyncioRun(Run):
    """Runs a loop."""

    def run(self, scenario: Scenario) -> Any:
        return asyncio.run(scenario(self))

    async def pause(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def stop(self, timeout: float = PATIENCE) -> bool:
        stopped: Awaitable[bool] = self.client.stop(timeout)
        return await stopped


class TwistedRun(AsyncioRun):
    """Runs the global reactor."""

    def run(self, scenario: Scenario) -> Any:
        from twisted.internet import reactor, task
        from twisted.internet.defer import Deferred
        from twisted.logger import globalLogBeginner, textFileLogObserver

        globalLogBeginner.beginLoggingTo([textFileLogObserver(sys.stderr)], redirectStandardIO=False)
        results: list[Any] = []

        async def main(_: Any) -> None:
            results.append(await Deferred.fromCoroutine(scenario(self)))

        try:
            task.react(lambda _: Deferred.fromCoroutine(main(_)), (), reactor)
        except SystemExit as end:
            if end.code:
                raise
        return results[0]

    async def pause(self, seconds: float) -> None:
        from twisted.internet import reactor, task

        clock: Any = reactor
        await task.deferLater(clock, seconds)


RUNS: dict[str, type[Run]] = {"thread": Run, "gevent": GeventRun, "asyncio": AsyncioRun, "twisted": TwistedRun}


# -- scenarios ---------------------------------------------------------------------------------------------------------


def _record(client: Client, start: int, end: int) -> None:
    for number in range(start, end):
        client.counter(f"tab{number % 7}", number)


async def load(run: Run) -> Any:
    """Forty thousand events of the program's own and of three threads, with a small buffer."""
    run.client = Client(max_buffer_bytes=4 << 20)
    client = run.start(NEVER)
    threads = [threading.Thread(target=_record, args=(client, i, i + 10_000)) for i in (10_000, 20_000, 30_000)]
    for thread in threads:
        thread.start()
    for start in range(0, 10_000, 500):
        _record(client, start, start + 500)
        await run.pause(0)
    await run.wait_for(lambda: not any(thread.is_alive() for thread in threads))
    return await run.stop(), client.get_status()


async def steadily(run: Run) -> Any:
    """Ten thousand events in small portions, and then some more, until nothing more comes from the standard input, and
    an attempt has failed: which of them do depends on what was under way when the agent changed its mind.
    """
    client, count = run.start(), 0

    def enough() -> bool:
        nonlocal count
        more = 250 if count < 10_000 else 10
        _record(client, count, count + more)
        count += more
        told = bool(select.select([sys.stdin], [], [], 0)[0])
        return told and count >= 10_000 and client.get_status()["failed_attempts"] >= 1

    await run.wait_for(enough)
    return await run.stop(), client.get_status(), count


async def impatiently(run: Run) -> Any:
    """Three events, one after the other, by an engine that waits a fifth of a second for an answer."""
    client = run.start(request_timeout=0.2)
    for number in range(3):
        client.counter("a", number)
        await run.pause(0.05)
    await run.wait_for(lambda: client.get_status()["acknowledged"] == 3)
    return await run.stop(), client.get_status()


async def hold_on(run: Run) -> Any:
    """Record while the agent holds back an answer; the program goes on all the time, and stops in time."""
    client = run.start()
    client.counter("a", 0)
    await run.wait_for(lambda: client.get_status()["sent"])
    for number in range(1, 1000):
        client.counter("a", number)
        if number % 100 == 0:
            await run.pause(0)
    before = time.monotonic()
    stopped = await run.stop(0.3)
    return stopped, time.monotonic() - before, client.get_status()


async def press(run: Run) -> Any:
    """Fill a small buffer, long before the next flush."""
    run.client = Client(max_buffer_bytes=20_000)
    client = run.start(NEVER)
    await run.pause(0.05)
    before = time.monotonic()
    _record(client, 0, 100)
    await run.wait_for(lambda: client.get_status()["acknowledged"] >= 60)
    await run.stop()
    return time.monotonic() - before


async def leave(run: Run) -> Any:
    """End without a word."""
    client = run.start(NEVER)
    await run.pause(0)
    _record(client, 0, 3000)


async def give_up(run: Run) -> Any:
    """End without a word, where nobody listens."""
    client = run.start()
    client.counter("a")
    await run.wait_for(lambda: client.get_status()["failed_attempts"])
    assert client.get_status()["agent_reachable"] is False
    setattr(import_module(f"taba.client.engines.{run.engine}"), "EXIT_TIMEOUT", 0.3)  # noqa: B010


async def stop_in_vain(run: Run) -> Any:
    """Stop, where nobody listens."""
    client = run.start()
    client.counter("a")
    before = time.monotonic()
    stopped = await run.stop(0.3)
    return stopped, time.monotonic() - before, client.get_status()


async def again(run: Run) -> Any:
    """Stop and start in one process, three times; between two of them nothing is recorded."""
    results = []
    for number in range(3):
        client = run.start(NEVER)
        client.counter("a", number)
        results.append((await run.stop(), client.get_status()["acknowledged"]))
        client.counter("a", -1)
    return results


async def fork(run: Run) -> Any:
    """Fork with events unsent and a connection open; child and grandchild record, too, and stop."""
    client = run.start()
    client.counter("a", 0)
    await run.wait_for(lambda: client.get_status()["acknowledged"])
    client.counter("a", 1)

    def grandchild() -> None:
        client.counter("a", 3)
        assert _stopped(client)

    def child() -> None:
        assert client.get_status()["buffered_events"] == 0
        assert client.get_status()["instance"] is None
        client.counter("a", 2)
        assert _in_child(grandchild) == 0
        assert _stopped(client)

    def silent() -> None:
        assert _stopped(client)
        client.counter("a", -1)

    codes = [_in_child(silent), _in_child(child)]
    client.counter("a", 4)
    return codes, await run.stop(), client.get_status()["acknowledged"]


def _stopped(client: Client) -> Any:
    stopped: Any = client.stop(PATIENCE)
    return getattr(stopped, "result", stopped)  # of a Deferred


def _in_child(work: Callable[[], None]) -> int:
    """Fork, do `work` in the child, and give the child's exit code."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


async def multiprocessing_fork(run: Run) -> Any:
    """A child of multiprocessing that is forked, records and ends."""
    client = run.start(NEVER)
    await run.pause(0)
    client.counter("a", 1)
    code = await _ended(run, multiprocessing.get_context("fork").Process(target=client.counter, args=("a", 2)))
    return code, await run.stop(), client.get_status()["acknowledged"]


async def multiprocessing_spawn(run: Run) -> Any:
    """A child of multiprocessing that is started anew, and has a client of its own."""
    client = run.start(NEVER)
    client.counter("a", 1)
    process = multiprocessing.get_context("spawn").Process(target=spawned, args=(run.engine, run.url))
    return await _ended(run, process), await run.stop(), client.get_status()["acknowledged"]


async def _ended(run: Run, process: Any) -> int | None:
    process.start()
    await run.wait_for(lambda: not process.is_alive())
    code: int | None = process.exitcode
    return code


def spawned(engine: str, url: str) -> None:
    """What the started child does."""
    run = RUNS[engine](engine, url)

    async def main(run: Run) -> None:
        run.start(NEVER, "spawned").counter("a", 2)
        await run.pause(0)

    run.run(main)


async def status(run: Run) -> Any:
    """What the status says before, while and after."""
    seen = [run.client.get_status()]
    client = run.start()
    client.counter("a")
    client.counter("bad name")
    await run.wait_for(lambda: client.get_status()["acknowledged"])
    seen.append(client.get_status())
    await run.stop()
    return [*seen, client.get_status()]


SCENARIOS: dict[str, Scenario] = {
    scenario.__name__: scenario
    for scenario in (
        load, steadily, press, impatiently, hold_on, leave, give_up, stop_in_vain, again, fork, multiprocessing_fork,
        multiprocessing_spawn, status,
    )
}  # fmt: skip


if __name__ == "__main__":
    _, engine_name, scenario_name, agent_url = sys.argv
    program = RUNS[engine_name](engine_name, agent_url)
    print(json.dumps(program.run(SCENARIOS[scenario_name])))
