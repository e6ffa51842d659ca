"""Operations on a server that is killed: what was answered is done, once, and can be undone.

REAL: server processes on loopback, signals.
"""

from __future__ import annotations

import json
import time

from twisted.trial.unittest import SynchronousTestCase

from tests.processes.asking import body, counters
from tests.processes.running import ServerProcess, Stage, start_all


class OperationTests(SynchronousTestCase):
    """One server after the other on one folder."""

    def setUp(self) -> None:
        self.stage = Stage()
        self.addCleanup(self.stage.close)
        self.server = self.stage.server(config={"EMBEDDED_AGENT": True, "GC_SECONDS": 1})
        start_all(self.server)

    def post(self, path: str) -> dict[str, object]:
        """The JSON of what is answered to a POST."""
        answer = self.server.ask(path, b"", Accept="application/json")
        self.assertEqual(answer.status, 200, str(answer))
        answered: dict[str, object] = json.loads(answer.text)
        return answered

    def given(self, tab: str, values: list[int], client: str = "client") -> None:
        """Events that were acknowledged."""
        self.assertEqual(self.server.post(counters(client, tab, values)).status, 200)

    def gone(self, tab: str) -> None:
        """Wait until a tab is shown no more."""
        self.server.wait_for(lambda: not self.server.tab(tab), f"{tab} to be gone")

    def test_kill_after_delete(self) -> None:
        """A server that is killed the moment it answered /delete has deleted the tab when it runs again; /undelete
        brings back what was counted, with what came since, whenever it is killed meanwhile.
        """
        server: ServerProcess = self.server
        for client in ("client-1", "client-2"):
            self.given("used", [1, 2, 3], client)
        self.given("other", [1])
        server.wait_for_count("used", 6)
        server.wait_for_count("other", 1)
        self.assertEqual(self.post("/delete?name=used,nothing")["deleted"], ["used"])
        server.kill()
        start_all(server)
        self.gone("used")
        self.assertEqual(list(server.json("/deleted")), ["used"])
        self.assertEqual(server.ask("/clients?re=1&client=client-").text, "\n")
        self.given("used", [10], "client-1")
        server.wait_for_count("used", 1)
        server.kill()
        start_all(server)
        self.assertEqual(self.post("/undelete?name=used"), {"undeleted": ["used"], "refused": {}})
        server.kill()
        start_all(server)
        server.wait_for_count("used", 7)
        self.assertEqual(server.counts("used"), (7, 22.0))
        self.assertEqual(server.counts("other"), (1, 1.0))
        server.wait_for(lambda: not server.json("/deleted"), "nothing is deleted any more")
        checked = server.json("/check")
        self.assertEqual((checked["checked"] >= 2, checked["findings"]), (True, []))
        self.assertEqual(server.json("/ledger")["operations"], 2)
        self.assertEqual(server.stop(), 0)
        self.assertNotIn("Traceback", server.output())

    def test_nobody_else_deletes(self) -> None:
        """Events of the Types that operations have are refused, alone, whoever sends them."""
        self.given("used", [1])
        operation = ("taba.delete", time.time(), {"id": "1", "by": "x", "time": time.time()})
        answer = self.server.post(body("client", {"used": [operation], "other": [("CounterGroup", time.time(), 1)]}))
        self.assertEqual((answer.status, json.loads(answer.text)["rejected"]), (200, 1))
        self.server.wait_for_count("other", 1)
        self.server.wait_for_count("used", 1)

    def test_operators_day(self) -> None:
        """What else an operator asks for, on a server that runs."""
        server = self.server
        self.given("used", [1, 2])
        server.wait_for_count("used", 2)
        self.assertEqual(server.ask("/gc", b"").text, "Started\n")
        self.assertEqual(server.ask("/upgrade", b"").text, "Started\n")
        self.assertEqual(server.ask("/gc").status, 405)
        [(name, roles)] = server.json("/servers").items()
        self.assertEqual((name.endswith(f".{server.port}"), roles), (True, ["be", "fe"]))
        self.assertLess(server.json("/latency")["cluster_aggregate"], 30.0)
        self.assertIn("used", server.json("/ids")["names"])
        where = server.json("/where?name=used&client=client")
        self.assertEqual((where["log"], where["state"] > 1.6e9), (None, True))
        self.assertEqual(self.post("/flush_all"), {"flushed": 0})
        self.assertEqual(server.json("/aside"), [])
        server.wait_for(lambda: server.json("/ledger").get("operations", 0) > 0, "the upgrade")
        self.assertEqual(server.json("/check?name=used")["findings"], [])
        self.assertEqual(server.counts("used"), (2, 3.0))
