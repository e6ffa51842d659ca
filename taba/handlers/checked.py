"""A Handler of somebody else, whose answers are looked at: what is no byte string must not get into a store.

The package and its class were looked at when they were loaded; what its methods answer with shows only when they are
called. An answer of another class is an exception of the Handler like any other, with which be knows what to do.
"""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen
from zope.interface import implementer

from taba.interfaces import IHandler, Style


@implementer(IHandler)
@frozen
class Checked:
    """Does what `inner` does, and raises TypeError where that answers with something else than it has to."""

    inner: IHandler
    name: str
    kind: int
    running_aggregate: bool
    version: int
    shape: int
    """How its events travel: the parsers look at it (see `Registry.kinds`)."""

    @classmethod
    def of(cls, inner: IHandler) -> Checked:
        """A Handler that has been looked at otherwise."""
        shape = getattr(inner, "shape", inner.kind)
        return cls(inner, inner.name, inner.kind, bool(inner.running_aggregate), inner.version, shape)

    def fold(self, state: bytes, partials: Sequence[bytes]) -> bytes:
        """See `IHandler.fold`."""
        return self._state("fold", self.inner.fold(state, partials))

    def reduce(self, states: Sequence[bytes]) -> bytes:
        """See `IHandler.reduce`."""
        return self._state("reduce", self.inner.reduce(states))

    def render(self, state: bytes, time: float, style: Style) -> str:
        """See `IHandler.render`."""
        shown = self.inner.render(state, time, style)
        if not isinstance(shown, str):
            raise TypeError(f"render of the Handler of {self.name} gave {type(shown).__name__}, not str")
        return shown

    def expired(self, state: bytes, time: float) -> bool:
        """See `IHandler.expired`."""
        return bool(self.inner.expired(state, time))

    def upgrade(self, state: bytes) -> bytes:
        """See `IHandler.upgrade`."""
        return self._state("upgrade", self.inner.upgrade(state))

    def newest(self, state: bytes) -> float:
        """See `IHandler.newest`."""
        return float(self.inner.newest(state))

    def merge(self, older: bytes, newer: bytes) -> bytes:
        """See `IHandler.merge`."""
        return self._state("merge", self.inner.merge(older, newer))

    def _state(self, method: str, answer: object) -> bytes:
        if not isinstance(answer, bytes):
            raise TypeError(f"{method} of the Handler of {self.name} gave {type(answer).__name__}, not bytes")
        return answer
