"""The settings of StatsD, which agents have, and servers with an agent inside."""

from __future__ import annotations

from typing import Any

from taba.settings.fields import setting

TYPES = {
    "c": "CounterGroup", "g": "Gauge", "ms": "PercentileGroup", "h": "PercentileGroup", "d": "PercentileGroup",
    "s": "UniqueGroup",
}  # fmt: skip
"""StatsD metric -> Type, unless STATSD_TYPES says otherwise."""


def listen() -> Any:
    """STATSD_LISTEN."""
    return setting(
        "STATSD_LISTEN",
        "Where StatsD and DogStatsD are taken: udp:PORT and tcp:PORT (on loopback unless interface=ADDRESS follows),"
        " unix:PATH for datagrams; one text or a list of them. On a server: with EMBEDDED_AGENT.",
        (),
        example=["udp:8125", "tcp:8126", "unix:/run/taba/statsd.sock"],
        one=True,
    )


def types() -> Any:
    """STATSD_TYPES."""
    return setting(
        "STATSD_TYPES",
        'StatsD metric -> Type, beside the defaults; "" ignores a metric.',
        dict,
        example={"c": "CounterGroup", "g": "Gauge", "h": "PercentileGroup", "s": ""},
    )


def client() -> Any:
    """STATSD_CLIENT."""
    return setting("STATSD_CLIENT", "The client that stands for all senders of StatsD; null for the host's name.", None)


def gauges() -> Any:
    """STATSD_GAUGES."""
    return setting(
        "STATSD_GAUGES",
        "What a sign before a gauge's value means: changes, as StatsD has it, or values, as DogStatsD has it.",
        "changes",
        among=("changes", "values"),
    )
