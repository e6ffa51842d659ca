"""`tako-coordinator` and `twistd tako-coordinator`: the command line of a coordinator."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from typing import Any

from twisted.application.service import IService

from taba.tako.command_line import MemberOptions, run_twistd, service_of
from taba.tako.coordinator import TakoCoordinator, make_coordinator
from taba.tako.node_tap import raise_missing
from taba.tako.reading import read_text
from taba.tako.settings import CoordinatorSettings


class Options(MemberOptions):
    """Command line of a coordinator."""

    synopsis = "-id c1 -cfg FILE [-v VARDIR] [-l LOG] [-u SECONDS]"
    longdesc = "Hands out the configuration; reads it again on SIGUSR1."

    def settings(self) -> CoordinatorSettings:
        """See `MemberOptions`."""
        text, read = self.read_now(), self.read_file()
        if text is None or read is None:
            raise_missing()
        assert text is not None
        assert read is not None
        read_text(text, self["cfg"])
        return CoordinatorSettings(self["id"], read, self.folder(), self["update"], self.security())


def _make(settings: CoordinatorSettings, process: Any) -> TakoCoordinator:
    """A coordinator that reloads on SIGUSR1."""
    coordinator = make_coordinator(settings, process)

    def install(came: Callable[[], None]) -> Callable[[], None]:
        previous = signal.signal(signal.SIGUSR1, lambda *_: process.reactor.callFromThread(came))

        def end() -> None:
            signal.signal(signal.SIGUSR1, previous)

        return end

    coordinator.on_signal(install)
    return coordinator


def makeService(options: Any, process: Any = None, reactor: Any = None) -> IService:
    """Called by twistd. Opens nothing."""
    return service_of(_make, options, process, reactor)


def main() -> None:
    """The console script."""
    run_twistd("tako-coordinator", sys.argv[1:])
