"""Prepared protocol 1 bodies, and the sender of them: a process of its own, so that it costs the server nothing."""

from __future__ import annotations

import http.client
import multiprocessing
import random
import time
from collections.abc import Sequence

CONNECTIONS = 2


def body(client: str, tabs: int, events: int, type: str = "CounterGroup", seed: int = 1) -> bytes:
    """One body: values exponential with three decimals, times within the last second."""
    chance = random.Random(seed)
    now = time.time()
    parts = ["1\n\n", client, "\n\n"]
    for tab in range(tabs):
        parts.append(f"bench_tab_{tab:06d}\n")
        parts += [f'["{type}", {now - chance.random():.3f}, "{chance.expovariate(1):.3f}"]\n' for _ in range(events)]
        parts.append("\n")
    parts.append("\n")
    return "".join(parts).encode()


def _send(port: int, bodies: Sequence[bytes], times: int, first: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    for i in range(times):
        connection.request("POST", "/post", bodies[(first + i) % len(bodies)])
        answer = connection.getresponse()
        text = answer.read()
        if answer.status != 200 or text:
            raise RuntimeError(f"{answer.status}: {text[:200]!r}")
    connection.close()


def send(port: int, bodies: Sequence[bytes], times: int) -> float:
    """Post `times` bodies on each of two connections, by two processes; the seconds it took."""
    context = multiprocessing.get_context("fork")
    senders = [
        context.Process(target=_send, args=(port, bodies, times, first), daemon=True) for first in range(CONNECTIONS)
    ]
    started = time.monotonic()
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    if any(sender.exitcode for sender in senders):
        raise RuntimeError("a sender failed")
    return time.monotonic() - started
