"""Prepared bodies of both protocols, and the sender of them: a process of its own, so that it costs the server
nothing.
"""

from __future__ import annotations

import http.client
import json
import multiprocessing
import random
import time
from array import array
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


def frame(client: str, tabs: int, events: int, type: str = "CounterGroup", seed: int = 1) -> bytes:
    """The same events in columns, each tab's in the order of their times."""
    chance = random.Random(seed)
    now = time.time()
    rows = [[f"bench_tab_{tab:06d}", type, events] for tab in range(tabs)]
    header = json.dumps({"client": client, "tabs": rows}).encode()
    payload = array("d")
    for _ in range(tabs):
        payload.extend(sorted(round(now - chance.random(), 3) for _ in range(events)))
        payload.extend(round(chance.expovariate(1), 3) for _ in range(events))
    return len(header).to_bytes(4, "little") + header + payload.tobytes()


def _send(port: int, bodies: Sequence[bytes], times: int, first: int, path: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    for i in range(times):
        connection.request("POST", path, bodies[(first + i) % len(bodies)])
        answer = connection.getresponse()
        text = answer.read()
        if answer.status != 200 or text:
            raise RuntimeError(f"{answer.status}: {text[:200]!r}")
    connection.close()


def send(
    port: int, bodies: Sequence[bytes], times: int, path: str = "/post", connections: int = CONNECTIONS
) -> float:
    """Post `times` bodies on each connection, by a process each; the seconds it took."""
    context = multiprocessing.get_context("fork")
    senders = [
        context.Process(target=_send, args=(port, bodies, times, first, path), daemon=True)
        for first in range(connections)
    ]
    started = time.monotonic()
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    if any(sender.exitcode for sender in senders):
        raise RuntimeError("a sender failed")
    return time.monotonic() - started
