"""Where events are: ledger, drain, where."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from taba.cli.accounts import Account
from taba.cli.server import Reply, Unreachable
from tests.cli.cli_case import AGENT, SERVER, WALL, AnswersCase


class AccountTests(SynchronousTestCase):
    def test_adds_up(self) -> None:
        """All that agents took is folded or refused by the server: it adds up."""
        agent = {"received": 110, "refused.json": 7, "lost.damaged": 3, "pending": 0, "unsent.full": 1000}
        account = Account.of([agent], {"folded": 98, "refused.future": 2, "lost": 0, "aggregates damaged": 5}, [agent])
        self.assertIs(account.adds_up, True)
        self.assertEqual(account.sentence(), "It adds up: all 100 events that the agents took are in the server's"
                                             " account, once.")  # fmt: skip

    def test_on_the_way(self) -> None:
        """What is pending may be at the server, or not."""
        agent = {"received": 100, "pending": 30}
        for folded in (70, 85):
            account = Account.of([agent], {"folded": folded}, [agent])
            self.assertIs(account.adds_up, True)
            self.assertIn(f"{100 - folded} on their way", account.sentence())

    def test_missing(self) -> None:
        """What the agents have confirmed and no server accounts for is missing."""
        agent = {"received": 100, "pending": 10}
        account = Account.of([agent], {"folded": 89}, [agent])
        self.assertIs(account.adds_up, False)
        self.assertIn("1 events are MISSING", account.sentence())

    def test_waiting(self) -> None:
        """Nothing is called missing while batches wait to be folded."""
        agent = {"received": 100, "pending": 0}
        account = Account.of([agent], {"folded": 80}, [agent], waiting=3)
        self.assertIsNone(account.adds_up)
        self.assertIn("20 events", account.sentence())
        self.assertIn("3 batches", account.sentence())

    def test_other_senders(self) -> None:
        """Where the server has more, there are agents that were not named."""
        agent = {"received": 100, "pending": 0}
        account = Account.of([agent], {"folded": 120}, [agent])
        self.assertIsNone(account.adds_up)
        self.assertIn("20 events more", account.sentence())

    def test_between_the_looks(self) -> None:
        """What came in between two looks is neither missing nor too much."""
        account = Account.of([{"received": 100, "pending": 0}], {"folded": 130}, [{"received": 150, "pending": 20}])
        self.assertIs(account.adds_up, True)

    @given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 50), st.integers(0, 50), st.integers(0, 50))
    def test_honest_accounts_add_up(self, refused: int, confirmed: int, there: int, held: int, later: int) -> None:
        """Whatever honest agents and servers count, nothing is ever called missing or too much."""
        before = {"received": refused + confirmed + there + held, "refused.json": refused, "pending": there + held}
        after = {**before, "received": before["received"] + later, "pending": before["pending"] + later}
        server = {"folded": confirmed + there, "refused.type": 0}
        self.assertIs(Account.of([before], server, [after]).adds_up, True)


class LedgerTests(AnswersCase):
    def setUp(self) -> None:
        super().setUp()
        self.answers[f"{SERVER}/ledger"] = {"folded": 10, "lost": 0}
        self.answers[f"{SERVER}/status"] = {"total_tasks": 0.0}
        self.answers[f"{AGENT}/ledger"] = {"received": 10, "pending": 0}

    def test_ledger(self) -> None:
        """The lines of both stand together, and a sentence says whether they add up."""
        result = self.run_cli("ledger")
        self.assertEqual(result.exit_code, 0)
        self.assertIn("server\tfolded\t10", result.stdout)
        self.assertIn(f"agent {AGENT}\treceived\t10", result.stdout)
        self.assertIn("It adds up", result.stdout)

    def test_terminal(self) -> None:
        """On a terminal it is a table, without colors where they are not wanted."""
        result = self.run_cli("ledger", "--no-color", terminal=True)
        self.assertTrue(result.stdout.startswith("WHOSE "), result.stdout)
        self.assertIn("\x1b[1m", self.run_cli("ledger", terminal=True).stdout)
        self.assertNotIn("\x1b[1m", self.run_cli("ledger", terminal=True, env={"NO_COLOR": "1"}).stdout)

    def test_missing(self) -> None:
        """Missing events are exit code 1."""
        self.answers[f"{AGENT}/ledger"] = {"received": 11, "pending": 0}
        result = self.run_cli("ledger")
        self.assertEqual(result.exit_code, 1)
        self.assertIn("1 events are MISSING", result.stdout)

    def test_several_agents(self) -> None:
        """All agents are added."""
        self.answers["http://b:1/ledger"] = {"received": 5, "pending": 0}
        self.answers[f"{SERVER}/ledger"] = {"folded": 15}
        for arguments in (("--agent", f"{AGENT},http://b:1"), ("--agent", AGENT, "--agent", "http://b:1")):
            result = self.run_cli("ledger", *arguments)
            self.assertIn("It adds up: all 15", result.stdout)

    def test_agent_away(self) -> None:
        """Without the ledger of an agent nothing can be said, and nothing is called missing."""
        del self.answers[f"{AGENT}/ledger"]
        result = self.run_cli("ledger")
        self.assertEqual(result.exit_code, 0)
        self.assertIn("not known", result.stdout)
        self.assertIn("no Taba agent answers", result.stderr)

    def test_server_away(self) -> None:
        """Without a server there is nothing to say."""
        self.answers[f"{SERVER}/ledger"] = Unreachable("Connection refused")
        self.assertEqual(self.run_cli("ledger").exit_code, 3)

    def test_json(self) -> None:
        """For programs it is one object."""
        facts = json.loads(self.run_cli("ledger", "--json").stdout)
        self.assertEqual((facts["server"]["folded"], facts["agents"][AGENT]["received"]), (10, 10))
        self.assertIs(facts["adds_up"], True)


class DrainTests(AnswersCase):
    def held(self, *answers: tuple[int, float | None, float]) -> None:
        """What the agent says, one look after the other."""
        self.answers["/held"] = tuple({"pending": n, "oldest": oldest, "now": now} for n, oldest, now in answers)

    def test_empty(self) -> None:
        """An agent that holds nothing is drained."""
        self.held((0, None, 50.0))
        result = self.run_cli("drain")
        self.assertEqual((result.exit_code, self.slept), (0, []))
        self.assertIn("holds nothing", result.stdout)

    def test_waits(self) -> None:
        """It waits until what was held is confirmed."""
        self.held((5, 40.0, 50.0), (3, 45.0, 51.0), (0, None, 52.0))
        result = self.run_cli("drain")
        self.assertEqual((result.exit_code, len(self.slept)), (0, 2))

    def test_goes_on_beside_traffic(self) -> None:
        """What comes in meanwhile does not keep it waiting; it is told."""
        self.held((5, 40.0, 50.0), (9, 49.9, 60.0), (4, 50.1, 61.0))
        result = self.run_cli("drain")
        self.assertEqual((result.exit_code, len(self.slept)), (0, 2))
        self.assertIn("The 5 events", result.stdout)
        self.assertIn("4 that came in meanwhile", result.stdout)

    def test_wait_for_nothing_held(self) -> None:
        """With --empty only an empty agent will do."""
        self.held((5, 40.0, 50.0), (4, 50.1, 61.0), (0, None, 62.0))
        result = self.run_cli("drain", "--empty", "--json")
        self.assertEqual((result.exit_code, len(self.slept)), (0, 2))
        self.assertEqual(json.loads(result.stdout), {"drained": True, "pending": 0})

    def test_not_in_time(self) -> None:
        """What takes too long is exit code 1, with what is left."""
        self.held((5, 40.0, 50.0))
        result = self.run_cli("drain", "--wait", "3.5")
        self.assertEqual(result.exit_code, 1)
        self.assertIn("5 events are still not confirmed after 3.5 s", result.stderr)
        self.assertEqual(self.now, 3.5)

    def test_interrupt(self) -> None:
        """Ctrl-C ends the waiting, with the exit code of that."""

        def interrupt() -> None:
            raise KeyboardInterrupt

        self.held((5, 40.0, 50.0))
        self.asleep = interrupt
        self.assertEqual(self.run_cli("drain").exit_code, 130)

    def test_unknown_age(self) -> None:
        """While the agent does not know since when it holds something, it is not drained."""
        self.held((5, 0.0, 50.0), (0, 0.0, 51.0), (0, None, 52.0))
        self.assertEqual(self.run_cli("drain").exit_code, 0)
        self.assertEqual(len(self.slept), 2)

    def test_no_agent(self) -> None:
        """Without an agent it is exit code 3."""
        result = self.run_cli("drain")
        self.assertEqual(result.exit_code, 3)
        self.assertIn("TABA_AGENT", result.stderr)


class WhereTests(AnswersCase):
    def setUp(self) -> None:
        super().setUp()
        self.answers[f"{SERVER}/where"] = {
            "name": "bids", "client": "c", "state": WALL - 90, "log": None, "vbucket": 3,
        }  # fmt: skip
        self.answers[f"{AGENT}/where"] = {"agent": WALL - 2, "complete": True}

    def test_places(self) -> None:
        """The newest event at each place is told with its age."""
        result = self.run_cli("where", "bids", "c")
        self.assertEqual(result.exit_code, 0)
        rows = [line.split("\t") for line in result.stdout.splitlines()]
        self.assertEqual([row[0] for row in rows], ["agent", "log", "state"])
        self.assertEqual([row[2] for row in rows], ["2.0 s", "-", "1 min 30 s"])
        self.assertEqual(self.asked()[0], ("GET", "/where", {"name": "bids", "client": "c"}))

    def test_json(self) -> None:
        """For programs with times and ages."""
        facts = json.loads(self.run_cli("where", "bids", "c", "--json").stdout)
        self.assertEqual((facts["vbucket"], facts["agent"]), (3, WALL - 2))
        self.assertEqual(facts["ages"], {"agent": 2.0, "log": None, "state": 90.0})

    def test_not_complete(self) -> None:
        """An agent that could not look through everything says so."""
        self.answers[f"{AGENT}/where"] = {"agent": None, "complete": False}
        self.assertIn("may have a newer one", self.run_cli("where", "bids", "c").stderr)

    def test_without_an_agent(self) -> None:
        """The servers' part is shown without an agent, too."""
        del self.answers[f"{AGENT}/where"]
        result = self.run_cli("where", "bids", "c")
        self.assertEqual(result.exit_code, 0)
        self.assertIn("the agent does not answer", result.stdout)

    def test_nowhere(self) -> None:
        """What is nowhere is exit code 1."""
        self.answers[f"{SERVER}/where"] = {"name": "x", "client": "c", "state": None, "log": None, "vbucket": 3}
        self.answers[f"{AGENT}/where"] = {"agent": None, "complete": True}
        self.assertEqual(self.run_cli("where", "x", "c").exit_code, 1)

    def test_older_server(self) -> None:
        """A server that does not have it says so in its words."""
        self.answers[f"{SERVER}/where"] = Reply(404, "There is no /where here.\n")
        result = self.run_cli("where", "bids", "c")
        self.assertEqual(result.exit_code, 4)
        self.assertIn("answers 404: There is no /where here.", result.stderr)
