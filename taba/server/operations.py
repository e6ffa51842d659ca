"""Operations: what is to be done to tabs, on its way to be as events of reserved raw Types. Pure, but for `Operations`.

An operation is one raw event of one of the Types below. It travels as any other event, through the spool and the lanes
of the agent inside the server's process, so that neither a crash nor a failover can forget it; be carries it out where
it stands in the log. No agent takes such events from outside: they are of no Type that has a Handler.

Its tab is the tab it is about, its client the name of the server, its payload a JSON object: `id`, `by` (who asked),
`time` (wall time of asking), and what the Type wants beside that.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import count
from typing import Any, Final

from attrs import field, frozen
from twisted.internet.defer import Deferred, inlineCallbacks

from taba import native

DELETE: Final = "taba.delete"
UNDELETE: Final = "taba.undelete"
"""`deleted` in its payload names the deletion, in milliseconds since 1970; without it it is the newest."""
UPGRADE: Final = "taba.upgrade"
REBUILD: Final = "taba.rebuild"
REFOLD: Final = "taba.refold"
"""`ids` in its payload names what was set aside; its tab is a carrier that lies in the vbucket, see `carrier`."""
TYPES: Final = frozenset((DELETE, UNDELETE, UPGRADE, REBUILD, REFOLD))

AT_A_TIME: Final = 1_000
"""How many operations go to the agent in one body."""


@frozen
class Operation:
    """One operation as it came with a batch. Those of one batch are carried out in the order of `order`."""

    type: str
    tab: str
    time: float
    """Wall time of asking."""
    by: str = ""
    deleted: int | None = None
    ids: tuple[str, ...] = ()
    order: tuple[Any, ...] = field(default=(), eq=False, repr=False)


def parse(type: str, tab: str, partial: bytes) -> list[Operation]:
    """The operations of a raw Partial, without those whose payload says nothing that can be done. CodecError for other
    bytes.
    """
    found = []
    for event in native.raw_events(partial):
        order = (event.stamp, event.time, type, tab, event.value)
        operation = _read(type, tab, event.value, order)
        if operation is not None:
            found.append(operation)
    return found


def _read(type: str, tab: str, payload: bytes, order: tuple[Any, ...]) -> Operation | None:
    try:
        given = json.loads(payload)
        time, deleted = float(given["time"]), given.get("deleted")
        ids = tuple(str(each) for each in given.get("ids", ()))
        operation = Operation(
            type, tab, time, str(given.get("by", "")), None if deleted is None else int(deleted), ids, order
        )
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        return None
    return operation if math.isfinite(time) and 0.0 <= time < 1e12 else None


@frozen
class Request:
    """An operation that somebody asks for; `more` goes into its payload."""

    type: str
    tab: str
    more: Mapping[str, Any] = field(factory=dict)


def body_of(requests: Iterable[Request], client: str, time: float, by: str, new_id: Callable[[], str]) -> bytes:
    """Operations as a body of protocol 1, for the agent inside."""
    lines = ["1\n\n", client, "\n\n"]
    for each in requests:
        payload = json.dumps({"id": new_id(), "by": by, "time": time, **each.more})
        lines += [each.tab, "\n", json.dumps([each.type, time, payload]), "\n\n"]
    return "".join([*lines, "\n"]).encode()


def vbucket_of(tab: str, vbuckets: int) -> int:
    """The vbucket in which a tab lies."""
    return native.crc32(tab.encode()) % vbuckets


def carrier(vbucket: int, vbuckets: int) -> str:
    """A name that lies in a vbucket, for an operation that is about no tab."""
    return next(name for name in (f"{REFOLD}.{n}" for n in count()) if vbucket_of(name, vbuckets) == vbucket)


Operate = Callable[[bytes, Iterable[str]], Deferred[None]]
"""Takes a body of protocol 1 with events of the named raw Types; fires when they are durable in a spool."""


class Operations:
    """Sends operations. `client` is the name that they bear, `operate` the agent inside, `new_id` draws their ids."""

    def __init__(
        self, operate: Operate, client: str, wall: Callable[[], float], new_id: Callable[[], str]
    ) -> None:
        self._operate = operate
        self._client = client
        self._wall = wall
        self._new_id = new_id

    def send(self, type: str, tab: str, payload: Mapping[str, Any], by: str = "") -> Deferred[None]:
        """Send one operation; fires once it is durable. SpoolError when it cannot be now."""
        return self.send_all([Request(type, tab, payload)], by)

    @inlineCallbacks
    def send_all(self, requests: Sequence[Request], by: str = "", time: float | None = None):  # type: ignore[no-untyped-def]
        """Send several, in their order, as asked for at wall time `time`, now by default; fires once all are durable.
        When it fails some may have been sent.
        """
        asked = self._wall() if time is None else time
        for start in range(0, len(requests), AT_A_TIME):
            some = requests[start : start + AT_A_TIME]
            yield self._operate(body_of(some, self._client, asked, by, self._new_id), TYPES)
