"""Protocol 2 between agents and servers: the append request and its answer, and the topology.

docs/reference/protocol-2.md specifies them for other implementations. Pure functions between bytes and frozen objects;
what is decoded is valid in every number and string, or FrameError says what is wrong and where. Members that are not
known are ignored, so that later versions may add some; rows have exactly the fields given here.

Not here: content encodings (gzip is a matter of HTTP), the checksums of bodies, and whether a batch may be appended
(the store judges that).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from taba.errors import FrameError
from taba.interfaces import Append, Outcome, Verdict
from taba.wire import frame
from taba.wire.frame import MAX_HEADER, MAX_TIME, MAX_WHOLE, check, hexadecimal, member, nullable, number, whole

MAX_VBUCKETS = 65536
MAX_FLUSH = 3600.0  # seconds
MAX_REASON = 512  # characters
MAX_TOPOLOGY = 1024 * 1024  # bytes
MAX_ID = 64  # hexadecimal digits of a lineage; all other ids have ID_DIGITS
ID_DIGITS = 32

_CHECKSUM = whole("checksum", 0, 2**32 - 1)
_CLUSTER = hexadecimal("cluster", ID_DIGITS, ID_DIGITS)
_INCARNATION = hexadecimal("incarnation", ID_DIGITS, ID_DIGITS)
_SEQ = whole("seq", 1, MAX_WHOLE)
_TIME = number("time", 0, MAX_TIME)
_VBUCKET = whole("vbucket", 0, MAX_VBUCKETS - 1)

BATCH_ROW = frame.Row(
    _VBUCKET,
    _SEQ,
    whole("after", 0, MAX_WHOLE),
    nullable(whole("previous", 0, 2**32 - 1)),
    whole("before", 0, MAX_WHOLE),
    whole("events", 0, MAX_WHOLE),
    number("sealed", 0, MAX_TIME),
    _CHECKSUM,
    whole("length", 0, MAX_WHOLE),
)
LOOK_ROW = frame.Row(_VBUCKET, _SEQ)
OUTCOME_ROW = frame.Row(
    _VBUCKET,
    _SEQ,
    frame.one_of("verdict", [verdict.value for verdict in Verdict]),
    whole("last", 0, MAX_WHOLE),
    nullable(_CHECKSUM),
    hexadecimal("lineage", 0, MAX_ID),
    frame.text("reason", MAX_REASON),
)


# ---------------------------------------------------------------------------------------------------------- append


@frozen
class AppendRequest:
    """What an agent sends to `POST /v2/append`: batches and looks (`body` None), each lane at most once."""

    cluster: str
    """The cluster the batches are for; a server of another one refuses the whole request."""
    time: float
    """The sender's wall time."""
    batches: tuple[Append, ...] = ()


@frozen
class AppendAnswer:
    """What a server answers: an outcome for each batch and look whose fate it knows."""

    cluster: str
    time: float
    """The server's wall time."""
    flush: float
    """The shortest flush interval that the servers want of an agent, in seconds."""
    outcomes: tuple[Outcome, ...] = ()


def encode_append_request(request: AppendRequest) -> bytes:
    """The frame of a request: incarnations in the order of their first rows, batches before looks in each."""
    lanes: dict[str, dict[str, list[list[Any]]]] = {}
    bodies: dict[str, list[bytes]] = {}
    for batch in request.batches:
        rows = lanes.get(batch.incarnation)
        if rows is None:
            rows = lanes[batch.incarnation] = {"batches": [], "looks": []}
            bodies[batch.incarnation] = []
        body = batch.body
        if body is None:
            rows["looks"].append([batch.vbucket, batch.seq])
        else:
            rows["batches"].append(
                [
                    batch.vbucket,
                    batch.seq,
                    batch.after,
                    batch.previous,
                    batch.before,
                    batch.events,
                    batch.sealed,
                    batch.checksum,
                    len(body),
                ]
            )
            bodies[batch.incarnation].append(body)
    header = {"cluster": request.cluster, "time": request.time, "lanes": lanes}
    return frame.encode_frame(header, [body for each in bodies.values() for body in each])


def decode_append_request(data: bytes, max_header: int = MAX_HEADER) -> AppendRequest:
    """The request in a frame; its batches in the order in which they stand in the header.

    `max_header` is in bytes. Raises FrameError for every input that is not a request.
    """
    header, payload = frame.decode_frame(data, max_header)
    cluster, time = member(header, _CLUSTER), float(member(header, _TIME))
    batches: list[Append] = []
    offset = 0
    for incarnation, value in frame.obj(header.get("lanes"), "lanes").items():
        where = _lanes_of(incarnation)
        rows = frame.obj(value, where)
        seen: set[int] = set()
        place = f"{where}.batches"
        for index, row in enumerate(frame.array(rows.get("batches", []), place)):
            BATCH_ROW.check(row, place, index)
            batches.append(_decode_batch(row, incarnation, payload, offset, place, index))
            offset += row[-1]
            seen.add(row[0])
        place = f"{where}.looks"
        for index, row in enumerate(frame.array(rows.get("looks", []), place)):
            vbucket, seq = LOOK_ROW.check(row, place, index)
            batches.append(Append(vbucket, incarnation, seq))
            seen.add(vbucket)
        _once(where, seen, len(rows.get("batches", ())) + len(rows.get("looks", ())))
    if offset != len(payload):
        raise FrameError(f"payload: {len(payload)} bytes, but the batches have {offset}")
    return AppendRequest(cluster, time, tuple(batches))


def _decode_batch(row: list[Any], incarnation: str, payload: memoryview, offset: int, place: str, index: int) -> Append:
    """The batch of a checked row, whose body begins at `offset` of the payload."""
    vbucket, seq, after, previous, before, events, sealed, checksum, length = row
    if after >= seq:
        raise FrameError(f"{place}[{index}].after: {after} is not below the batch's own number {seq}")
    end = offset + length
    if end > len(payload):
        left = len(payload) - offset
        raise FrameError(f"{place}[{index}].length: {length} bytes, but the payload has {left} left")
    body = bytes(payload[offset:end])
    return Append(vbucket, incarnation, seq, after, previous, before, events, float(sealed), checksum, body)


def _lanes_of(incarnation: str) -> str:
    """Where the lanes of an incarnation stand, for error texts."""
    check(incarnation, _INCARNATION, "lanes")
    return f"lanes.{incarnation}"


def _once(where: str, seen: set[int], rows: int) -> None:
    """A lane has one batch or look in flight, so it stands once in a request and once in an answer."""
    if len(seen) != rows:
        raise FrameError(f"{where}: {rows} rows for {len(seen)} vbuckets; each may stand once")


def encode_append_answer(answer: AppendAnswer) -> bytes:
    """The JSON of an answer. `Outcome.appended` does not travel: to an agent a duplicate is as good as a first."""
    lanes: dict[str, list[list[Any]]] = {}
    for outcome in answer.outcomes:
        lanes.setdefault(outcome.incarnation, []).append(
            [
                outcome.vbucket,
                outcome.seq,
                outcome.verdict.value,
                outcome.last,
                outcome.checksum,
                outcome.lineage,
                outcome.reason[:MAX_REASON],
            ]
        )
    return frame.encode_object({"cluster": answer.cluster, "time": answer.time, "flush": answer.flush, "lanes": lanes})


def decode_append_answer(data: bytes, max_bytes: int = MAX_HEADER) -> AppendAnswer:
    """The answer in some JSON. `max_bytes` bounds it. Raises FrameError for every input that is not an answer."""
    header = frame.decode_object(data, max_bytes)
    outcomes: list[Outcome] = []
    for incarnation, rows in frame.obj(header.get("lanes"), "lanes").items():
        where = _lanes_of(incarnation)
        for index, row in enumerate(frame.array(rows, where)):
            outcomes.append(_decode_outcome(OUTCOME_ROW.check(row, where, index), incarnation, where, index))
        _once(where, {row[0] for row in rows}, len(rows))
    return AppendAnswer(
        member(header, _CLUSTER),
        float(member(header, _TIME)),
        float(member(header, number("flush", 0, MAX_FLUSH))),
        tuple(outcomes),
    )


def _decode_outcome(row: list[Any], incarnation: str, where: str, index: int) -> Outcome:
    """The outcome of a checked row."""
    vbucket, seq, word, last, checksum, lineage, reason = row
    verdict = _VERDICTS[word]
    if not lineage and verdict is not Verdict.MOVED:
        # What has no lineage cannot be confirmed, nor can a rollback be told from it.
        raise FrameError(f"{where}[{index}].lineage: missing for the verdict {word}")
    return Outcome(vbucket, incarnation, seq, verdict, last, checksum, lineage, reason)


_VERDICTS: Mapping[str, Verdict] = {verdict.value: verdict for verdict in Verdict}


# -------------------------------------------------------------------------------------------------------- topology


@frozen
class Topology:
    """What an agent has to know of a cluster before it seals anything for it: the answer to `GET /v2/topology`."""

    cluster: str
    vbuckets: int
    """NUM_VBUCKETS: a tab's vbucket is crc32(tab) % vbuckets."""
    partials: Mapping[str, tuple[int, ...]] = field(factory=dict)
    """Type -> versions of its Partials that all servers understand."""
    types: tuple[str, ...] = ()
    """The Types that servers can fold."""
    limits: Mapping[str, int] = field(factory=dict)
    """Limits by name; `body` is the most bytes of an append request, after inflation."""
    endpoints: tuple[str, ...] = ()
    """Base URLs of servers that take batches; empty when the server does not know others."""
    durability: str = ""
    """`memory`, `replicated` or `fsynced`: what an ok promises."""
    time: float = 0.0
    """The server's wall time."""
    kinds: Mapping[str, int] = field(factory=dict)
    """Type -> how its events travel: `taba.native`'s RAW and so on. Agents that have no Handler of a Type take it by
    this, if it is RAW or one of RAW's shapes; where it is missing, as RAW.
    """


_NAME = frame.text("name", 512)
_PARTIAL_VERSION = whole("version", 0, 255)
_KIND = whole("kind", 0, 65535)
_URL = frame.text("endpoint", 2048)


def encode_topology(topology: Topology) -> bytes:
    """The JSON of a topology."""
    kinds = {"kinds": dict(topology.kinds)} if topology.kinds else {}
    return frame.encode_object(
        {
            "cluster": topology.cluster,
            "vbuckets": topology.vbuckets,
            "partials": {name: list(versions) for name, versions in topology.partials.items()},
            "types": list(topology.types),
            "limits": dict(topology.limits),
            "endpoints": list(topology.endpoints),
            "durability": topology.durability,
            "time": topology.time,
            **kinds,
        }
    )


def decode_topology(data: bytes, max_bytes: int = MAX_TOPOLOGY) -> Topology:
    """The topology in some JSON. `max_bytes` bounds it. Raises FrameError for every input that is no topology."""
    header = frame.decode_object(data, max_bytes)
    partials = {
        check(name, _NAME, "partials"): tuple(_each(versions, _PARTIAL_VERSION, f"partials.{name}"))
        for name, versions in frame.obj(header.get("partials"), "partials").items()
    }
    limits = {
        check(name, _NAME, "limits"): check(limit, whole("limit", 0, MAX_WHOLE), f"limits.{name}")
        for name, limit in frame.obj(header.get("limits"), "limits").items()
    }
    kinds = {
        check(name, _NAME, "kinds"): check(kind, _KIND, f"kinds.{name}")
        for name, kind in frame.obj(header.get("kinds", {}), "kinds").items()
    }
    return Topology(
        member(header, _CLUSTER),
        member(header, whole("vbuckets", 1, MAX_VBUCKETS)),
        partials,
        tuple(_each(header.get("types"), _NAME, "types")),
        limits,
        tuple(_each(header.get("endpoints"), _URL, "endpoints")),
        member(header, frame.text("durability", 32)),
        float(member(header, _TIME)),
        kinds,
    )


def _each(value: Any, expected: frame.Field, where: str) -> list[Any]:
    """The elements of an array, if `expected` allows every one."""
    return [check(each, expected, f"{where}[{index}]") for index, each in enumerate(frame.array(value, where))]


# --------------------------------------------------------------------------------------------------------- refusal


@frozen
class Refusal:
    """The JSON body of an answer that is not 200, as far as it can be read."""

    error: str
    cluster: str | None = None
    """With 409: the cluster that the server belongs to."""


def decode_refusal(data: bytes, max_bytes: int = 65536) -> Refusal:
    """The refusal in a body. Raises FrameError when it is not one (proxies answer with pages of their own)."""
    header = frame.decode_object(data, max_bytes)
    cluster = check(header.get("cluster"), nullable(_CLUSTER), "cluster")
    return Refusal(member(header, frame.text("error", 4096)), cluster)
