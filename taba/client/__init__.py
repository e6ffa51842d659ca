"""The client library: what an application calls to record events.

    from taba import client

    client.initialize("my_application.host7", "http://localhost:8279/post")
    client.counter("bids_won")
    client.percentile("bid_price", 1.27)
    client.gauge("version", "2.4.1")
    client.stop()

Recording never raises and never waits; events are sent once in a second from the background, each is counted exactly
once, and what is left when the process ends is sent then. Only the standard library is needed. Every function has the
name that the first Taba client gave it (`Initialize`, `Counter`, ...) and one as Python spells it today.

The functions here are those of one Client, which this package keeps: the only state of a module in Taba. Events are
recorded wherever in a program something happens; that each of these places should be handed a client first is more than
applications will do. For several clients in one process, make a `Client` for each.
"""

from __future__ import annotations

from typing import Any

from taba.client import api
from taba.client.api import Client
from taba.client.recorder import COUNTER_GROUP

__all__ = [
    "Buffer",
    "Client",
    "Counter",
    "Gauge",
    "GetStatus",
    "Initialize",
    "Percentile",
    "RecordEvent",
    "Stop",
    "Tab",
    "Unique",
    "buffer",
    "counter",
    "gauge",
    "get_status",
    "initialize",
    "percentile",
    "record_event",
    "stop",
    "timer",
    "unique",
]

_client = Client()

Initialize = initialize = _client.initialize
Stop = stop = _client.stop
GetStatus = get_status = _client.get_status
Counter = counter = _client.counter
Percentile = percentile = _client.percentile
Gauge = gauge = _client.gauge
Buffer = buffer = _client.buffer
Unique = unique = _client.unique
record_event = _client.record_event
timer = _client.timer

_TYPES = frozenset(
    (
        "CounterGroup",
        "PercentileGroup",
        "TotalsCounter",
        "PercentileCounter",
        "UniqueGroup",
        "Gauge",
        "ExpiryGauge",
        "Buffer",
    )
)


def RecordEvent(name: str, type: Any = None, value: Any = None, tab_type: str | None = None) -> None:
    """As `record_event`.

    The order of the first client, (name, value, tab_type), is understood as well if `tab_type` is given by that name,
    or is a Type that Taba comes with while the value is not the name of one.
    """
    if tab_type is not None:
        type, value = tab_type, type if value is None else value
    elif value.__class__ is str and value in _TYPES and not (type.__class__ is str and type in _TYPES):
        type, value = value, type
    _client.record_event(name, type, value)


class Tab(api.Tab):
    """A tab of this process's client: `Tab("bids_won").record(1)`, or `Tab("bid_price", "PercentileGroup")`."""

    def __init__(self, name: str, type: str = COUNTER_GROUP) -> None:
        super().__init__(_client.record_event, name, type)
