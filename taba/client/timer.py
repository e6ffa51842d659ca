"""A stopwatch: how long a block, a function, a coroutine or what a Deferred waits for takes, as Percentile events.

    with client.timer("checkout_ms"):
        ...

    @client.timer("checkout_ms")
    async def check_out(cart): ...

Durations are in milliseconds. What ends by an exception is measured too, and counted in the CounterGroup tab
`NAME_exceptions`. A Timer around functions may be used many times and in any thread; for each `with` make one.
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

    def __call__(self, function: F) -> F:
        """`function`, measured from each call to its return; a coroutine function to the end of the coroutine, and one
        that returns a Deferred until that fires."""
        import inspect  # too dear for those who only import the client

        if inspect.iscoroutinefunction(function):
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


def _is_deferred(result: object) -> bool:
    """Whether it is a Deferred; where nobody has imported Twisted, nothing is."""
    module = sys.modules.get("twisted.internet.defer")
    return module is not None and isinstance(result, module.Deferred)
