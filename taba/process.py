"""What a process of Taba gets from outside: reactor, wall clock, chance, folders, threads.

Services take a `Process` and nothing else of the machine, so that the simulated world runs the very same code. Only
the taps make the real one.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any, Protocol, TypeVar

from attrs import define
from twisted.internet.defer import Deferred

from taba.interfaces import IFolder
from taba.usage import Usage

T = TypeVar("T")


class Worker(Protocol):
    """One thread beside the reactor's: what it is given runs there, one after another, in order."""

    def __call__(self, function: Callable[..., T], *arguments: Any, **named: Any) -> Deferred[T]:
        """Run a function there; its result or exception comes back in the reactor thread."""

    def stop(self) -> Deferred[None]:
        """Fires when all it was given is done and the thread has ended. Later calls fail."""


@define
class Process:
    """One life of a process.

    The reactor's `seconds()` is monotonic; wall time, seconds since 1970, is only for stamps. `random` need not be
    reproducible, except in simulations.
    """

    reactor: Any
    """IReactorTime, IReactorTCP, IReactorCore."""
    wall: Callable[[], float]
    random: Random
    open_folder: Callable[[str], IFolder]
    worker: Callable[[str], Worker]
    """Makes the Worker of the given name; its thread starts with the first call."""
    host: str
    """The host's name, for the names of own clients."""
    say: Callable[[str], None]
    """Tells the operator a sentence, by way of the log."""
    usage: Callable[[], Usage | None] = lambda: None
    """What the process uses of its machine now; None where that is not known."""

    def new_id(self) -> str:
        """A fresh name for an instance, incarnation, lineage or cluster: 128 random bits as 32 hexadecimal digits."""
        return f"{self.random.getrandbits(128):032x}"
