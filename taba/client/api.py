"""The client as an application sees it: `Client`, and `Tab`, which is a tab of a Client.

An application that is one client uses the functions of `taba.client`, which are those of one Client.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from taba.client.names import is_valid_name, parse_url
from taba.client.recorder import COUNTER_GROUP, DEFAULT_MAX_BYTES, Recorder
from taba.client.sender import DEFAULT_FLUSH_PERIOD, Sender
from taba.client.timer import Timer

STOP_TIMEOUT = 5.0  # seconds

ENGINES = {"thread": "ThreadEngine", "asyncio": "AsyncioEngine", "gevent": "GeventEngine", "twisted": "TwistedEngine"}
"""The names of engines, which are those of their modules, and their classes. The first is the default."""


class Engine(Protocol):
    """What drives a Sender. Its constructor takes the Sender and the URL to post to.

    A Post goes to that URL or, if its `protocol` says so, to the place for columns beside it: to
    `names.parse_url(url).target_of(post.protocol)` of the same host, with its headers and its body as they are.
    """

    def start(self) -> Any:
        """Open the Sender and begin to send. What it returns, `Client.initialize` returns."""

    def stop(self, timeout: float) -> Any:
        """Drain the Sender, for at most `timeout` seconds. What it returns, `Client.stop` returns."""


class Client:
    """One client: its tabs, its buffer, its sender. A process may have several.

    `counter`, `percentile`, `gauge`, `buffer`, `unique` and `record_event` are the methods of a
    `taba.client.recorder.Recorder` and documented there. They may be called from any thread, at any time; they neither
    raise nor wait; before `initialize` and after `stop` they do nothing. `initialize` and `stop` are for one thread at
    a time.
    """

    def __init__(
        self,
        *,
        max_buffer_bytes: int = DEFAULT_MAX_BYTES,
        wall: Callable[[], float] = time.time,
        jitter: Callable[[], float] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`max_buffer_bytes` bounds what is recorded and not yet acknowledged; beyond it the newest events are dropped.

        `wall` gives the time that events are stamped with, in seconds since 1970; `jitter` gives numbers in [0, 1) that
        spread retries, by default from `random`; `monotonic` gives seconds that never go back, by which a token file is
        looked at again.
        """
        self._recorder = Recorder(wall, max_buffer_bytes)
        self._jitter = jitter
        self._monotonic = monotonic
        self._sender: Sender | None = None
        self._engine: Engine | None = None
        self._identity: dict[str, Any] = {"client_id": None, "event_post_url": None}
        # Bound here and not defined as methods: a second call would be half of the price of recording.
        self.counter = self._recorder.counter
        self.percentile = self._recorder.percentile
        self.gauge = self._recorder.gauge
        self.buffer = self._recorder.buffer
        self.unique = self._recorder.unique
        self.record_event = self._recorder.record_event

    def initialize(
        self,
        client_id: str,
        event_post_url: str,
        flush_period: float = DEFAULT_FLUSH_PERIOD,
        engine_class: Callable[..., Engine] | str | None = None,
        *,
        token: str | None = None,
        token_file: str | None = None,
        ca_file: str | None = None,
    ) -> Any:
        """Start to record, and to send every `flush_period` seconds to an agent's `/post` URL.

        `client_id` should be durable over restarts, and no other process's at the same time. `engine_class` names the
        engine that sends: "thread" (the default), "asyncio" (from within a running loop), "gevent", or "twisted" (on
        the global reactor); or it makes one of a Sender and the URL. Returns what the engine's `start` does: None, or a
        Deferred from a TwistedEngine.

        `token` is shown to an agent that asks for one, or the first one in `token_file`, or in the file that the
        environment names as TABA_TOKEN_FILE; files are read again when they change. With an https URL the agent's
        certificate is verified by the authorities in the PEM file `ca_file`, or TABA_CA_FILE, or the platform's. What
        makes an engine of your own is given `ca_file` by that name, if it is not None, and TABA_CA_FILE not.

        Raises ValueError for an id that is not 1 to 512 characters of ``A-Za-z0-9._~:/?@!$()*+;=-``, a URL that is not
        http or https, a flush period that is not above 0, a token or file that cannot be used, an engine that there is
        not or that cannot run here, and if the client runs already.
        """
        if self._engine is not None:
            raise ValueError("the Taba client is already initialized; stop it first")
        if not is_valid_name(client_id):
            raise ValueError(f"a client id is 1 to 512 characters of A-Za-z0-9._~:/?@!$()*+;=-, not {client_id!r:.100}")
        if not 0 < flush_period < math.inf:
            raise ValueError(f"flush_period is in seconds and above 0, not {flush_period!r:.100}")
        endpoint = parse_url(event_post_url)
        sender = Sender(
            self._recorder,
            client_id,
            jitter=self._jitter or _chance(),
            flush_period=float(flush_period),
            token=_token_source(token, token_file, self._monotonic),
            columns=endpoint.columns is not None,
        )
        if engine_class is None:
            engine_class = next(iter(ENGINES))
        make = engine_named(engine_class) if isinstance(engine_class, str) else engine_class
        if isinstance(engine_class, str) and ca_file is None:
            ca_file = os.environ.get("TABA_CA_FILE") or None
        trust = {} if ca_file is None else {"ca_file": ca_file}
        self._engine = make(sender, event_post_url, **trust)
        self._sender = sender
        self._identity = {"client_id": client_id, "event_post_url": event_post_url}
        return self._engine.start()

    def stop(self, timeout: float = STOP_TIMEOUT) -> Any:
        """Record nothing more, and send what is recorded, for at most `timeout` seconds.

        Returns True if all of it is accounted for (acknowledged, or in the status as refused or unknown), False if some
        had to be left; a TwistedEngine makes it a Deferred of that, and an AsyncioEngine within its loop a future. A
        client that does not run returns True.
        """
        engine, self._engine = self._engine, None
        return True if engine is None else engine.stop(timeout)

    def get_status(self) -> dict[str, Any]:
        """How the client does: a dict that JSON can hold, always with these members. It may be asked for at any time.

        Counts are of events since `initialize`, or, in a forked child, since the fork; times are in seconds since 1970.

        * `state` (`uninitialized`, `running` or `stopped`), `running` (whether events are recorded), `since` (when that
          began, or None), `client_id`, `event_post_url`;
        * `buffered_events`, `buffered_bytes`: recorded, not yet acknowledged; `in_flight_events`: of these, the ones in
          the batch that is being sent;
        * `sent`: events in batches that were sent at least once; `acknowledged`: those that the agent took, durably;
          `rejected`: events of these that it found invalid;
        * `dropped`: reason -> events that are not counted by any agent, or may not be, and `dropped_by_tab`: tab ->
          reason -> events, of a thousand tabs by name and of all others as `<others>`. Reasons: `full` (there was no
          room), `name` (it cannot name a tab), `value` (it cannot be sent), `refused` (the agent did not take the
          batch), `unknown` (it may have taken it, or not). `full`, `refused`, `unknown`: these counts by themselves;
        * `not_running`: recorded while the client did not run, which is nowhere else in this account;
        * `agent_reachable`: whether the agent answered the last request as an agent that takes events (None before the
          first answer), and `agent_since`: since when that is so; `last_error`, which stays after it is over, or None;
        * `batches`: acknowledged ones; `failed_attempts`: requests that had to be repeated; `protocol`: 2, or 1 for an
          older agent; `instance`, `number`: where the numbering of batches stands.
        """
        if self._sender is None:
            account = Sender(Recorder(time.time), "", jitter=float).status()  # of a client that has done nothing
            account["not_running"] = self._recorder.not_running
        else:
            account = self._sender.status()
        running = self._engine is not None
        state = "running" if running else "uninitialized" if self._sender is None else "stopped"
        return {"state": state, "running": running, **self._identity, **account}

    def tab(self, name: str, type: str = COUNTER_GROUP) -> Tab:
        """The tab `name` of the given Type, to record in."""
        return Tab(self.record_event, name, type)

    def timer(self, name: str) -> Timer:
        """A stopwatch for the tab `name`: see `taba.client.timer`."""
        return Timer(self.percentile, self.counter, name)


class Tab:
    """A tab with a name and a Type. To record in it never raises."""

    def __init__(self, record_event: Callable[[str, str, object], None], name: str, type: str) -> None:
        self.name = name
        self.type = type
        self._record_event = record_event

    def record(self, value: object = 1) -> None:
        """Record `value` in the tab."""
        self._record_event(self.name, self.type, value)

    Record = record


def engine_named(name: str) -> Callable[..., Engine]:
    """What makes the engine `name`: "thread", "asyncio", "gevent" or "twisted". ValueError where there is none of it.

    An engine's module is imported here and not before; so is the global reactor, for "twisted".
    """
    if name not in ENGINES:
        raise ValueError(f"there is no engine {name!r:.100}; there are {', '.join(ENGINES)}")
    from importlib import import_module

    try:
        make: Callable[..., Engine] = getattr(import_module(f"taba.client.engines.{name}"), ENGINES[name])
        return partial(make, reactor=import_module("twisted.internet.reactor")) if name == "twisted" else make
    except ImportError as problem:
        raise ValueError(f"the {name} engine cannot be used here: {problem}") from None


def _token_source(
    token: str | None, token_file: str | None, monotonic: Callable[[], float]
) -> Callable[[], str | None]:
    """Imports what reads files, and the log, only where there is a token."""
    if token is None and not token_file and (token_file == "" or not os.environ.get("TABA_TOKEN_FILE")):
        return lambda: None
    import logging

    from taba.client.token import source_of_token

    log = logging.getLogger("taba.client")
    return source_of_token(token, token_file, os.environ, monotonic, note=log.info, warn=log.warning)


def _chance() -> Callable[[], float]:
    from random import random

    return random
