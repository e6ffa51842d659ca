#!/usr/bin/env python3
"""A first Taba client: it records three events, and says what became of them.

Start a server with an agent in it, which needs no settings, and then this file:

    twistd -n taba-server &
    python docs/example_client.py

Seconds later anyone can ask for the counts:

    taba-cli agg example_moving_counter example_gauge
"""

import logging
import sys

from taba import client

AGENT_URL = "http://localhost:8279/post"
CLIENT_ID = "example_client"  # stays the same over restarts, and no two processes at once have the same one


def main() -> int:
    logging.basicConfig(format="%(message)s")  # the client logs what goes wrong, through `logging`
    client.Initialize(CLIENT_ID, AGENT_URL)

    # A Counter: how many, how much and how much on average, over the last minute, ten minutes, hour and day.
    client.Counter("example_moving_counter", 100)
    client.Counter("example_moving_counter", 1000)
    # A Gauge: how many clients have which value now.
    client.Gauge("example_gauge", "value")

    # Events are sent in the background, once in a second. Stop sends what is left, and waits for it a few seconds.
    print(f"Sending three events to {AGENT_URL} ...")
    client.Stop()

    status = client.GetStatus()
    if status["acknowledged"] < 3:
        print(f"They were not taken. {status['last_error'] or ''}", file=sys.stderr)
        print(
            f"Is an agent running at {AGENT_URL}? `twistd -n taba-server` starts a server with one.", file=sys.stderr
        )
        return 1
    print(f"The agent has {status['acknowledged']} events of client {CLIENT_ID!r}, each of them exactly once. Now ask:")
    print("    taba-cli agg example_moving_counter example_gauge")
    return 0


if __name__ == "__main__":
    sys.exit(main())
