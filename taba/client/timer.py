"""A stopwatch: how long a block, a function, a coroutine or what a Deferred or an asyncio future waits for takes, as
Percentile events.

    with client.timer("checkout_ms"):
        ...

    @client.timer("checkout_ms")
    async def check_out(cart): ...

Durations are in milliseconds. What ends by an exception is measured too, and counted in the CounterGroup tab
`NAME_exceptions`; cancelled coroutines and futures are among it. A Timer around functions may be used many times and
in any thread; for each `with`, in coroutines too, make one; `async with` does the same. Functions that yield are
refused: their caller's time would be measured as well, and one that is not exhausted never ends.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from time import perf_counter
from types import TracebackType
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


class Timer:
    """Records the durations of what it is wrapped around. It never changes what that returns or raises."""

    def __init__(
        self,
        percentile: Callable[[str, object], None],
        counter: Callable[[str], None],
        name: str,
        seconds: Callable[[], float] = perf_counter,
    ) -> None:
        self._percentile = percentile
        self._counter = counter
        self._name = name
        self._seconds = seconds
        self._started = 0.0

    def __enter__(self) -> Timer:
        self._started = self._seconds()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._record(self._started, kind is not None)

    async def __aenter__(self) -> Timer:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)

    def __call__(self, function: F) -> F:
        """`function`, measured from each call to its return; a coroutine function to the end of the coroutine, and one
        that returns a Deferred, or a future or task of asyncio, until that has its result. Raises TypeError for a
        function that yields.
        """
        import inspect  # too dear for those who only import the client

        called: Any = function
        for yields in (inspect.isgeneratorfunction, inspect.isasyncgenfunction):
            if yields(called) or yields(called.__call__):
                raise TypeError(
                    f"{called!r} yields, and it is not known when it ends: use `with client.timer(...)` in it, around"
                    " what is to be measured; or, as with inlineCallbacks, put the timer above the other decorator"
                )
        if inspect.iscoroutinefunction(called) or inspect.iscoroutinefunction(called.__call__):
            return self._around_coroutine(function)

        @functools.wraps(function)
        def timed(*args: Any, **kwargs: Any) -> Any:
            started = self._seconds()
            try:
                result = function(*args, **kwargs)
            except BaseException:
                self._record(started, True)
                raise
            if _is_deferred(result):
                return result.addCallbacks(
                    self._fired, self._fired, callbackArgs=(started, False), errbackArgs=(started, True)
                )
            if _is_future(result):
                result.add_done_callback(lambda future: self._record(started, _has_failed(future)))
            else:
                self._record(started, False)
            return result

        return timed  # type: ignore[return-value]

    def _around_coroutine(self, function: F) -> F:
        @functools.wraps(function)
        async def timed(*args: Any, **kwargs: Any) -> Any:
            started, failed = self._seconds(), True
            try:
                result = await function(*args, **kwargs)
                failed = False
                return result
            finally:
                self._record(started, failed)

        return timed  # type: ignore[return-value]

    def _fired(self, result: Any, started: float, failed: bool) -> Any:
        self._record(started, failed)
        return result

    def _record(self, started: float, failed: bool) -> None:
        self._percentile(self._name, (self._seconds() - started) * 1000.0)
        if failed:
            self._counter(f"{self._name}_exceptions")


def _is_future(result: object) -> bool:
    """Whether it is a future of asyncio, as a task is; where nobody has imported asyncio, nothing is."""
    module = sys.modules.get("asyncio")
    return module is not None and module.isfuture(result)


def _has_failed(future: Any) -> bool:
    """Whether a future that is done ended by an exception.

    To ask it by `exception()` would keep the loop from logging an exception that nobody else asks for.
    """
    return bool(future.cancelled() or getattr(future, "_exception", None) is not None)


def _is_deferred(result: object) -> bool:
    """Whether it is a Deferred; where nobody has imported Twisted, nothing is."""
    module = sys.modules.get("twisted.internet.defer")
    return module is not None and isinstance(result, module.Deferred)
