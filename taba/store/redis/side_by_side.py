"""Waiting for several things at once, with the very error of what fails."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable
from typing import Any

from twisted.internet.defer import Deferred, FirstError, gatherResults


async def together(waited_for: Iterable[Awaitable[Any]]) -> list[Any]:
    """The results of what runs side by side, in order; raises what the first that failed raised. To cancel it cancels
    all. When one cannot even be begun, which is a defect, those before it go on, and nobody hears of them.
    """
    running: list[Deferred[Any]] = []
    try:
        for each in waited_for:
            running.append(each if isinstance(each, Deferred) else Deferred.fromCoroutine(_run(each)))
    except BaseException:
        for begun in running:
            begun.addErrback(lambda _: None)
        raise
    try:
        results: list[Any] = await gatherResults(running, consumeErrors=True)
    except FirstError as first:
        first.subFailure.raiseException()
    return results


async def _run(waited_for: Awaitable[Any]) -> Any:
    return await waited_for
