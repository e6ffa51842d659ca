"""The engine for applications that run an asyncio loop: one task, which posts over one kept connection.

    async def main():
        client.initialize("my_application", "http://localhost:8279/post", engine_class="asyncio")
        ...
        await client.stop()

Only the standard library is used. Events may be recorded in any thread. Nothing holds up the loop: requests and waits
are the task's, and encoding many events, which takes milliseconds, is a worker thread's. Three moments need care:

* *The end of the loop* cancels the task (`asyncio.run` does), or just leaves it. Events are recorded on, and sent by
  `stop` or at exit, without a loop then. A request that was cut off is repeated under its number.
* *The end of the process.* What is recorded and was not stopped is sent at exit, within EXIT_TIMEOUT.
* *A fork.* The child has no running loop, and must not touch its parent's, whose selector it shares. It starts afresh,
  with nothing recorded and no connection; its first event starts a ThreadEngine, which serves code with and without a
  loop alike. What was unsent stays the parent's.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import threading
import time
from collections.abc import Awaitable
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import suppress

from taba.client.engines.asyncio_posting import StreamPoster
from taba.client.engines.heir import Heirs
from taba.client.engines.posting import Poster, PostFailed
from taba.client.engines.thread import EXIT_TIMEOUT, REQUEST_TIMEOUT, Weakly, seconds_awake
from taba.client.names import parse_url
from taba.client.sender import Answer, Post, Sender, Wait

MANY_EVENTS = 20_000  # from so many on they are encoded in a worker thread: some two milliseconds' work

_log = logging.getLogger("taba.client")


class AsyncioEngine:
    """Drives one Sender from a task. `start` is for a coroutine or callback of the loop that is to run it."""

    def __init__(
        self, sender: Sender, url: str, *, request_timeout: float = REQUEST_TIMEOUT, ca_file: str | None = None
    ) -> None:
        """`request_timeout` is in seconds, for a request and its answer. `ca_file` holds the authorities to trust with
        https, as PEM; without it they are the platform's.

        Raises ValueError where no loop runs, unless `url` is an http or https URL, and for a `ca_file` that cannot be
        used.
        """
        try:
            self._loop = asyncio.get_running_loop()
        except RuntimeError:
            raise ValueError("the asyncio engine is started within a running loop, by a coroutine of it") from None
        self._sender = sender
        self._url = url
        self._request_timeout = request_timeout
        self._ca_file = ca_file
        self._connection = StreamPoster(parse_url(url), ca_file)
        self._lock = threading.Lock()
        """Held while the Sender is used: encoding in the worker may outlast a task that was cancelled."""
        self._wake = asyncio.Event()
        self._worker: ThreadPoolExecutor | None = None
        self._task: asyncio.Task[None] | None = None
        self._deadline: float | None = None
        self._draining = False
        self._running = False
        self._heirs = Heirs(sender, url, request_timeout, ca_file)

    def start(self) -> None:
        """Start to record and to send. Whether the agent is there makes no difference."""
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=Weakly(self._after_fork))
        atexit.register(self._at_exit)
        self._running = True
        self._task = self._loop.create_task(self._run(), name="taba-client")
        self._sender.open(self._hurry)

    def stop(self, timeout: float) -> Awaitable[bool] | bool:
        """Record nothing more, and send what is recorded, within `timeout` seconds.

        Called within the loop it returns a future, and goes on whether that is awaited or not; elsewhere (in another
        thread, after the end of the loop, in a forked child without one) it waits itself. Either way the result is
        whether all that was recorded is accounted for: acknowledged by the agent, or counted as refused or unknown.
        """
        self._running = False
        try:
            within: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
        except RuntimeError:
            within = None
        if self._heirs.forked:
            return self._heirs.stop(timeout) if within is None else asyncio.ensure_future(
                asyncio.to_thread(self._heirs.stop, timeout)
            )
        self._deadline = seconds_awake() + timeout
        if within is self._loop:
            return self._loop.create_task(self._stop(), name="taba-client-stop")
        if self._loop.is_running():
            return self._wait_for_loop(timeout)
        if within is not None:  # another loop, after the end of the engine's own
            return asyncio.ensure_future(asyncio.to_thread(self._finish))
        return self._finish()

    def _wait_for_loop(self, timeout: float) -> bool:
        """Stop from another thread than the loop's."""
        try:
            return asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(timeout + 1.0)
        except (TimeoutError, CancelledError):  # the loop is busy, or came to its end meanwhile
            return False

    async def _stop(self) -> bool:
        """Let the task come to its end, for which a new one stands in if it was cancelled."""
        assert self._deadline is not None
        if self._task is None or self._task.done():
            self._task = self._loop.create_task(self._run(), name="taba-client")
        self._wake.set()
        await asyncio.wait({self._task}, timeout=max(0.0, self._deadline - seconds_awake()))
        self._task.cancel()
        await asyncio.wait({self._task})
        return self._conclude()

    def _conclude(self) -> bool:
        """Nothing more is done after this. Whether all is accounted for."""
        atexit.unregister(self._at_exit)
        if self._worker is not None:
            self._worker.shutdown(wait=False)
        with self._lock:
            if not self._draining:
                self._sender.drain()  # the task did not come to it: at least nothing more is recorded
            return self._sender.drained

    # -- the task --------------------------------------------------------------------------------------------------

    def _hurry(self) -> None:
        """Much was recorded. Called under the Recorder's lock and maybe in another thread."""
        self._sender.flush_soon()
        with suppress(RuntimeError):  # the loop is closed: `stop`, or the exit, will see to it
            self._loop.call_soon_threadsafe(self._wake.set)

    async def _run(self) -> None:
        try:
            while await self._turn():
                pass
        finally:
            self._connection.close()

    async def _turn(self) -> bool:
        """One action; whether there may be another."""
        try:
            if self._heirs.forked or self._is_late():
                return False
            self._begin_to_drain()
            action = await self._next_action()
            self._log_notices()
            if isinstance(action, Post):
                await self._carry_out(action)
            elif self._sender.drained:
                return False
            else:
                await self._sleep(action.seconds)
        except Exception:  # a single error must not end the task: what is recorded would never be sent
            _log.exception("The Taba client failed to send, and will go on")
            await self._sleep(1.0)
        return True

    def _is_late(self) -> bool:
        return self._deadline is not None and seconds_awake() >= self._deadline

    def _begin_to_drain(self) -> None:
        if self._deadline is not None and not self._draining:
            self._draining = True
            with self._lock:
                self._sender.drain()

    async def _next_action(self) -> Post | Wait:
        if self._sender.buffered_events() < MANY_EVENTS:
            return self._ask_sender()
        if self._worker is None:  # of its own: the loop's may be busy for long with the application's work
            self._worker = ThreadPoolExecutor(1, thread_name_prefix="taba-client")
        return await self._loop.run_in_executor(self._worker, self._ask_sender)

    def _ask_sender(self) -> Post | Wait:
        with self._lock:
            return self._sender.next_action(seconds_awake())

    async def _sleep(self, seconds: float) -> None:
        if self._deadline is not None:
            seconds = min(seconds, max(0.0, self._deadline - seconds_awake()))
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        self._wake.clear()

    async def _carry_out(self, post: Post) -> None:
        timeout = self._request_timeout
        if self._deadline is not None:
            timeout = max(0.01, min(timeout, self._deadline - seconds_awake()))
        try:
            answer = await self._connection.post(post.headers, post.body, timeout, post.protocol)
        except PostFailed as failure:
            self._tell(post, failure)
        else:
            self._tell(post, answer)

    def _tell(self, post: Post, outcome: Answer | PostFailed) -> None:
        with self._lock:
            if self._heirs.forked:
                return
            if isinstance(outcome, PostFailed):
                self._sender.failed(post, f"{self._url}: {outcome}", seconds_awake())
            else:
                self._sender.answered(post, outcome, seconds_awake())

    def _log_notices(self) -> None:
        for notice in self._sender.take_notices():
            _log.warning("Taba client: %s", notice)

    # -- without a loop --------------------------------------------------------------------------------------------

    def _finish(self) -> bool:
        """Send what is left, and wait for it, up to the deadline. The loop does not run any more."""
        assert self._deadline is not None
        poster = Poster(parse_url(self._url), self._ca_file)
        try:
            while not self._is_late():
                self._begin_to_drain()
                action = self._ask_sender()
                self._log_notices()
                if isinstance(action, Post):
                    timeout = max(0.01, min(self._request_timeout, self._deadline - seconds_awake()))
                    try:
                        self._tell(action, poster.post(action.headers, action.body, timeout, action.protocol))
                    except PostFailed as failure:
                        self._tell(action, failure)
                elif self._sender.drained:
                    break
                else:
                    time.sleep(max(0.0, min(action.seconds, self._deadline - seconds_awake())))
        finally:
            poster.close()
        return self._conclude()

    def _at_exit(self) -> None:
        if not self.stop(EXIT_TIMEOUT):
            _log.warning("Taba client: events were left unsent at exit: %s", self._sender.status()["last_error"])

    # -- forks -----------------------------------------------------------------------------------------------------

    def _after_fork(self) -> None:
        """In the child, before anything else runs there: start afresh."""
        atexit.unregister(self._at_exit)  # an heir has its own
        self._connection.forget()
        self._lock = threading.Lock()
        self._worker = None
        self._heirs.fork(self._running)
