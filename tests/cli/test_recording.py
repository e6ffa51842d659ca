"""Recording from a shell: what an agent gets, and what the user is told."""

from __future__ import annotations

import json

from taba.cli.recording import body_of
from taba.cli.server import Question, Reply, Unreachable
from tests.cli.cli_case import AGENT, WALL, AnswersCase


class RecordCase(AnswersCase):
    """An agent that gives the set answers."""

    def setUp(self) -> None:
        super().setUp()
        self.answers["/post"] = ""
        self.answers["/readyz"] = "ok\n"

    def posts(self) -> list[Question]:
        """What was sent."""
        return [each for each in self.questions if each.method == "POST"]

    def events(self) -> list[tuple[str, str, float, object]]:
        """Tab, Type, time and payload of what came last."""
        lines = (self.questions[-1].body or b"").decode().split("\n")
        self.assertEqual(lines[:2], ["1", ""])
        rows = [json.loads(line) for line in lines[5:] if line]
        return [(lines[4], type_name, time, json.loads(payload)) for type_name, time, payload in rows]


class RecordTests(RecordCase):
    def test_counter(self) -> None:
        """A counter is recorded, with 1 unless it is said otherwise, and the command says that it is durable."""
        result = self.run_cli("record", "counter", "bids")
        self.assertEqual((result.exit_code, result.stderr), (0, ""))
        self.assertIn(f"1 event of bids (CounterGroup), durable on the disk of {AGENT}", result.stdout)
        self.assertEqual(self.events(), [("bids", "CounterGroup", WALL, 1)])
        self.assertEqual(len(self.posts()), 1)

    def test_all_types(self) -> None:
        """Every kind of event has its Type and its payload."""
        for arguments, type_name, payload in (
            (("counter", "t", "3"), "CounterGroup", 3),
            (("percentile", "t", "-2.5"), "PercentileGroup", -2.5),
            (("totals", "t", "4"), "TotalsCounter", 4),
            (("percentiles", "t", "5e3"), "PercentileCounter", 5000.0),
            (("unique", "t", "17"), "UniqueGroup", "17"),
            (("gauge", "t", "2.40.1"), "Gauge", "2.40.1"),
            (("gauge", "t", '{"a": 1}'), "Gauge", {"a": 1}),
            (("gauge", "t", "busy", "--expires", "60"), "ExpiryGauge", ["busy", WALL + 60]),
            (("buffer", "t", "[1]", "--expires", "9"), "Buffer", [[1], WALL + 9]),
            (("buffer", "t", "text"), "Buffer", ["text", WALL + 86_400]),
            (("event", "t", "Mine", '{"x": [1, null]}'), "Mine", {"x": [1, None]}),
        ):
            result = self.run_cli("record", *arguments)
            self.assertEqual(result.exit_code, 0, result.output)
            self.assertEqual(self.events(), [("t", type_name, WALL, payload)])

    def test_several_values(self) -> None:
        """Several values are several events of one batch; - reads them from standard input."""
        self.run_cli("record", "counter", "t", "3", "-4", "1e2")
        self.assertEqual([payload for *_, payload in self.events()], [3, -4, 100.0])
        result = self.run_cli("record", "percentile", "t", "-", typed="1\n2 3\n")
        self.assertEqual([payload for *_, payload in self.events()], [1, 2, 3])
        self.assertIn("3 events", result.stdout)
        self.run_cli("record", "unique", "t", "-", "cyd", typed="ann\nbob x\n\n")
        self.assertEqual([payload for *_, payload in self.events()], ["ann", "bob x", "cyd"])

    def test_time_and_client(self) -> None:
        """The time of the event, and the client that records it, can be said."""
        self.run_cli("record", "counter", "t", "1", "--at", "1600000000.5", "--client", "backup.host7")
        self.assertEqual(self.events()[0][2], 1600000000.5)
        self.assertIn(b"\n\nbackup.host7\n\n", self.questions[-1].body or b"")
        self.run_cli("record", "counter", "t", env={"TABA_CLIENT": "env.client"})
        self.assertIn(b"\n\nenv.client\n\n", self.questions[-1].body or b"")

    def test_agent(self) -> None:
        """The agent is named by option, before or after, or by the environment."""
        self.run_cli("--agent", "http://a:1", "record", "counter", "t")
        self.assertTrue(self.questions[-1].url.startswith("http://a:1/"))
        self.run_cli("record", "counter", "t", "--agent", "http://b:2", env={"TABA_AGENT": "http://a:1"})
        self.assertTrue(self.questions[-1].url.startswith("http://b:2/"))
        self.run_cli("record", "counter", "t", env={"TABA_AGENT": "http://a:1"})
        self.assertTrue(self.questions[-1].url.startswith("http://a:1/"))

    def test_json(self) -> None:
        """With --json a program reads what became of it."""
        result = self.run_cli("record", "counter", "t", "1", "2", "--client", "c", "--json")
        self.assertEqual(
            json.loads(result.stdout), {"tab": "t", "type": "CounterGroup", "client": "c", "accepted": 2, "rejected": 0}
        )

    def test_wrong_usage(self) -> None:
        """What is no number, no JSON, or no name is wrong usage, and nothing is sent."""
        for arguments in (
            ("counter", "t", "three"), ("counter", "t", "nan"), ("percentile", "t"), ("event", "t", "T", "{"),
            ("counter", "käse"), ("counter", "t", "--client", "a b"), ("counter", "t", "--frobnicate"),
            ("event", "t", "a type", "1"),
        ):  # fmt: skip
            self.assertEqual(self.run_cli("record", *arguments).exit_code, 2, arguments)
        self.assertEqual(self.questions, [])


class TroubleTests(RecordCase):
    def test_nobody(self) -> None:
        """Where no agent answers until the time limit, nothing was recorded, and the user is told what to start."""
        self.answers["/readyz"] = Unreachable("Connection refused")
        result = self.run_cli("record", "counter", "t", "--timeout", "3")
        self.assertEqual((result.exit_code, result.stdout), (3, ""))
        self.assertIn("Nothing was recorded.", result.stderr)
        self.assertIn("--agent", result.stderr)
        self.assertGreater(len(self.questions), 1)
        self.assertLessEqual(self.now, 3.0)

    def test_lost_answer(self) -> None:
        """When no answer comes to what was sent, it is not sent again, and the command says that it does not know."""
        self.answers["/post"] = Unreachable("no answer in time", True)
        result = self.run_cli("record", "counter", "t", "--client", "c")
        self.assertEqual((result.exit_code, len(self.posts())), (3, 1))
        self.assertIn("not known", result.stderr)
        self.assertIn("taba-cli where t c", result.stderr)

    def test_comes_back(self) -> None:
        """An agent that is not there yet, or has no room, is waited for, until the time limit; then it is sent once."""
        refused = Unreachable("Connection refused")
        self.answers["/readyz"] = (refused, Reply(503, "The spool is full.\n"), refused, "ok\n")
        self.answers["/post"] = (refused, "")
        self.assertEqual(self.run_cli("record", "counter", "t").exit_code, 0)
        self.assertEqual(len(self.slept), 4)

    def test_full(self) -> None:
        """An agent that has no room until the time limit gets nothing."""
        self.answers["/readyz"] = Reply(503, "The spool is full.\n")
        result = self.run_cli("record", "counter", "t", "--timeout", "2")
        self.assertEqual((result.exit_code, self.posts()), (4, []))
        self.assertIn("answers 503: The spool is full. Nothing was recorded.", result.stderr)

    def test_disk_that_fails_meanwhile(self) -> None:
        """What an agent took and could not make durable is not sent again: it may become durable yet."""
        self.answers["/post"] = Reply(503, "the disk refuses it for now\n")
        result = self.run_cli("record", "counter", "t")
        self.assertEqual((result.exit_code, len(self.posts())), (4, 1))
        self.assertIn("not known", result.stderr)

    def test_refused_events(self) -> None:
        """Events that are refused are counted, with the reason; the others are recorded."""
        said = {"accepted": 1, "rejected": 1, "errors": [{"line": 7, "reason": "value: a payload that it cannot take"}]}
        self.answers["/post"] = Reply(200, json.dumps(said), {"taba-rejected": "1"})
        result = self.run_cli("record", "event", "t", "CounterGroup", '"x"')
        self.assertEqual((result.exit_code, result.stdout), (4, ""))
        self.assertIn("a payload that it cannot take", result.stderr)
        self.answers["/post"] = Reply(200, "what", {"taba-rejected": "1"})
        self.assertIn("no reason", self.run_cli("record", "counter", "t").stderr)

    def test_refused_batch(self) -> None:
        """An agent that refuses says why, and is not asked again."""
        self.answers["/post"] = Reply(401, '{"error": "This port wants the shared token."}')
        result = self.run_cli("record", "counter", "t")
        self.assertEqual((result.exit_code, len(self.posts())), (4, 1))
        self.assertIn("answers 401: This port wants the shared token.", result.stderr)


class BodyTests(AnswersCase):
    def test_body(self) -> None:
        """A body is protocol 1 as it is documented."""
        self.assertEqual(
            body_of("c", "t", "Gauge", 1.5, ["é", 2]),
            b'1\n\nc\n\nt\n["Gauge", 1.5, "\\"\\\\u00e9\\""]\n["Gauge", 1.5, "2"]\n\n\n',
        )
