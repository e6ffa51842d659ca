"""The stopwatch."""

from __future__ import annotations

import asyncio
import functools
import gc
from collections.abc import AsyncIterator, Iterator
from itertools import count

from twisted.internet.defer import Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase

from taba.client import Client
from taba.client.timer import Timer


class TimerTests(SynchronousTestCase):
    """The clock goes on by a quarter of a second whenever it is looked at."""

    def setUp(self) -> None:
        self.durations: list[tuple[str, object]] = []
        self.counts: list[str] = []
        clock: Iterator[float] = (0.25 * i for i in count())
        self.timer = Timer(
            lambda name, value: self.durations.append((name, value)), self.counts.append, "t_ms", clock.__next__
        )

    def test_block(self) -> None:
        """A block's duration is recorded in milliseconds."""
        with self.timer:
            self.assertEqual(self.durations, [])
        self.assertEqual((self.durations, self.counts), ([("t_ms", 250.0)], []))

    def test_block_that_raises(self) -> None:
        """A block that raises is measured and counted, and its exception goes on."""
        with self.assertRaises(KeyError), self.timer:
            dict[str, int]()["missing"]
        self.assertEqual((self.durations, self.counts), ([("t_ms", 250.0)], ["t_ms_exceptions"]))

    def test_async_block(self) -> None:
        """`async with` measures like `with`; what is awaited in it is part of it."""
        gate: Deferred[None] = Deferred()

        async def wait() -> None:
            async with self.timer:
                await gate

        result = Deferred.fromCoroutine(wait())
        self.assertEqual(self.durations, [])
        gate.errback(KeyError())
        self.failureResultOf(result, KeyError)
        self.assertEqual((self.durations, self.counts), ([("t_ms", 250.0)], ["t_ms_exceptions"]))

    def test_functions_that_yield(self) -> None:
        """A function that yields is refused where it is decorated, with what to do instead."""

        def numbers() -> Iterator[int]:
            yield 1

        async def later() -> AsyncIterator[int]:
            yield 1

        class Numbers:
            def __call__(self) -> Iterator[int]:
                yield 1

        for function in (numbers, later, Numbers(), functools.partial(numbers)):
            with self.assertRaises(TypeError) as refused:
                self.timer(function)
            self.assertIn("yields", str(refused.exception))
            self.assertIn("`with client.timer(...)` in it", str(refused.exception))
        self.assertEqual(self.durations, [])

    def test_function(self) -> None:
        """A function is measured at each call, and keeps its name and its result."""

        @self.timer
        def double(number: int) -> int:
            """Its docstring."""
            return 2 * number

        self.assertEqual((double(3), double(number=4)), (6, 8))
        self.assertEqual((double.__name__, double.__doc__), ("double", "Its docstring."))
        self.assertEqual(self.durations, [("t_ms", 250.0)] * 2)

    def test_function_that_raises(self) -> None:
        """A function that raises is measured and counted, and its exception goes on."""

        @self.timer
        def broken() -> None:
            raise KeyError

        self.assertRaises(KeyError, broken)
        self.assertEqual((self.durations, self.counts), ([("t_ms", 250.0)], ["t_ms_exceptions"]))

    def test_coroutine(self) -> None:
        """A coroutine is measured to its end."""
        gate: Deferred[int] = Deferred()

        @self.timer
        async def wait() -> int:
            return 1 + await gate

        result = Deferred.fromCoroutine(wait())
        self.assertEqual(self.durations, [])
        gate.callback(1)
        self.assertEqual((self.successResultOf(result), self.durations), (2, [("t_ms", 250.0)]))

    def test_coroutine_that_raises(self) -> None:
        """A coroutine that raises is measured and counted."""

        @self.timer
        async def broken() -> None:
            raise KeyError

        self.failureResultOf(Deferred.fromCoroutine(broken()), KeyError)
        self.assertEqual((self.durations, self.counts), ([("t_ms", 250.0)], ["t_ms_exceptions"]))

    def test_deferred(self) -> None:
        """A function that returns a Deferred is measured until that fires, and the result is passed on."""
        gate: Deferred[int] = Deferred()
        result = self.timer(lambda: gate)()
        self.assertEqual(self.durations, [])
        gate.callback(5)
        self.assertEqual((self.successResultOf(result), self.durations), (5, [("t_ms", 250.0)]))

    def test_deferred_that_fails(self) -> None:
        """A failure is measured, counted and passed on."""
        self.failureResultOf(self.timer(lambda: fail(KeyError()))(), KeyError)
        self.assertEqual(self.counts, ["t_ms_exceptions"])
        self.successResultOf(self.timer(lambda: succeed(None))())
        self.assertEqual((len(self.durations), self.counts), (2, ["t_ms_exceptions"]))

    def test_object_that_is_called(self) -> None:
        """An object whose call is a coroutine function is measured to the coroutine's end."""
        gate: Deferred[int] = Deferred()

        class Waiter:
            async def __call__(self) -> int:
                return await gate

        result = Deferred.fromCoroutine(functools.update_wrapper(self.timer(Waiter()), Waiter)())
        self.assertEqual(self.durations, [])
        gate.callback(3)
        self.assertEqual((self.successResultOf(result), self.durations), (3, [("t_ms", 250.0)]))

    def test_future(self) -> None:
        """A function that returns a future, or a task, of asyncio is measured until that is done; it is passed on."""

        async def main() -> None:
            loop = asyncio.get_running_loop()
            futures: list[asyncio.Future[int]] = [loop.create_future() for _ in range(3)]
            for future in futures:
                self.assertIs(self.timer(lambda future=future: future)(), future)
            self.assertEqual(self.durations, [])
            futures[0].set_result(5)
            futures[1].set_exception(KeyError())
            futures[2].cancel()
            await asyncio.sleep(0)
            self.assertEqual((len(self.durations), self.counts), (3, ["t_ms_exceptions"] * 2))
            self.assertIsInstance(futures[1].exception(), KeyError)

        asyncio.run(main())

    def test_exception_of_a_future_is_still_told(self) -> None:
        """A future whose exception nobody asks for is logged by the loop, as it is without a timer."""
        logged: list[str] = []

        async def main() -> None:
            loop = asyncio.get_running_loop()
            loop.set_exception_handler(lambda loop, context: logged.append(context["message"]))
            future: asyncio.Future[int] = loop.create_future()
            self.timer(lambda: future)().set_exception(KeyError())
            await asyncio.sleep(0)


            loop.call_soon(gc.collect)

        async def hear() -> None:
            await main()
            gc.collect()

        asyncio.run(hear())
        self.assertEqual((logged, self.counts), (["Future exception was never retrieved"], ["t_ms_exceptions"]))

    def test_cancelled_coroutine(self) -> None:
        """A coroutine that is cancelled is measured and counted, and stays cancelled."""

        async def main() -> None:
            @self.timer
            async def wait() -> None:
                await asyncio.get_running_loop().create_future()

            task = asyncio.ensure_future(wait())
            await asyncio.sleep(0)
            task.cancel()
            with self.assertRaises(asyncio.CancelledError):
                await task

        asyncio.run(main())
        self.assertEqual((self.durations, self.counts), ([("t_ms", 250.0)], ["t_ms_exceptions"]))

    def test_many_at_once(self) -> None:
        """One timer around a coroutine function measures many coroutines that overlap, each by itself."""

        async def main() -> None:
            gates = [asyncio.get_running_loop().create_future() for _ in range(3)]

            @self.timer
            async def wait(gate: asyncio.Future[None]) -> None:
                await gate

            tasks = [asyncio.ensure_future(wait(gate)) for gate in gates]
            await asyncio.sleep(0)
            for gate, task in zip(reversed(gates), reversed(tasks), strict=True):
                gate.set_result(None)
                await task

        asyncio.run(main())
        self.assertEqual(self.durations, [("t_ms", 250.0), ("t_ms", 750.0), ("t_ms", 1250.0)])

    def test_timer_of_a_client(self) -> None:
        """A client gives timers for its tabs, which do no harm where it does not run."""
        client = Client()
        with client.timer("t_ms"):
            self.assertEqual(client.get_status()["not_running"], 0)
        self.assertEqual(client.get_status()["not_running"], 1)
