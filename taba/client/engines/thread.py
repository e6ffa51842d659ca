"""The default engine: a daemon thread that posts over one kept connection.

The application is never waited for and never waits: its calls only add to the Recorder, and the thread wakes once in a
flush period. Two moments need care:

* *A fork.* Threads do not come along into the child, but locks, connections and unsent events do. The child's client
  starts afresh: nothing recorded, no instance, no connection, new locks, and a thread with the first event it records.
  What was unsent stays the parent's. (A child that ends by `os._exit` has to call `stop` itself; one of
  `multiprocessing` need not.)
* *The end of the process.* What is recorded is sent at exit, within EXIT_TIMEOUT.
"""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable
from queue import Empty, SimpleQueue

from taba.client.engines.posting import Poster, PostFailed
from taba.client.names import parse_url
from taba.client.sender import Post, Sender

REQUEST_TIMEOUT = 10.0  # seconds
EXIT_TIMEOUT = 5.0  # seconds

_log = logging.getLogger("taba.client")


class ThreadEngine:
    """Drives one Sender from a thread of its own. `start` and `stop` are for one thread at a time."""

    def __init__(
        self, sender: Sender, url: str, *, request_timeout: float = REQUEST_TIMEOUT, ca_file: str | None = None
    ) -> None:
        """`ca_file` holds the authorities to trust with https, as PEM; without it they are the platform's.

        Raises ValueError unless `url` is an http or https URL, and for a `ca_file` that cannot be used.
        """
        self._sender = sender
        self._url = url
        self._request_timeout = request_timeout
        self._poster = Poster(parse_url(url), ca_file)
        self._running = False
        self._begin()

    def _begin(self) -> None:
        self._lock = threading.Lock()
        """Held while the Sender is used, so that a thread that `stop` gave up cannot touch what comes after."""
        self._abandoned = False
        self._deadline: float | None = None
        self._draining = False
        self._wake: SimpleQueue[None] = SimpleQueue()  # a put is safe even in a signal handler during a put
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start to record and to send."""
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=Weakly(self._after_fork))
        atexit.register(self._at_exit)
        self._running = True
        self._run_thread()

    def stop(self, timeout: float) -> bool:
        """Record nothing more, send what is recorded, and end the thread, within `timeout` seconds.

        Whether all that was recorded is accounted for: acknowledged by the agent, or counted as refused or unknown.
        """
        atexit.unregister(self._at_exit)
        self._running = False
        thread = self._thread
        if thread is None:  # a child that recorded nothing
            self._sender.drain()
            return True
        self._deadline = seconds_awake() + timeout
        self._wake.put(None)
        thread.join(timeout)
        with self._lock:
            self._abandoned = True
            if not self._draining:
                self._sender.drain()  # the thread did not come to it: at least nothing more is recorded
            return self._sender.drained

    # -- the thread ------------------------------------------------------------------------------------------------

    def _run_thread(self) -> None:
        thread = threading.Thread(target=self._run, name="taba-client", daemon=True)
        thread.start()  # may fail for want of resources: then nothing is recorded either
        self._thread = thread
        self._sender.open(self._hurry)

    def _hurry(self) -> None:
        self._sender.flush_soon()
        self._wake.put(None)

    def _run(self) -> None:
        try:
            while self._turn():
                pass
        finally:
            self._poster.close()

    def _turn(self) -> bool:
        """One action; whether there may be another."""
        try:
            with self._lock:
                if self._abandoned or self._is_late():
                    return False
                if self._deadline is not None and not self._draining:
                    self._draining = True
                    self._sender.drain()
                action = self._sender.next_action(seconds_awake())
                done = self._sender.drained
            self._log_notices()
            if isinstance(action, Post):
                self._carry_out(action)
            elif done:
                return False
            else:
                self._sleep(action.seconds)
        except Exception:  # a single error must not end the thread: what is recorded would never be sent
            _log.exception("The Taba client failed to send, and will go on")
            self._sleep(1.0)
        return True

    def _is_late(self) -> bool:
        return self._deadline is not None and seconds_awake() >= self._deadline

    def _sleep(self, seconds: float) -> None:
        if self._deadline is not None:
            seconds = min(seconds, self._deadline - seconds_awake())
        try:
            self._wake.get(timeout=max(0.0, seconds))
            while True:
                self._wake.get_nowait()
        except Empty:
            pass

    def _carry_out(self, post: Post) -> None:
        timeout = self._request_timeout
        if self._deadline is not None:
            timeout = max(0.01, min(timeout, self._deadline - seconds_awake()))
        try:
            answer = self._poster.post(post.headers, post.body, timeout, post.protocol)
        except PostFailed as failure:
            with self._lock:
                if not self._abandoned:
                    self._sender.failed(post, f"{self._url}: {failure}", seconds_awake())
        else:
            with self._lock:
                if not self._abandoned:
                    self._sender.answered(post, answer, seconds_awake())

    def _log_notices(self) -> None:
        for notice in self._sender.take_notices():
            _log.warning("Taba client: %s", notice)

    # -- forks and the end -----------------------------------------------------------------------------------------

    def _after_fork(self) -> None:
        """In the child, before anything else runs there: start afresh."""
        self._begin()
        self._poster.forget()
        self._sender.restart(on_revival=self._run_thread if self._running else None)
        multiprocessing = sys.modules.get("multiprocessing.util")
        if multiprocessing is not None:
            multiprocessing.register_after_fork(self, _flush_at_exit_of_child)

    def _at_exit(self) -> None:
        if not self.stop(EXIT_TIMEOUT):
            _log.warning("Taba client: events were left unsent at exit: %s", self._sender.status()["last_error"])


class Weakly:
    """A method of an object that may be gone when it is called. (What is registered for forks stays registered.)"""

    def __init__(self, method: Callable[[], None]) -> None:
        self._method = weakref.WeakMethod(method)

    def __call__(self) -> None:
        method = self._method()
        if method is not None:
            method()


def _flush_at_exit_of_child(engine: ThreadEngine) -> None:
    """A child of `multiprocessing` runs no atexit functions, but these."""
    from multiprocessing.util import Finalize

    Finalize(None, engine._at_exit, exitpriority=0)


def seconds_awake() -> float:
    """A clock that never goes back, and if possible goes on while the machine sleeps: instances grow old then, too."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)
