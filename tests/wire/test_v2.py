"""Protocol 2 between agents and servers: what is written is read again, and nothing else is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from taba.errors import FrameError
from taba.interfaces import Append, Outcome, Verdict
from taba.wire.frame import encode_frame
from taba.wire.v2 import (
    AppendAnswer,
    AppendRequest,
    Refusal,
    Topology,
    decode_append_answer,
    decode_append_request,
    decode_refusal,
    decode_topology,
    encode_append_answer,
    encode_append_request,
    encode_topology,
)

GOLDEN = Path(__file__).parent.parent / "golden" / "frames"
QUICK = settings(max_examples=100, deadline=None, database=None)
CLUSTER = "c" * 32
FIRST, SECOND = "a" * 32, "b" * 32
LINEAGE = "1" * 32

REQUEST = AppendRequest(
    CLUSTER,
    1700000000.25,
    (
        Append(3, FIRST, 7, 6, 2863311530, 120, 20, 1699999999.5, 305419896, b"first body"),
        Append(127, FIRST, 1, 0, None, 0, 1, 1700000000.0, 0, b""),
        Append(9, FIRST, 41),
        Append(3, SECOND, 12, 9, None, 300, 5, 1699990000.0, 4294967295, b"\x00\xffsecond"),
    ),
)
ANSWER = AppendAnswer(
    CLUSTER,
    1700000000.375,
    0.25,
    (
        Outcome(3, FIRST, 7, Verdict.OK, 7, 305419896, LINEAGE),
        Outcome(127, FIRST, 1, Verdict.MOVED, 0, None, ""),
        Outcome(9, FIRST, 41, Verdict.GAP, 40, 17, LINEAGE),
        Outcome(4, FIRST, 5, Verdict.CONFLICT, 5, 18, LINEAGE),
        Outcome(3, SECOND, 12, Verdict.REFUSED, 9, 19, LINEAGE, "too old"),
    ),
)
TOPOLOGY = Topology(
    CLUSTER,
    128,
    {"CounterGroup": (1,), "Gauge": (1, 2)},
    ("CounterGroup", "Gauge"),
    {"body": 16777216},
    ("http://taba-1.example:8300", "http://taba-2.example:8300"),
    "replicated",
    1700000000.5,
)

CHECKSUMS = st.integers(0, 2**32 - 1)
WHOLE = st.integers(0, 2**53 - 1)
TIMES = st.floats(0, 253402300800.0)
IDS = st.text("0123456789abcdef", min_size=32, max_size=32)


@st.composite
def lanes(draw: st.DrawFn) -> list[tuple[str, int]]:
    """Different lanes of a few incarnations, those of one incarnation together."""
    found: list[tuple[str, int]] = []
    for incarnation in draw(st.lists(IDS, max_size=3, unique=True)):
        vbuckets = draw(st.lists(st.integers(0, 65535), min_size=1, max_size=4, unique=True))
        found += [(incarnation, vbucket) for vbucket in vbuckets]
    return found


@st.composite
def requests(draw: st.DrawFn) -> AppendRequest:
    """Requests in the order in which they are written: an incarnation's batches, then its looks."""
    batches: list[Append] = []
    for incarnation, vbucket in draw(lanes()):
        seq = draw(st.integers(1, 2**53 - 1))
        if draw(st.booleans()):
            batches.append(Append(vbucket, incarnation, seq))
            continue
        batches.append(
            Append(
                vbucket,
                incarnation,
                seq,
                draw(st.integers(0, seq - 1)),
                draw(st.none() | CHECKSUMS),
                draw(WHOLE),
                draw(WHOLE),
                draw(TIMES),
                draw(CHECKSUMS),
                draw(st.binary(max_size=30)),
            )
        )
    order = {batch.incarnation: number for number, batch in enumerate(batches[::-1])}
    batches.sort(key=lambda batch: (-order[batch.incarnation], batch.body is None))
    return AppendRequest(draw(IDS), draw(TIMES), tuple(batches))


@st.composite
def answers(draw: st.DrawFn) -> AppendAnswer:
    """Answers of every kind."""
    outcomes = [
        Outcome(
            vbucket,
            incarnation,
            draw(st.integers(1, 2**53 - 1)),
            draw(st.sampled_from(list(Verdict))),
            draw(WHOLE),
            draw(st.none() | CHECKSUMS),
            draw(IDS),
            draw(st.text(st.characters(exclude_categories=["Cs"]), max_size=20)),
        )
        for incarnation, vbucket in draw(lanes())
    ]
    return AppendAnswer(draw(IDS), draw(TIMES), draw(st.floats(0, 3600)), tuple(outcomes))


def header_of(request: AppendRequest) -> dict[str, Any]:
    """The header as it is written, to be spoiled."""
    frame = encode_append_request(request)
    header: dict[str, Any] = json.loads(frame[4 : 4 + int.from_bytes(frame[:4], "little")])
    return header


def payload_of(request: AppendRequest) -> bytes:
    """The bodies as they are written."""
    return b"".join(batch.body for batch in request.batches if batch.body is not None)


class GoldenTests(SynchronousTestCase):
    """The bytes of this version stay readable, and are written just so."""

    def test_append_request(self) -> None:
        """The golden request is what the encoder writes, and reads as what was written."""
        golden = (GOLDEN / "append-request.bin").read_bytes()
        self.assertEqual(encode_append_request(REQUEST), golden)
        self.assertEqual(decode_append_request(golden), REQUEST)

    def test_append_answer(self) -> None:
        """The golden answer is what the encoder writes, and reads as what was written."""
        golden = (GOLDEN / "append-answer.json").read_bytes()
        self.assertEqual(encode_append_answer(ANSWER), golden)
        self.assertEqual(decode_append_answer(golden), ANSWER)

    def test_topology(self) -> None:
        """The golden topology is what the encoder writes, and reads as what was written."""
        golden = (GOLDEN / "topology.json").read_bytes()
        self.assertEqual(encode_topology(TOPOLOGY), golden)
        self.assertEqual(decode_topology(golden), TOPOLOGY)


class RequestTests(SynchronousTestCase):
    """Append requests."""

    @QUICK
    @given(requests())
    def test_what_was_written_is_read(self, request: AppendRequest) -> None:
        """Every request comes back as it was."""
        self.assertEqual(decode_append_request(encode_append_request(request)), request)

    @QUICK
    @given(requests(), st.randoms(use_true_random=False))
    def test_order_of_lanes_does_not_matter(self, request: AppendRequest, chance: Any) -> None:
        """However the batches are ordered, the same ones arrive with their own bodies."""
        shuffled = list(request.batches)
        chance.shuffle(shuffled)
        read = decode_append_request(encode_append_request(evolve(request, batches=tuple(shuffled))))
        self.assertEqual(set(read.batches), set(request.batches))

    @QUICK
    @given(requests())
    def test_every_prefix_is_refused(self, request: AppendRequest) -> None:
        """A request that was cut short is an error, wherever it was cut."""
        frame = encode_append_request(request)
        for end in {*range(0, len(frame), 7), len(frame) - 1}:
            self.assertRaises(FrameError, decode_append_request, frame[:end])

    @settings(max_examples=500, deadline=None, database=None)
    @given(requests() | st.just(REQUEST), st.data())
    def test_damaged_bytes(self, request: AppendRequest, data: st.DataObject) -> None:
        """With bytes changed, put in or taken out, the answer is a request or a FrameError."""
        frame = bytearray(encode_append_request(request))
        for _ in range(data.draw(st.integers(1, 3))):
            place = data.draw(st.integers(0, max(0, len(frame) - 1)))
            frame[place : place + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
        try:
            read = decode_append_request(bytes(frame))
        except FrameError:
            return
        self.assertEqual(decode_append_request(encode_append_request(read)), read)

    def test_every_field_is_checked(self) -> None:
        """Whatever stands in the place of any value of the header is a request or a FrameError that says where."""
        strange: list[Any] = [None, True, -1, 2**53, 1.5, 1e300, "", "x", "A" * 32, [], {}, [[]], {"": []}]
        for path in (["cluster"], ["time"], ["lanes"], ["lanes", FIRST], ["lanes", FIRST, "batches"]):
            for value in strange:
                self.spoil(path, value)
        for column in range(9):
            for value in strange:
                self.spoil(["lanes", FIRST, "batches", 0, column], value)
        for column in range(2):
            for value in strange:
                self.spoil(["lanes", FIRST, "looks", 0, column], value)

    def spoil(self, path: list[Any], value: Any) -> None:
        """Put a value somewhere into the golden request."""
        header = header_of(REQUEST)
        place: Any = header
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = value
        try:
            decode_append_request(encode_frame(header, [payload_of(REQUEST)]))
        except FrameError as problem:
            self.assertRegex(str(problem), "^(cluster|time|lanes|payload|header)", (path, value))

    def refused(self, header: dict[str, Any], payload: bytes | None = None) -> str:
        """The text of the error."""
        frame = encode_frame(header, [payload_of(REQUEST) if payload is None else payload])
        return str(self.assertRaises(FrameError, decode_append_request, frame))

    def test_payload_must_fit(self) -> None:
        """The bodies fill the payload exactly."""
        header = header_of(REQUEST)
        self.assertIn("payload", self.refused(header, payload_of(REQUEST) + b"x"))
        self.assertIn("length", self.refused(header, payload_of(REQUEST)[:-1]))

    def test_batch_follows_a_lower_number(self) -> None:
        """No batch follows itself, or a later one."""
        header = header_of(REQUEST)
        header["lanes"][FIRST]["batches"][0][2] = 7
        self.assertIn(f"lanes.{FIRST}.batches[0].after", self.refused(header))

    def test_lane_stands_once(self) -> None:
        """A lane has one batch or look in flight."""
        header = header_of(REQUEST)
        header["lanes"][FIRST]["looks"].append([3, 5])
        self.assertIn(f"lanes.{FIRST}", self.refused(header))

    def test_unknown_members_are_ignored(self) -> None:
        """A later version may say more."""
        header = header_of(REQUEST)
        header["priority"] = {"high": [1, 2, 3]}
        header["lanes"][FIRST]["notes"] = "x"
        frame = encode_frame(header, [payload_of(REQUEST)])
        self.assertEqual(decode_append_request(frame), REQUEST)

    def test_batches_or_looks_may_be_missing(self) -> None:
        """An incarnation without batches, or without looks, need not say so."""
        header = {"cluster": CLUSTER, "time": 1, "lanes": {FIRST: {"looks": [[1, 2]]}, SECOND: {}}}
        self.assertEqual(
            decode_append_request(encode_frame(header)), AppendRequest(CLUSTER, 1.0, (Append(1, FIRST, 2),))
        )

    def test_limit_of_the_header(self) -> None:
        """A server says how large a header may be."""
        self.assertRaises(FrameError, decode_append_request, encode_append_request(REQUEST), 100)


class AnswerTests(SynchronousTestCase):
    """Answers to append requests."""

    @QUICK
    @given(answers())
    def test_what_was_written_is_read(self, answer: AppendAnswer) -> None:
        """Every answer comes back as it was."""
        self.assertEqual(decode_append_answer(encode_append_answer(answer)), answer)

    @settings(max_examples=300, deadline=None, database=None)
    @given(answers() | st.just(ANSWER), st.data())
    def test_damaged_bytes(self, answer: AppendAnswer, data: st.DataObject) -> None:
        """With bytes changed, put in or taken out, the answer is an answer or a FrameError."""
        written = bytearray(encode_append_answer(answer))
        for _ in range(data.draw(st.integers(1, 3))):
            place = data.draw(st.integers(0, len(written) - 1))
            written[place : place + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
        try:
            read = decode_append_answer(bytes(written))
        except FrameError:
            return
        self.assertEqual(decode_append_answer(encode_append_answer(read)), read)

    def test_every_prefix_is_refused(self) -> None:
        """An answer that was cut short is an error, wherever it was cut."""
        written = encode_append_answer(ANSWER)
        for end in range(len(written)):
            self.assertRaises(FrameError, decode_append_answer, written[:end])

    def test_appended_does_not_travel(self) -> None:
        """To an agent a duplicate is as good as a first."""
        answer = evolve(ANSWER, outcomes=(evolve(ANSWER.outcomes[0], appended=True),))
        self.assertFalse(decode_append_answer(encode_append_answer(answer)).outcomes[0].appended)

    def test_only_moved_has_no_lineage(self) -> None:
        """Without a lineage nothing could be confirmed, nor a rollback be seen."""
        answer = evolve(ANSWER, outcomes=(evolve(ANSWER.outcomes[0], lineage=""),))
        problem = self.assertRaises(FrameError, decode_append_answer, encode_append_answer(answer))
        self.assertIn(f"lanes.{FIRST}[0].lineage", str(problem))

    def test_lane_stands_once(self) -> None:
        """A lane has one outcome."""
        answer = evolve(ANSWER, outcomes=(ANSWER.outcomes[0], evolve(ANSWER.outcomes[0], seq=8)))
        self.assertRaises(FrameError, decode_append_answer, encode_append_answer(answer))

    def test_long_reason_is_cut(self) -> None:
        """A server that has much to say is understood all the same."""
        answer = evolve(ANSWER, outcomes=(evolve(ANSWER.outcomes[0], reason="x" * 9999),))
        self.assertEqual(decode_append_answer(encode_append_answer(answer)).outcomes[0].reason, "x" * 512)

    def test_bounded(self) -> None:
        """An answer over the limit is not looked at."""
        self.assertRaises(FrameError, decode_append_answer, encode_append_answer(ANSWER), 100)


class TopologyTests(SynchronousTestCase):
    """What servers say of their cluster."""

    def test_every_prefix_is_refused(self) -> None:
        """A topology that was cut short is an error, wherever it was cut."""
        written = encode_topology(TOPOLOGY)
        for end in range(len(written)):
            self.assertRaises(FrameError, decode_topology, written[:end])

    def test_every_member_is_checked(self) -> None:
        """Whatever stands in the place of a member is a topology or a FrameError that names the member."""
        strange: list[Any] = [
            None,
            True,
            0,
            -1,
            1.5,
            2**60,
            "",
            "x" * 3000,
            [],
            {},
            [1],
            [None],
            {"a": "x"},
            {"a": [-1]},
        ]
        for name in json.loads(encode_topology(TOPOLOGY)):
            for value in strange:
                header = {**json.loads(encode_topology(TOPOLOGY)), name: value}
                try:
                    decode_topology(json.dumps(header).encode())
                except FrameError as problem:
                    self.assertIn(name, str(problem))

    def test_nothing_may_be_missing(self) -> None:
        """All members are there; others are ignored."""
        for name in json.loads(encode_topology(TOPOLOGY)):
            header = json.loads(encode_topology(TOPOLOGY))
            del header[name]
            problem = self.assertRaises(FrameError, decode_topology, json.dumps(header).encode())
            self.assertIn(name, str(problem))
        more = {**json.loads(encode_topology(TOPOLOGY)), "motto": "once"}
        self.assertEqual(decode_topology(json.dumps(more).encode()), TOPOLOGY)

    @QUICK
    @given(
        st.builds(
            Topology,
            IDS,
            st.integers(1, 65536),
            st.dictionaries(
                st.text("abc", max_size=9), st.lists(st.integers(0, 255), max_size=3).map(tuple), max_size=3
            ),
            st.lists(st.text("abc", max_size=9), max_size=3).map(tuple),
            st.dictionaries(st.text("abc", max_size=9), WHOLE, max_size=3),
            st.lists(st.text("abc:/", max_size=9), max_size=3).map(tuple),
            st.sampled_from(["memory", "replicated", "fsynced"]),
            TIMES,
            st.dictionaries(st.text("abc", max_size=9), st.integers(0, 65535), max_size=3),
        )
    )
    def test_what_was_written_is_read(self, topology: Topology) -> None:
        """Every topology comes back as it was."""
        self.assertEqual(decode_topology(encode_topology(topology)), topology)


    def test_kinds(self) -> None:
        """How events travel is told by whole numbers; a server that tells nothing of it is understood, too."""
        plain = json.loads(encode_topology(TOPOLOGY))
        self.assertEqual(decode_topology(json.dumps(plain).encode()).kinds, {})
        wrong: list[object] = [[], 1, None, {"T": -1}, {"T": 65536}, {"T": "raw"}, {"T": None}]
        for value in wrong:
            problem = self.assertRaises(FrameError, decode_topology, json.dumps({**plain, "kinds": value}).encode())
            self.assertIn("kinds", str(problem))


class RefusalTests(SynchronousTestCase):
    """Answers other than 200."""

    def test_wrong_cluster(self) -> None:
        """A server says which cluster it belongs to."""
        written = json.dumps({"error": "wrong cluster", "cluster": CLUSTER}).encode()
        self.assertEqual(decode_refusal(written), Refusal("wrong cluster", CLUSTER))

    def test_without_cluster(self) -> None:
        """Other refusals only say why."""
        self.assertEqual(decode_refusal(b'{"error": "busy"}'), Refusal("busy", None))

    def test_page_of_a_proxy(self) -> None:
        """What is not ours is no refusal."""
        for body in (b"<html>502</html>", b"", b"{}", b'{"error": 1}', b'{"error": "x", "cluster": "y"}'):
            self.assertRaises(FrameError, decode_refusal, body)
