"""The real machine as a `Process`: Twisted's reactor, the clocks, threads, folders. Only the taps import this."""

from __future__ import annotations

import gc
import os
import random
import signal
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from twisted.application.service import IService
from twisted.internet.defer import Deferred
from twisted.internet.error import ReactorNotRunning
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool

from taba.notifying import notifying
from taba.process import Process
from taba.reloading import Reloading
from taba.running import Deadline, Running, end_with_failure
from taba.store.folder import open_folder
from taba.usage import usage_of_this_process

T = TypeVar("T")

LAST_SECONDS = 1.0
"""How long an ordinary end may take after the deadline of a stop."""
GC_THRESHOLDS = 50_000, 20, 50
"""Objects that may be made before Python looks for forgotten cycles, and how often it then looks among older ones. A be
holds a million objects that are no cycles: with Python's own thresholds it searched them for a sixth of its time.
"""
PYTHONS_THRESHOLDS = gc.get_threshold()


class SingleThread:
    """A `Worker`: a pool of one thread, started by the first call and ended by `stop`."""

    def __init__(self, reactor: Any, name: str) -> None:
        self._reactor = reactor
        self._pool = ThreadPool(minthreads=0, maxthreads=1, name=name)
        self._started = False
        self._stopped = False

    def __call__(self, function: Callable[..., T], *arguments: Any, **named: Any) -> Deferred[T]:
        """See `Worker`."""
        if self._stopped:
            raise RuntimeError(f"the worker {self._pool.name} has stopped")
        if not self._started:
            self._started = True
            self._pool.start()
        done: Deferred[T] = deferToThreadPool(self._reactor, self._pool, function, *arguments, **named)
        return done

    def stop(self) -> Deferred[None]:
        """See `Worker`."""
        stopped: Deferred[None] = Deferred()
        if not self._started or self._stopped:
            self._stopped = True
            stopped.callback(None)
            return stopped
        self._stopped = True

        def end(_: object) -> None:
            self._pool.stop()  # its only thread is idle: this call comes back at once
            stopped.callback(None)

        last: Deferred[None] = deferToThreadPool(self._reactor, self._pool, lambda: None)
        last.addBoth(end)
        return stopped


def monotonic(reactor: Any) -> None:
    """Let the reactor's timers run on the monotonic clock.

    Twisted's `seconds()` is wall time: a clock set back by an hour would stall every timer for that hour. All timers
    of a reactor compare with this attribute, so it has to be set before the first one is made.
    """
    reactor.seconds = time.monotonic


def look_for_cycles_less() -> None:
    """Let Python search for forgotten cycles seldom, and never among what was there when the process began; unless
    somebody has said already how often.
    """
    if gc.get_threshold() != PYTHONS_THRESHOLDS:
        return
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


def real_process(reactor: Any) -> Process:
    """The machine this runs on."""
    log = Logger(namespace="taba")

    def say(sentence: str) -> None:
        log.info("{sentence}", sentence=sentence)

    return Process(
        reactor=reactor,
        wall=time.time,
        random=random.SystemRandom(),
        open_folder=open_folder,
        worker=lambda name: SingleThread(reactor, name),
        host=socket.gethostname().split(".")[0] or "localhost",
        say=say,
        usage=usage_of_this_process,
    )


def running_on(
    make: Callable[[Any, Process], IService],
    settings: Any,
    process: Process | None = None,
    reactor: Any = None,
    *,
    reloading: Reloading | None = None,
) -> Running:
    """What both taps give twistd: a service that `make` makes of settings and machine, once the process has forked.

    Without a `process` it is the machine this runs on, where systemd is told how it goes, if it wants to know; SIGTERM
    ends it in good order, within STOP_SECONDS, and SIGHUP lets it take what `reloading` reads.
    """
    if reactor is None:
        from twisted.internet import reactor
    if process is not None:
        machine = process
        return Running(lambda: make(settings, machine), end_with_failure(reactor))
    monotonic(reactor)
    running = Running(
        lambda: notifying(make(settings, real_process(reactor)), os.environ, os.getpid(), reactor),
        end_with_failure(reactor),
        Deadline(reactor, settings.stop_seconds, end_at_last),
    )
    reactor.callWhenRunning(look_for_cycles_less)
    reactor.callWhenRunning(obey_signals, reactor, running, reloading)
    return running


def obey_signals(reactor: Any, running: Running, reloading: Reloading | None) -> None:
    """SIGTERM stops the reactor, and with it everything in good order, so that the status of the process is 0; SIGHUP
    reads the settings again. Called when the reactor runs: it has set handlers of its own before.
    """

    def stop(number: int, frame: object) -> None:
        reactor.callFromThread(_stop_once, reactor)

    signal.signal(signal.SIGTERM, stop)
    if reloading is not None:
        again = reloading.reload
        signal.signal(signal.SIGHUP, lambda number, frame: reactor.callFromThread(running.reload, again))


def _stop_once(reactor: Any) -> None:
    with suppress(ReactorNotRunning):  # it is stopping already
        reactor.stop()


def end_at_last() -> None:
    """End the process with status 0, soon, though threads of it may hang: an ordinary end would wait for them."""

    def end() -> None:
        time.sleep(LAST_SECONDS)
        os._exit(0)

    threading.Thread(target=end, name="taba-end", daemon=True).start()
