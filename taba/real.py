"""The real machine as a `Process`: Twisted's reactor, the clocks, threads, folders. Only the taps import this."""

from __future__ import annotations

import os
import random
import socket
import time
from collections.abc import Callable
from typing import Any, TypeVar

from twisted.application.service import IService
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool

from taba.notifying import notifying
from taba.process import Process
from taba.running import Running, end_with_failure
from taba.store.folder import open_folder
from taba.usage import usage_of_this_process

T = TypeVar("T")


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
    make: Callable[[Any, Process], IService], settings: Any, process: Process | None = None, reactor: Any = None
) -> Running:
    """What both taps give twistd: a service that `make` makes of settings and machine, once the process has forked.

    Without a `process` it is the machine this runs on, where systemd is told how it goes, if it wants to know.
    """
    if reactor is None:
        from twisted.internet import reactor
    if process is None:
        monotonic(reactor)
        return Running(
            lambda: notifying(make(settings, real_process(reactor)), os.environ, os.getpid(), reactor),
            end_with_failure(reactor),
        )
    machine = process
    return Running(lambda: make(settings, machine), end_with_failure(reactor))
