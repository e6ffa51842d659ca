"""Commands that change something at an operator's word."""

from __future__ import annotations

import json

from taba.cli.server import Reply
from tests.cli.cli_case import WALL, AnswersCase


class AcceptLossTests(AnswersCase):
    """Giving up the data of a shard."""

    def setUp(self) -> None:
        super().setUp()
        self.answers["/accept_loss"] = "Shard shard1: 500 vbuckets begin anew.\n"

    def test_yes(self) -> None:
        """With --yes the server is told at once, by POST, and its answer is shown."""
        result = self.run_cli("accept-loss", "shard1", "--yes")
        self.assertEqual((result.exit_code, result.stdout), (0, "Shard shard1: 500 vbuckets begin anew.\n"))
        self.assertEqual(self.asked(), [("POST", "/accept_loss", {"shard": "shard1"})])

    def test_asks_back(self) -> None:
        """Without --yes it asks back; anything but yes changes nothing."""
        refused = self.run_cli("accept-loss", "shard1", typed="n\n")
        self.assertEqual((refused.exit_code, refused.stdout, self.questions), (1, "", []))
        self.assertIn("given up for good", refused.stderr)
        self.assertIn("nothing was changed", refused.stderr)
        closed = self.run_cli("accept-loss", "shard1", typed="")
        self.assertEqual((closed.exit_code, self.questions), (1, []))
        agreed = self.run_cli("accept-loss", "shard1", typed="y\n")
        self.assertEqual((agreed.exit_code, len(self.questions)), (0, 1))

    def test_json(self) -> None:
        """With --json the server's JSON is shown."""
        self.answers["/accept_loss"] = {"shard": "shard1", "begin_anew": 500}
        result = self.run_cli("accept-loss", "shard1", "--yes", "--json")
        self.assertEqual(result.stdout, '{"shard":"shard1","begin_anew":500}\n')

    def test_refused(self) -> None:
        """What the server says against it is shown, with the status of an error."""
        self.answers["/accept_loss"] = Reply(400, "There is no shard shard9: the shards are shard1, shard2.\n")
        result = self.run_cli("accept-loss", "shard9", "--yes")
        self.assertEqual((result.exit_code, result.stdout), (4, ""))
        self.assertIn("the shards are shard1, shard2", result.stderr)


class DeleteTests(AnswersCase):
    """Deleting tabs, and bringing them back."""

    def setUp(self) -> None:
        super().setUp()
        self.answers["/names"] = ["bids", "bidz"]
        self.answers["/delete"] = {"deleted": ["bids", "bidz"], "undo_until": WALL}

    def test_asks_back_with_the_tabs(self) -> None:
        """It asks back, with the tabs that would go; anything but yes changes nothing."""
        result = self.run_cli("delete", "--re", "bid", typed="n\n")
        self.assertEqual((result.exit_code, result.stdout), (1, ""))
        self.assertIn("Delete 2 tabs (bids, bidz)?", result.stderr)
        self.assertEqual(self.asked(), [("GET", "/names", {"name": "bid", "re": "1"})])

    def test_agreed(self) -> None:
        """Then it deletes, and says until when that can be undone."""
        result = self.run_cli("delete", "bids,bidz", typed="y\n")
        self.assertEqual(result.exit_code, 0)
        self.assertEqual(self.asked()[1], ("POST", "/delete", {"name": "bids,bidz"}))
        lines = result.stdout.splitlines()
        self.assertEqual([line.split(":")[0] for line in lines], ["bids", "bidz"])
        self.assertTrue(all("can be undone until 2023-11-1" in line for line in lines), lines)

    def test_yes(self) -> None:
        """With --yes nothing is asked."""
        self.assertEqual(self.run_cli("delete", "bids", "--yes").exit_code, 0)
        self.assertEqual(len(self.questions), 1)

    def test_unknown(self) -> None:
        """A tab that there is not is told before anything is asked."""
        self.answers["/names"] = []
        result = self.run_cli("delete", "nope")
        self.assertEqual((result.exit_code, len(self.questions)), (1, 1))
        self.answers["/delete"] = {"deleted": [], "undo_until": None}
        self.assertEqual(self.run_cli("delete", "nope", "--yes").exit_code, 1)

    def test_json(self) -> None:
        """For programs the server's facts."""
        result = self.run_cli("delete", "bids", "--yes", "--json")
        self.assertEqual(json.loads(result.stdout)["deleted"], ["bids", "bidz"])

    def test_undelete(self) -> None:
        """Undeleting needs no question."""
        self.answers["/undelete"] = {"undeleted": ["bids"]}
        result = self.run_cli("undelete", "bids")
        self.assertEqual((result.exit_code, result.stdout), (0, "bids: is being brought back\n"))
        self.assertEqual(self.asked(), [("POST", "/undelete", {"name": "bids"})])
        self.answers["/undelete"] = {"undeleted": []}
        self.assertEqual(self.run_cli("undelete", "nope").exit_code, 1)

    def test_undelete_again(self) -> None:
        """What the server does not bring back is named with the reason; nothing brought back is exit code 1."""
        self.answers["/undelete"] = {"undeleted": [], "refused": {"bids": "it is not deleted"}}
        result = self.run_cli("undelete", "bids")
        self.assertEqual((result.exit_code, result.stdout), (1, ""))
        self.assertIn("bids: not brought back: it is not deleted", result.stderr)
        self.answers["/undelete"] = {"undeleted": ["a"], "refused": {"bids": "it is not deleted"}}
        result = self.run_cli("undelete", "a", "bids")
        self.assertEqual((result.exit_code, result.stdout), (0, "a: is being brought back\n"))
        self.assertIn("bids: not brought back", result.stderr)

    def test_deleted(self) -> None:
        """What can be brought back is listed, in a table on a terminal."""
        self.answers["/deleted"] = "bids: deleted 2026-01-01T00:00:00Z, States 3\n"
        self.assertIn("States 3", self.run_cli("deleted").stdout)
        self.answers["/deleted"] = {"bids": [WALL, WALL + 60]}
        drawn = self.run_cli("deleted", terminal=True).stdout.splitlines()
        self.assertEqual([line.split()[0] for line in drawn], ["\x1b[1mTAB", "bids", "bids"])
        self.answers["/deleted"] = {}
        self.assertEqual(self.run_cli("deleted", "--json").exit_code, 1)
        self.assertEqual(self.run_cli("deleted", terminal=True).exit_code, 1)


class VerifyTests(AnswersCase):
    """The integrity check."""

    def setUp(self) -> None:
        super().setUp()
        self.answers["/check"] = {"checked": 12, "findings": []}

    def test_in_order(self) -> None:
        """Nothing found is exit code 0; only reading is asked for."""
        result = self.run_cli("verify")
        self.assertEqual((result.exit_code, result.stdout), (0, "12 checked, all in order.\n"))
        self.assertEqual(self.asked(), [("POST", "/check", {"dry": "true"})])

    def test_patience(self) -> None:
        """It may take long, unless it is said how long."""
        self.run_cli("verify")
        self.run_cli("verify", "--timeout", "5")
        self.assertEqual([each.timeout for each in self.questions], [600.0, 5.0])

    def test_findings(self) -> None:
        """What is wrong is listed, and is exit code 1 until it is repaired."""
        finding = {"tab": "bids", "client": None, "problem": "the Aggregate differs", "repaired": False}
        self.answers["/check"] = {"checked": 12, "findings": [finding]}
        result = self.run_cli("verify", "bids")
        self.assertEqual(result.exit_code, 1)
        self.assertIn("bids\t\tthe Aggregate differs\tno", result.stdout)
        self.assertIn("--repair", result.stderr)
        self.answers["/check"] = {"checked": 12, "findings": [{**finding, "repaired": True}]}
        repaired = self.run_cli("verify", "--repair", "--re", "b.*")
        self.assertEqual(repaired.exit_code, 0)
        self.assertEqual(self.asked()[1], ("POST", "/check", {"name": "b.*", "re": "1", "dry": "false"}))


    def test_beyond_repair(self) -> None:
        """For what no repair mends it is said what can be done instead."""
        damaged = {"tab": "b", "client": "c", "problem": "damaged State: byte 3", "repaired": False}
        wrong = {"tab": "a", "client": None, "problem": "the Aggregate is not the reduced States", "repaired": False}
        self.answers["/check"] = {"checked": 2, "findings": [damaged]}
        for arguments in (["verify"], ["verify", "--repair"]):
            result = self.run_cli(*arguments)
            self.assertEqual(result.exit_code, 1)
            self.assertNotIn("--repair", result.stderr)
            self.assertIn("taba-cli delete NAME", result.stderr)
        self.answers["/check"] = {"checked": 2, "findings": [wrong, damaged]}
        said = self.run_cli("verify").stderr
        self.assertIn("Mend it with `taba-cli verify --repair`. A damaged State cannot be repaired", said)
        self.answers["/check"] = {"checked": 2, "findings": [{**wrong, "repaired": True}, damaged]}
        self.assertNotIn("--repair", self.run_cli("verify", "--repair").stderr)
        nobody = {"tab": "d", "client": None, "problem": "there is no Handler for Type Mine", "repaired": False}
        self.answers["/check"] = {"checked": 1, "findings": [nobody]}
        self.assertIn("ADDITIONAL_HANDLERS", self.run_cli("verify").stderr)


class ChoresTests(AnswersCase):
    """What starts something."""

    def test_started(self) -> None:
        """Each goes by POST, and the answer is shown."""
        for arguments, path, asked in (
            (("gc",), "/gc", {}), (("recompute",), "/recompute", {}), (("upgrade",), "/upgrade", {}),
            (("upgrade", "a", "b"), "/upgrade", {"name": "a,b"}),
            (("upgrade", "--re", "a"), "/upgrade", {"name": "a", "re": "1"}),
        ):  # fmt: skip
            self.answers[path] = "Started\n"
            result = self.run_cli(*arguments)
            self.assertEqual((result.exit_code, result.stdout), (0, "Started\n"))
            self.assertEqual(self.asked()[-1], ("POST", path, asked))

    def test_flush_all(self) -> None:
        """Dropping what waits asks back, and says how much that was."""
        self.answers["/flush_all"] = {"flushed": 7}
        refused = self.run_cli("flush-all", typed="\n")
        self.assertEqual((refused.exit_code, self.questions), (1, []))
        result = self.run_cli("flush-all", "--yes")
        self.assertEqual((result.exit_code, result.stdout), (0, "7 events were dropped.\n"))
        self.assertEqual(self.run_cli("flush-all", "--yes", "--json").stdout, '{"flushed":7}\n')


class AsideTests(AnswersCase):
    """What could not be folded."""

    def test_aside(self) -> None:
        """It is listed with what is known of it."""
        row = {"id": "00000000-1", "vbucket": 5, "reason": "type", "tab": "t", "client": "c", "type": "Mine",
               "events": 3, "bytes": 2048}  # fmt: skip
        self.answers["/aside"] = [row]
        result = self.run_cli("aside")
        self.assertEqual(result.stdout, "00000000-1\t5\ttype\tt\tc\tMine\t3\t2.0 KiB\n")
        self.assertTrue(self.run_cli("aside", terminal=True).stdout.startswith("\x1b[1mID "))
        self.assertEqual(json.loads(self.run_cli("aside", "--json").stdout), [row])
        self.answers["/aside"] = []
        self.assertEqual(self.run_cli("aside").exit_code, 1)

    def test_refold(self) -> None:
        """A part, or all, of it is folded again."""
        self.answers["/refold"] = {"asked": 2}
        result = self.run_cli("refold", "--reason", "type", "--type", "Mine", "--tab", "t")
        self.assertEqual(result.exit_code, 0)
        self.assertEqual(self.asked(), [("POST", "/refold", {"reason": "type", "type": "Mine", "tab": "t"})])
        self.answers["/refold"] = {"asked": 0}
        self.assertEqual(self.run_cli("refold").exit_code, 1)


class ListTests(AnswersCase):
    """Lists of servers and ids, for people in columns, else as the server gives them."""

    def test_ids(self) -> None:
        """Ids come as text, as JSON, or as a table."""
        self.answers["/ids"] = "Names:\n  a: 1\nClients:\n  c: 2\n"
        self.assertEqual(self.run_cli("ids").stdout, "Names:\n  a: 1\nClients:\n  c: 2\n")
        self.answers["/ids"] = {"names": {"a": 1}, "clients": {"c": 22}}
        drawn = self.run_cli("ids", "--no-color", terminal=True).stdout
        self.assertEqual(drawn, "WHAT    NAME  ID\ntab     a      1\nclient  c     22\n")

    def test_servers(self) -> None:
        """So do servers."""
        self.answers["/servers"] = "s1: ['be', 'fe']\n"
        self.assertEqual(self.run_cli("servers").stdout, "s1: ['be', 'fe']\n")
        self.answers["/servers"] = {"s1": ["be", "fe"]}
        self.assertIn("s1      be, fe", self.run_cli("servers", terminal=True).stdout)

    def test_types(self) -> None:
        """Types are a table on a terminal."""
        self.answers["/types"] = "a: Gauge\nlonger: CounterGroup\n"
        drawn = self.run_cli("types", "--no-color", terminal=True).stdout
        self.assertEqual(drawn, "TAB     TYPE\na       Gauge\nlonger  CounterGroup\n")

    def test_latency(self) -> None:
        """Latencies come as they are."""
        self.answers["/latency"] = "cluster_aggregate: 0.5\n"
        self.assertEqual(self.run_cli("latency").stdout, "cluster_aggregate: 0.5\n")

    def test_older_server(self) -> None:
        """A server that does not answer in JSON, or with something else, is told."""
        self.answers["/aside"] = "what is that\n"
        result = self.run_cli("aside")
        self.assertEqual(result.exit_code, 4)
        self.assertIn("no JSON", result.stderr)
        for path, command in (("/aside", ["aside"]), ("/check", ["verify"]), ("/flush_all", ["flush-all", "--yes"]),
                              ("/refold", ["refold"]), ("/delete", ["delete", "--yes", "t"]), ("/held", ["drain"]),
                              ("/where", ["where", "t", "c"])):  # fmt: skip
            self.answers[path] = {"strange": 1}
            result = self.run_cli(*command)
            self.assertEqual(result.exit_code, 4, command)
            self.assertIn("of this version", result.stderr)
