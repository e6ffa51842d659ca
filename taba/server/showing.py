"""States as an answer shows them. What cannot be shown says so in its place, so that it breaks no listing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter

from attrs import define, field
from twisted.logger import Logger

from taba import native
from taba.errors import CodecError
from taba.handlers.registry import Registry
from taba.interfaces import IHandler, Style
from taba.server.hot import is_native
from taba.server.reducing import Reducing

RENDERED_AT_A_TIME = 100
"""How many States the native core renders in one call, at most: it cannot be divided into turns."""
RENDERED_BYTES = 256 << 10
"""And how many bytes of States, about."""


@define
class Shown:
    """Renders the States of one query, all of them as they are at `time`."""

    registry: Registry
    time: float
    style: Style
    raw: bool
    _failed: set[str] = field(factory=set, init=False)  # Types whose Handler raised: each is logged once
    _log = Logger()

    def state(self, type: str, state: bytes) -> str:
        """One State; a raw one as the repr of its bytes, in JSON as their hexadecimal digits."""
        return next(self.states(((type, state),)))

    def states(self, rows: Sequence[tuple[str, bytes]]) -> Iterator[str]:
        """Several, given as (Type, State): as `state` shows them, by the native core, some at a time, where it can."""
        for type, group in groupby(rows, key=itemgetter(0)):
            handler = self.registry.get(type)
            states = (state for _, state in group)
            if self.raw or handler is None or not is_native(handler):
                yield from (self._by_handler(type, handler, state) for state in states)
                continue
            for some in _some_at_a_time(states):
                texts = native.render(handler.kind, some, self.time, self.style is Style.DETAILED)
                # What has no text is for the Handler, or cannot be read: it says why.
                yield from (
                    text or self._by_handler(type, handler, state) for text, state in zip(texts, some, strict=True)
                )

    def _by_handler(self, type: str, handler: IHandler | None, state: bytes) -> str:
        if self.raw:
            return repr(state) if self.style is Style.TEXT else f'"{state.hex()}"'
        if handler is None:
            return _error(f"no Handler for Type {type}")
        return self.attempt(type, lambda: handler.render(handler.upgrade(state), self.time, self.style))

    def attempt(self, type: str, work: Callable[[], str]) -> str:
        """What `work` gives, or, when a Handler raises in it, what is shown instead."""
        try:
            return work()
        except CodecError as problem:
            return _error(f"damaged State: {problem}")
        except Exception:  # a Handler may be anybody's code
            if type not in self._failed:
                self._failed.add(type)
                self._log.failure("The Handler of Type {type} failed in a query", type=type)
            return _error(f"the Handler of Type {type} failed")


def _some_at_a_time(states: Iterator[bytes]) -> Iterator[list[bytes]]:
    """As many States as the native core renders in one call."""
    some: list[bytes] = []
    size = 0
    for state in states:
        some.append(state)
        size += len(state)
        if len(some) >= RENDERED_AT_A_TIME or size >= RENDERED_BYTES:
            yield some
            some, size = [], 0
    if some:
        yield some


def _error(sentence: str) -> str:
    return json.dumps({"error": sentence}, ensure_ascii=False)


class Reduced:
    """What is shown of several States as one, while they come. Those of a Type without Handler are not reduced: the
    first is what there is.
    """

    def __init__(self, type: str, shown: Shown) -> None:
        self.type = type
        self._shown = shown
        handler = shown.registry.get(type)
        self._reducing = None if handler is None else Reducing(handler)
        self._first: bytes | None = None
        self._problem = ""

    def take(self, states: Sequence[bytes]) -> None:
        """Further States of the Type."""
        if not states:
            return
        if self._first is None:
            self._first = states[0]
        reducing = self._reducing
        if reducing is None or self._problem:
            return

        def reduce() -> str:
            plain = is_native(reducing.handler)  # it knows one version, and looks at it
            reducing.add(states if plain else [reducing.handler.upgrade(state) for state in states])
            return ""

        self._problem = self._shown.attempt(self.type, reduce)

    def rendering(self) -> str | None:
        """What is shown of them; None when there was none."""
        first, reducing = self._first, self._reducing
        if first is None or self._problem:
            return self._problem or None
        if reducing is None:
            return self._shown.state(self.type, first)
        return self._shown.attempt(self.type, lambda: self._shown.state(self.type, reducing.result() or b""))
