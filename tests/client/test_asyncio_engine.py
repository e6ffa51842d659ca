"""The asyncio engine on real loops, against an agent on a real socket of this machine.

REAL: this module uses loopback sockets, forks and subprocesses. It waits for events, never for time, but where a
deadline is what is tested.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

import taba
from taba.client import Client
from taba.client.engines.asyncio import MANY_EVENTS, AsyncioEngine
from taba.client.recorder import Recorder
from taba.client.sender import Post, Sender, Wait
from tests.client.engines_contract import EngineContract
from tests.client.loopback import PATIENCE, LoopbackCase

PERIOD = 0.02  # seconds between flushes


class AsyncioContractTests(EngineContract, SynchronousTestCase):
    """What every engine keeps."""

    engine = "asyncio"


class EngineCase(LoopbackCase):
    def start(self, flush_period: float = PERIOD, timeout: float = PATIENCE, max_buffer_bytes: int = 1 << 20) -> Client:
        """A client that runs on the running loop."""
        client = Client(max_buffer_bytes=max_buffer_bytes)
        client.initialize("client", self.agent.url, flush_period, partial(AsyncioEngine, request_timeout=timeout))
        return client

    async def events(self, count: int) -> None:
        """Wait until so many events are counted, while the loop goes on."""
        await asyncio.to_thread(self.agent.wait_for_events, count)

    async def agent_reaches(self, condition: Callable[[], Any]) -> None:
        """Wait until that holds of the agent, looked at after every request."""
        await asyncio.to_thread(self.agent.wait_for, condition)


class SendingTests(EngineCase):
    def test_engine_by_name(self) -> None:
        """The engine is asked for by its name."""

        async def main() -> None:
            client = Client()
            self.assertIsNone(client.initialize("client", self.agent.url, 3600, "asyncio"))
            client.counter("a", 1)
            self.assertIs(await client.stop(PATIENCE), True)
            self.assertEqual(client.get_status()["state"], "stopped")

        asyncio.run(main())
        self.assertEqual(self.agent.values(), [1])

    def test_without_a_loop(self) -> None:
        """Where no loop runs the engine is refused, and nothing starts."""
        client = Client()
        with self.assertRaises(ValueError):
            client.initialize("client", self.agent.url, 1, "asyncio")
        self.assertEqual(client.get_status()["state"], "uninitialized")

    def test_many_events_are_encoded_elsewhere(self) -> None:
        """Few events are encoded at once; many, which takes its time, in a thread beside the loop's."""
        threads: set[str] = set()

        class Watched(Sender):
            def next_action(self, now: float) -> Post | Wait:
                threads.add(threading.current_thread().name)
                return super().next_action(now)

        async def main() -> None:
            own = threading.current_thread().name
            recorder = Recorder(time.time)
            engine = AsyncioEngine(Watched(recorder, "client", jitter=lambda: 0.0, flush_period=PERIOD), self.agent.url)
            engine.start()
            recorder.counter("a", 1)
            await self.events(1)
            self.assertEqual(threads, {own})
            for i in range(MANY_EVENTS):
                recorder.counter("a", i)
            await self.events(1 + MANY_EVENTS)
            self.assertEqual({name.partition("_")[0] for name in threads}, {own, "taba-client"})
            await _result(engine.stop(PATIENCE))

        asyncio.run(main())


async def _result(stopped: Awaitable[bool] | bool) -> bool:
    return stopped if isinstance(stopped, bool) else await stopped


class FaultTests(EngineCase):
    def test_stop_with_an_agent_that_hangs(self) -> None:
        """An agent that never answers cannot hold up Stop, nor spoil the client's next life."""

        async def main() -> None:
            client = self.start()
            client.counter("a", 1)
            await self.events(1)
            self.agent.hold.clear()
            client.counter("a", 2)
            await self.events(2)
            self.assertIs(await client.stop(0.1), False)
            self.assertEqual([task.get_name() for task in asyncio.all_tasks()], [asyncio.current_task().get_name()])  # type: ignore[union-attr]
            client.initialize("client", self.agent.url, PERIOD, "asyncio")
            client.counter("a", 3)
            self.agent.hold.set()
            await self.events(3)
            self.assertIs(await client.stop(PATIENCE), True)

        asyncio.run(main())
        self.assertEqual(self.agent.values(), [1, 2, 3])

    def test_an_error_does_not_end_the_task(self) -> None:
        """Should the library itself fail, it logs that and goes on."""

        class Failing(Sender):
            failures = 1

            def next_action(self, now: float) -> Post | Wait:
                if self.failures:
                    self.failures -= 1
                    raise RuntimeError("a defect")
                return super().next_action(now)

        async def main() -> None:
            recorder = Recorder(time.time)
            engine = AsyncioEngine(Failing(recorder, "client", jitter=lambda: 0.0, flush_period=PERIOD), self.agent.url)
            engine.start()
            recorder.counter("a", 1)
            await asyncio.sleep(0)
            engine._wake.set()
            await self.events(1)
            await _result(engine.stop(PATIENCE))

        asyncio.run(main())


class LoopTests(EngineCase):
    """What becomes of a client whose loop ends before it."""

    def run_and_leave(self, main: Callable[[], Coroutine[Any, Any, Client]]) -> Client:
        """The client of a loop that ended without Stop."""
        client = asyncio.run(main())
        self.addCleanup(client.stop, 0.0)
        return client

    async def record_one(self) -> Client:
        client = self.start(flush_period=3600)
        await asyncio.sleep(0)
        client.counter("a", 1)
        return client

    def test_stop_after_the_loop(self) -> None:
        """A client that outlives its loop goes on recording, and Stop sends what there is."""
        client = self.run_and_leave(self.record_one)
        client.counter("a", 2)
        self.assertIs(client.stop(PATIENCE), True)
        self.assertEqual(self.agent.values(), [1, 2])

    def test_stop_in_another_loop(self) -> None:
        """Stop in a later loop does not hold that up, and sends what there is."""
        client = self.run_and_leave(self.record_one)

        async def main() -> None:
            self.assertIs(await client.stop(PATIENCE), True)

        asyncio.run(main())
        self.assertEqual(self.agent.values(), [1])

    def test_stop_after_the_loop_without_agent(self) -> None:
        """Stop keeps its deadline there, too."""
        client = self.run_and_leave(self.record_one)
        self.agent.stop()
        began = time.monotonic()
        self.assertIs(client.stop(0.2), False)
        self.assertLess(time.monotonic() - began, PATIENCE / 2)

    def test_cut_off_in_a_request(self) -> None:
        """A batch that was on its way when its loop ended is sent again under its number, and counts once."""

        async def main() -> Client:
            client = self.start()
            client.counter("a", 1)
            await self.events(1)
            self.agent.hold.clear()
            client.counter("a", 2)
            await self.events(2)
            return client

        client = self.run_and_leave(main)
        self.agent.hold.set()
        self.assertIs(client.stop(PATIENCE), True)
        self.assertEqual(self.agent.values(), [1, 2])

    def test_pressure_without_a_loop(self) -> None:
        """Recording under pressure after the end of the loop does no harm."""

        async def main() -> Client:
            return self.start(flush_period=3600, max_buffer_bytes=40_000)

        client = self.run_and_leave(main)
        for i in range(300):
            client.counter("a", i)
        self.assertEqual(client.get_status()["dropped"], {})
        self.assertIs(client.stop(PATIENCE), True)
        self.assertEqual(len(self.agent.values()), 300)

    def test_stop_after_the_task_was_cancelled(self) -> None:
        """An application that cancels every task it finds can still stop its client."""

        async def main() -> None:
            client = self.start(flush_period=3600)
            await asyncio.sleep(0)
            client.counter("a", 1)
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            self.assertIs(await client.stop(PATIENCE), True)

        asyncio.run(main())
        self.assertEqual(self.agent.values(), [1])

    def test_stop_from_another_thread(self) -> None:
        """Stop may be called in another thread than the loop's, and waits there."""

        async def main() -> None:
            client = self.start(flush_period=3600)
            client.counter("a", 1)
            self.assertIs(await asyncio.to_thread(client.stop, PATIENCE), True)

        asyncio.run(main())
        self.assertEqual(self.agent.values(), [1])


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
    def test_fork_starts_empty(self) -> None:
        """What the parent had not sent at a fork is sent by the parent alone, and its connection is left alone; the
        child, without a loop, has an instance and a connection of its own.
        """

        async def main() -> None:
            client = self.start()
            client.counter("a", 1)
            await self.events(1)
            client.counter("a", 2)

            def work() -> None:
                assert client.get_status()["buffered_events"] == 0
                client.counter("a", 3)
                assert client.stop(PATIENCE) is True

            self.assertEqual(_in_child(work), 0)
            client.counter("a", 4)
            await self.events(4)
            self.assertIs(await client.stop(PATIENCE), True)

        asyncio.run(main())
        self.assertEqual(self.agent.values(), [1, 2, 3, 4])
        self.assertEqual((len(self.agent.agent.numbers), self.agent.connections), (2, 2))

    def test_fork_in_the_middle_of_a_request(self) -> None:
        """A fork while a request is out confuses neither process; a child that recorded nothing just stops."""

        async def main() -> None:
            client = self.start()
            client.counter("a", 1)
            await self.events(1)
            self.agent.hold.clear()
            client.counter("a", 2)
            await self.events(2)

            def work() -> None:
                assert client.stop(PATIENCE) is True

            self.assertEqual(_in_child(work), 0)
            self.agent.hold.set()
            client.counter("a", 3)
            await self.events(3)
            await client.stop(PATIENCE)

        asyncio.run(main())
        self.assertEqual((self.agent.values(), self.agent.connections), ([1, 2, 3], 1))

    def test_loop_of_a_child(self) -> None:
        """A child that runs a loop of its own records and stops there."""

        async def main() -> None:
            client = self.start()
            client.counter("a", 1)
            await self.events(1)

            async def in_child() -> None:
                client.counter("a", 2)
                assert await client.stop(PATIENCE) is True

            def work() -> None:
                runner = threading.Thread(target=lambda: results.append(asyncio.run(in_child())))
                results: list[None] = []
                runner.start()
                runner.join()
                assert results == [None]

            self.assertEqual(_in_child(work), 0)
            await client.stop(PATIENCE)

        asyncio.run(main())
        self.assertEqual(self.agent.values(), [1, 2])


class ExitTests(EngineCase):
    def run_script(self, script: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-W", "error", "-c", textwrap.dedent(script), self.agent.url],
            env={**os.environ, "PYTHONPATH": str(Path(taba.__file__).parent.parent)},
            capture_output=True, text=True, timeout=PATIENCE, check=False,
        )  # fmt: skip

    def test_exit_flushes(self) -> None:
        """A process that just ends has sent what it recorded, in its loop and after it."""
        ended = self.run_script("""
            import asyncio, sys
            from taba import client

            async def main():
                client.initialize("script", sys.argv[1], 3600, "asyncio")
                for i in range(5000):
                    client.counter("a", i)

            asyncio.run(main())
            client.counter("a", 5000)
        """)
        self.assertEqual((ended.returncode, ended.stderr), (0, ""))
        self.assertEqual(sorted(event.payload for event in self.agent.agent.events), list(range(5001)))

    def test_exit_with_a_stop_that_was_not_awaited(self) -> None:
        """So has one that called Stop at the end of its loop and did not wait for it."""
        ended = self.run_script("""
            import asyncio, sys
            from taba import client

            async def main():
                client.initialize("script", sys.argv[1], 3600, "asyncio")
                client.counter("a", 1)
                client.stop()

            asyncio.run(main())
        """)
        self.assertEqual((ended.returncode, ended.stderr, self.agent.values()), (0, "", [1]))
