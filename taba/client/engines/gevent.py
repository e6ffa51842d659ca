"""The engine for applications that run on gevent: one greenlet, which posts over one kept connection.

    client.initialize("my_application", "http://localhost:8279/post", engine_class="gevent")

It is cooperative whether or not the standard library is monkey-patched: sockets, waits and locks that may wait are
gevent's own. gevent is imported when an engine is made, and has to be installed by the application. Encoding is done in
the greenlet, and takes some milliseconds for ten thousand events. Three moments need care:

* *The hub.* Nothing is sent while it does not run: in a process whose main greenlet blocks in functions that are not
  gevent's, what is recorded waits until `stop` or the exit.
* *A fork.* Greenlets come along into the child. There the parent's greenlet does nothing more, and the client starts
  afresh: nothing recorded, no instance, no connection, and a greenlet of its own with the first event it records. What
  was unsent stays the parent's. So an application may be loaded before its workers are forked, as gunicorn can do.
* *The end of the process.* What is recorded is sent at exit, within EXIT_TIMEOUT.
"""

from __future__ import annotations

import atexit
import logging
import os
import socket
import sys
from contextlib import suppress
from copy import copy
from http.client import HTTPConnection
from importlib import import_module
from typing import Any

from taba.client.engines.posting import Poster, PostFailed
from taba.client.engines.thread import EXIT_TIMEOUT, REQUEST_TIMEOUT, Weakly, seconds_awake
from taba.client.names import Endpoint, parse_url
from taba.client.sender import Post, Sender

_log = logging.getLogger("taba.client")


class GeventEngine:
    """Drives one Sender from a greenlet. `start` and `stop` are for greenlets of one thread, one at a time; events may
    be recorded in any thread.
    """

    def __init__(
        self, sender: Sender, url: str, *, request_timeout: float = REQUEST_TIMEOUT, ca_file: str | None = None
    ) -> None:
        """`request_timeout` is in seconds, for each step of a request. `ca_file` holds the authorities to trust with
        https, as PEM; without it they are the platform's.

        Raises ValueError where gevent is not installed, unless `url` is an http or https URL, and for a `ca_file` that
        cannot be used.
        """
        try:
            self._gevent: Any = import_module("gevent")
            self._new_event: Any = import_module("gevent.event").Event
            self._blocking_resolver: Any = import_module("gevent.resolver.blocking").Resolver
        except ImportError as problem:
            raise ValueError(f"the gevent engine needs gevent, which cannot be imported: {problem}") from None
        self._sender = sender
        self._url = url
        self._request_timeout = request_timeout
        self._poster: Poster = CooperativePoster(parse_url(url), ca_file)
        self._running = False
        self._begin()

    def _begin(self) -> None:
        self._life = object()
        """Another after a fork: a greenlet that came along into the child knows by it that it is not wanted."""
        self._wake = self._new_event()
        self._greenlet: Any = None
        self._opened = False
        self._deadline: float | None = None
        self._draining = False

    def start(self) -> None:
        """Start to record and to send."""
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=Weakly(self._after_fork))
        atexit.register(self._at_exit)
        self._running = True
        self._hub = self._gevent.get_hub()
        self._spawn()
        self._open()

    def stop(self, timeout: float) -> bool:
        """Record nothing more, send what is recorded, and end the greenlet, within `timeout` seconds.

        The calling greenlet waits, others go on. Whether all that was recorded is accounted for: acknowledged by the
        agent, or counted as refused or unknown.
        """
        atexit.unregister(self._at_exit)
        self._running = False
        if self._opened:  # and not a child that recorded nothing
            self._deadline = seconds_awake() + timeout
            self._spawn()
            self._wake.set()
            self._greenlet.join(timeout)
            self._greenlet.kill()
        if not self._draining:
            self._sender.drain()  # the greenlet did not come to it: at least nothing more is recorded
            return not self._opened
        return self._sender.drained

    def _open(self) -> None:
        self._opened = True
        self._sender.open(self._hurry)

    def _spawn(self) -> None:
        if self._greenlet is None:
            self._greenlet = self._gevent.spawn(self._run, self._life, self._poster)

    def _hurry(self) -> None:
        """Much was recorded. Called under the Recorder's lock and maybe in another thread."""
        self._sender.flush_soon()
        with suppress(Exception):  # a hub that is destroyed: `stop`, or the exit, will say so
            self._hub.loop.run_callback_threadsafe(self._wake.set)

    # -- the greenlet ----------------------------------------------------------------------------------------------

    def _run(self, life: object, poster: Poster) -> None:
        try:
            while self._turn(life, poster):
                pass
        finally:
            poster.close()

    def _turn(self, life: object, poster: Poster) -> bool:
        """One action; whether there may be another."""
        try:
            if life is not self._life or self._is_late():
                return False
            if self._deadline is not None and not self._draining:
                self._draining = True
                self._sender.drain()
            action = self._sender.next_action(seconds_awake())
            for notice in self._sender.take_notices():
                _log.warning("Taba client: %s", notice)
            if isinstance(action, Post):
                self._carry_out(action, life, poster)
            elif self._sender.drained:
                return False
            else:
                self._sleep(action.seconds)
        except Exception:  # a single error must not end the greenlet: what is recorded would never be sent
            _log.exception("The Taba client failed to send, and will go on")
            self._sleep(1.0)
        return True

    def _is_late(self) -> bool:
        return self._deadline is not None and seconds_awake() >= self._deadline

    def _sleep(self, seconds: float) -> None:
        wake = self._wake
        if self._deadline is not None:
            seconds = min(seconds, self._deadline - seconds_awake())
        wake.wait(max(0.0, seconds))
        wake.clear()

    def _carry_out(self, post: Post, life: object, poster: Poster) -> None:
        timeout = self._request_timeout
        if self._deadline is not None:
            timeout = max(0.01, min(timeout, self._deadline - seconds_awake()))
        try:
            answer = poster.post(post.headers, post.body, timeout, post.protocol)
        except PostFailed as failure:
            if life is self._life:
                self._sender.failed(post, f"{self._url}: {failure}", seconds_awake())
        else:
            if life is self._life:
                self._sender.answered(post, answer, seconds_awake())

    # -- forks and the end -----------------------------------------------------------------------------------------

    def _after_fork(self) -> None:
        """In the child, before anything else runs there: start afresh."""
        self._gevent.reinit()  # as gevent's own `fork` does; once more does no harm
        self._hub = self._gevent.get_hub()
        self._poster.forget()
        self._poster = copy(self._poster)  # the parent's greenlet may yet close the one it knows
        self._begin()
        self._sender.restart(on_revival=self._revive if self._running else None)
        multiprocessing = sys.modules.get("multiprocessing.util")
        if multiprocessing is not None:
            multiprocessing.register_after_fork(self, _flush_at_exit_of_child)

    def _revive(self) -> None:
        """In a forked child, with its first event, whatever thread that is recorded in."""
        self._hub.loop.run_callback_threadsafe(self._spawn)
        self._open()

    def _at_exit(self) -> None:
        # gevent asks for the addresses of hosts in a thread, and none can be started any more.
        self._hub.resolver = self._blocking_resolver()
        if not self.stop(EXIT_TIMEOUT):
            _log.warning("Taba client: events were left unsent at exit: %s", self._sender.status()["last_error"])


def _flush_at_exit_of_child(engine: GeventEngine) -> None:
    """A child of `multiprocessing` runs no atexit functions, but these."""
    from multiprocessing.util import Finalize

    Finalize(None, engine._at_exit, exitpriority=0)


class CooperativePoster(Poster):
    """A Poster whose sockets are gevent's: only the calling greenlet waits for them."""

    def __init__(self, endpoint: Endpoint, ca_file: str | None = None) -> None:
        """As a Poster."""
        super().__init__(endpoint, ca_file)  # which says whether the authorities can be used
        self._context = _cooperative_context(ca_file) if endpoint.secure else None

    def _connected(self, timeout: float) -> HTTPConnection:
        if self._connection is None:
            connection = _CooperativeConnection(self._endpoint, self._context, timeout)
            self._connection = connection
            connection.connect()
            return connection
        return super()._connected(timeout)


def _cooperative_context(ca_file: str | None) -> Any:
    """As `verifying_context`, of gevent's class. (Its `create_default_context` makes one of the standard library's.)"""
    module = import_module("gevent.ssl")
    context = module.SSLContext(module.PROTOCOL_TLS_CLIENT)
    if ca_file is None:
        context.load_default_certs()
    else:
        context.load_verify_locations(ca_file)
    return context


class _CooperativeConnection(HTTPConnection):
    """HTTP, or HTTPS with a context of gevent's, over a socket of gevent's."""

    def __init__(self, endpoint: Endpoint, context: Any, timeout: float) -> None:
        super().__init__(endpoint.host, endpoint.port, timeout=timeout)
        if endpoint.secure:
            self.default_port = 443  # left out of the Host header
        self._context = context

    def connect(self) -> None:
        """Open the socket."""
        opened = import_module("gevent.socket").create_connection((self.host, self.port), self.timeout)
        try:
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._context is not None:
                opened = self._context.wrap_socket(opened, server_hostname=self.host)
        except BaseException:
            opened.close()
            raise
        self.sock = opened
