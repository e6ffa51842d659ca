"""Migrations: what a plan says, what proves that one is complete, and how the configuration's file is changed."""

from __future__ import annotations

import base64
import json
import zlib
from array import array
from pathlib import Path
from typing import Any

from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.application.service import IServiceMaker
from twisted.plugin import getPlugins
from twisted.trial.unittest import SynchronousTestCase

from taba.cli.server import Question, Reply, Unreachable
from taba.tako.cli import Cluster, change_deployments, main, prove
from taba.tako.cluster import ClusterSettings, commands
from taba.tako.command_line import translate
from taba.tako.migration import Proof, Tree, plan, read_tree
from taba.tako.reading import read_object, read_text
from taba.tako.records import SLOTS
from taba.tako.status import tree_document
from tests.tako.simulated import MemoryTako, deployment, document

TOKEN = "the-token-of-this-test"
DOCS = Path(__file__).resolve().parents[2] / "docs" / "tako"


class FileTests(SynchronousTestCase):
    """The coordinator's file."""

    def test_nothing_else_changes(self) -> None:
        """Comments, order and blanks stay; the two names change."""
        text = (DOCS / "cluster.yaml").read_text()
        changed = change_deployments(text, "a", "b")
        self.assertEqual(
            changed,
            text.replace("active_deployment: cluster", "active_deployment: a").replace(
                "target_deployment: cluster", "target_deployment: b"
            ),
        )

    def test_of_every_form(self) -> None:
        """YAML with and without a target, with quotes, and JSON on one line or many."""
        good = document(main=deployment(1), other=deployment(1))
        without = {name: value for name, value in good.items() if name != "target_deployment"}
        forms = [json.dumps(each, indent=indent) for each in (good, without) for indent in (None, 2)]
        rest = "\ndeployments: " + json.dumps(good["deployments"])
        head = "# active_deployment: not this one\nactive_deployment: 'main'  # and this stays"
        forms += [head + rest, "target_deployment: main\n" + head + rest]
        for form in forms:
            changed = read_text(change_deployments(form, "other", "main"), "changed")
            self.assertEqual((changed.active_deployment, changed.target_deployment), ("other", "main"))
            self.assertEqual(changed.deployments, read_text(form, "form").deployments)

    def test_what_cannot_be_changed(self) -> None:
        """A name that stands twice is left to the operator."""
        self.assertRaises(ValueError, change_deployments, "active_deployment: a\nactive_deployment: b", "c", "d")
        self.assertRaises(ValueError, change_deployments, "nothing", "c", "d")

    def test_command_lines(self) -> None:
        """Options as they have always been written."""
        self.assertEqual(
            " ".join(translate(["-id", "n1", "-c", "host", "4710", "-c", "other", "1", "-cfg", "f.yaml", "-u", "5"])),
            "--id n1 --coordinator host:4710 --coordinator other:1 --cfg f.yaml -u 5",
        )
        self.assertEqual(
            " ".join(translate(["local.yaml", "-p", "8080", "-p", "8081", "-s", "n1", "n2", "-l", "log"])),
            "-p 8080 -p 8081 --skip n1 --skip n2 -l log local.yaml",
        )


class OperatorCase(SynchronousTestCase):
    """The file and the nodes of a cluster, over a made-up HTTP."""

    def setUp(self) -> None:
        """A cluster whose nodes all hold nothing, but for what `sums` says."""
        self.path = Path(self.mktemp())
        self.path.write_text(json.dumps(document(main=deployment(1), wide=deployment(2))))
        self.version, self.sums, self.away = 7, dict[str, int](), set[str]()
        self.posted: list[str] = []
        self.said: list[str] = []
        self.cluster = Cluster(self.path, TOKEN, self.said.append, self.answer)

    def answer(self, question: Question) -> Reply:
        """What the cluster answers."""
        self.assertEqual(question.token, TOKEN)
        host = question.url.split("/")[2].split(":")[0]
        if host in self.away:
            raise Unreachable("connection refused")
        if question.method == "POST":
            self.posted.append(question.url)
            self.version += question.url.endswith("/reload")
            return Reply(200, json.dumps({"version": self.version}))
        if question.url.endswith("/tree"):
            sums = array("Q", bytes(8 * SLOTS))
            sums[3] = self.sums.get(host, 0)
            leaves = base64.b64encode(zlib.compress(sums.tobytes())).decode()
            tree = {"node": host, "store": host, "version": self.version, "keys": 0, "leaves": leaves}
            return Reply(200, json.dumps(tree))
        known = json.loads(self.path.read_text())
        if question.url.endswith("/status"):
            healing = {"done": 1.0, "seconds_left": 0.0, "sent": 0, "fetched": 0}
            return Reply(200, json.dumps({"active_deployment": known["active_deployment"], "healing": healing}))
        return Reply(200, json.dumps({**known, "version": self.version}))


class OperatorTests(OperatorCase):
    """What an operator does with a cluster."""

    def test_begin_prove_promote(self) -> None:
        """The file changes, the coordinator reads it, and equal trees of all nodes are a proof."""
        self.path.chmod(0o640)
        self.cluster.change("main", "wide")
        self.assertEqual(read_text(self.path.read_text(), "file").target_deployment, "wide")
        self.assertEqual(self.path.stat().st_mode & 0o777, 0o640)
        self.assertEqual(self.posted, ["http://c1:4710/reload"])
        self.assertEqual(self.said, ["Configuration 8: active main, target wide."])
        served = self.cluster.served()
        self.assertTrue(prove(self.cluster, Proof(served), 0.0).complete)

    def test_no_promotion_without_proof(self) -> None:
        """A node whose tree differs, or that is away, or answers nonsense, is named, and heals are asked for."""
        self.cluster.change("main", "wide")
        proof = Proof(self.cluster.served())
        self.sums["n1"] = 5
        self.assertEqual(prove(self.cluster, proof, 0.0).complete, False)
        self.away.add("n3")
        finding = prove(self.cluster, proof, 0.0)
        self.assertEqual(finding.problems, ("n3 does not answer: connection refused",))
        self.cluster.start_healing(self.cluster.served(), "n1")
        self.assertEqual(self.posted[-1], "http://n1:5711/heal")

    def test_a_coordinator_that_is_away(self) -> None:
        """The file is changed all the same, and the operator is told what to do."""
        self.away.add("c1")
        self.assertRaises(SystemExit, self.cluster.change, "main", "wide")
        self.assertEqual(read_text(self.path.read_text(), "file").target_deployment, "wide")
        self.assertRaises(SystemExit, self.cluster.served)


class MigrateTests(OperatorCase):
    """The commands of an operator, from the command line."""

    def setUp(self) -> None:
        """A token's file, beside the cluster of the other tests."""
        super().setUp()
        self.token = Path(self.mktemp())
        self.token.write_text(TOKEN)
        self.token.chmod(0o600)

    def run_cli(self, *words: str) -> tuple[int, str]:
        """A command; its status and output."""
        done = CliRunner().invoke(main, [*words, "--token-file", str(self.token)], obj=self.answer)
        return done.exit_code, done.output

    def migrate(self, what: str, *more: str) -> tuple[int, str]:
        """A command of a migration."""
        return self.run_cli("migrate", what, "--cfg", str(self.path), *more)

    def target(self) -> str:
        """The target deployment in the file."""
        return read_text(self.path.read_text(), "file").target_deployment

    def test_from_plan_to_promotion(self) -> None:
        """Plan, begin, look, promote: each says what it did, and the file follows."""
        self.assertRegex(self.migrate("plan", "wide")[1], r"main -> wide: \d+\.\d% of all keys get another node")
        self.assertEqual(self.target(), "main")
        self.assertIn("Configuration 8: active main, target wide.", self.migrate("begin", "wide")[1])
        self.assertIn("65536 of 65536 slots proved (100.0%).", self.migrate("status")[1])
        status, text = self.migrate("promote")
        self.assertEqual((status, self.target()), (0, "wide"), text)
        self.assertEqual(self.migrate("status"), (0, "No migration is under way; wide is active.\n"))

    def test_no_promotion_of_trees_that_differ(self) -> None:
        """It is refused with status 1; a rollback takes it back."""
        self.migrate("begin", "wide")
        self.sums["n1"] = 5
        status, text = self.migrate("promote")
        self.assertEqual((status, "Not promoted: the trees are not equal yet" in text), (1, True), text)
        self.assertIn("n1: 1 slots differ", text)
        self.assertEqual(self.target(), "wide")
        self.assertEqual((self.migrate("rollback")[0], self.target()), (0, "main"))

    def test_what_makes_no_sense(self) -> None:
        """Unknown targets, a second migration, and promotions of nothing are refused in a sentence."""
        self.assertEqual(self.migrate("plan", "wyde"), (1, "There is no deployment wyde; there are main, wide.\n"))
        self.assertEqual(self.migrate("promote"), (1, "No migration is under way.\n"))
        self.assertIn("No migration is under way; to go back", self.migrate("rollback")[1])
        self.migrate("begin", "wide")
        self.assertIn("A migration to wide is under way", self.migrate("begin", "main")[1])
        self.path.write_text("{}")
        self.assertIn("deployments: there has to be one at least", self.migrate("rollback")[1])
        self.path.unlink()
        self.assertIn("cannot be read: No such file", self.migrate("plan", "wide")[1])

    def test_the_status_of_one_process(self) -> None:
        """As JSON; or why there is none."""
        self.assertIn('"active_deployment": "main"', self.run_cli("status", "http://n1:5711/")[1])
        self.away.add("n1")
        self.assertEqual(self.run_cli("status", "http://n1:5711")[0], 1)


class CommandTests(SynchronousTestCase):
    """The commands as twistd plugins."""

    def test_mistakes(self) -> None:
        """A sentence, and status 1, before anything is opened."""
        found = {plugin.tapname: plugin for plugin in getPlugins(IServiceMaker)}
        local = str(DOCS / "local_cluster.yaml")
        for name, words in (
            ("tako-node", ["-id", "n99", "-cfg", local]), ("tako-node", ["-id", "n1"]), ("tako-node", ["-cfg", local]),
            ("tako-node", ["-id", "n1", "-cfg", "nothing.yaml"]), ("tako-node", ["-id", "n1", "-c", "host", "0"]),
            ("tako-node", ["-id", "n1", "-cfg", local, "-u", "0"]),
            ("tako-node", ["-id", "n1", "-cfg", local, "--nope"]),
            ("tako-node", ["-id", "n1", "-cfg", local, "--tls-key", "nothing.pem"]),
            ("tako-node", ["-id", "n1", "-cfg", local, "--listen", "tcp:8444"]),
            ("tako-proxy", ["-id", "p1", "-cfg", local]), ("tako-proxy", ["-id", "p1", "-p", "99999", "-cfg", local]),
            ("tako-coordinator", ["-id", "c1"]), ("tako-cluster", []), ("tako-cluster", [local, "-s"]),
            ("tako-cluster", [local, "-p", "x"]), ("tako-cluster", [local, "-s", "n77"]),
        ):  # fmt: skip
            ended = self.assertRaises(SystemExit, found[name].options().parseOptions, words)
            self.assertEqual(ended.code, 1, f"{name} {words}")

    def test_plugins(self) -> None:
        """twistd finds all four, and each takes its options."""
        found = {plugin.tapname: plugin for plugin in getPlugins(IServiceMaker)}
        local = str(DOCS / "local_cluster.yaml")
        for name, words in (
            ("tako-node", ["-id", "n3", "-cfg", local, "-f", "x/data.db", "--cache", "1"]),
            ("tako-proxy", ["-id", "p1", "-p", "8080", "-p", "8081", "-c", "localhost", "4701"]),
            ("tako-coordinator", ["-id", "c1", "-cfg", local, "-u", "5"]),
            ("tako-cluster", [local, "-p", "8080", "-s", "n3", "n4"]),
        ):
            options = found[name].options()
            options.parseOptions(words)
            self.assertIsNotNone(options["settings"])

    def test_a_local_cluster(self) -> None:
        """One coordinator, the nodes that are not skipped, and a proxy on all its ports."""
        configuration = read_text((DOCS / "local_cluster.yaml").read_text(), "local")
        settings = ClusterSettings("f.yaml", configuration, "/var/tako", (8080, 8081), frozenset(["n3"]))
        made = {each.name: each.arguments for each in commands(settings)}
        self.assertEqual(list(made), ["c1", "n1", "n2", *(f"n{n}" for n in range(4, 11)), "proxy"])
        self.assertIn("/var/tako/n4", made["n4"])
        self.assertEqual([made["proxy"].count(word) for word in ("8080", "8081", "4701")], [1, 1, 1])


class ProofTests(SynchronousTestCase):
    """What proves that the target has everything."""

    def setUp(self) -> None:
        """A migration from two buckets to three."""
        configuration = document(main=deployment(2), wide=deployment(3))
        configuration.update(target_deployment="wide", version=5)
        self.configuration = read_object(configuration, "test")
        self.proof = Proof(self.configuration)

    def trees(self, **sums: int) -> dict[str, Tree]:
        """The trees of all nodes; those named have another sum in slot 7."""
        made = {}
        for node in self.proof.nodes():
            leaves = array("Q", bytes(8 * SLOTS))
            leaves[7] = sums.get(node, 0)
            made[node] = Tree(node, f"store of {node}", 5, 0, leaves)
        return made

    def test_equal_trees(self) -> None:
        """All slots of all nodes equal: complete."""
        self.assertTrue(self.proof.look(self.trees(), {}).complete)

    def test_slots_are_proved_one_look_after_another(self) -> None:
        """Under load different slots differ in different looks; each has to be equal once."""
        holder = self.proof._placement.replicas(7).nodes[0]
        finding = self.proof.look(self.trees(**{holder: 1}), {})
        self.assertEqual((finding.proved, finding.complete), (SLOTS - 1, False))
        self.assertEqual(finding.differing[holder], 1)
        self.assertTrue(self.proof.look(self.trees(), {}).complete)

    def test_a_node_that_is_away_or_behind_proves_nothing(self) -> None:
        """Every node has to answer, and to run on the configuration of the migration."""
        trees = self.trees()
        tree = trees.pop("n5")
        self.assertEqual(self.proof.look(trees, {"n5": "down"}).problems, ("n5 does not answer: down",))
        behind = Tree("n5", tree.store_id, 4, 0, tree.sums)
        finding = self.proof.look({**trees, "n5": behind}, {})
        self.assertEqual((finding.proved, finding.problems), (0, ("n5 runs on configuration 4, not on 5",)))

    def test_another_disk_begins_anew(self) -> None:
        """What was proved of a disk that is gone counts no more."""
        self.proof.look(self.trees(), {})
        trees = self.trees()
        trees["n1"] = Tree("n1", "another", 5, 0, trees["n1"].sums)
        finding = self.proof.look(trees, {})
        self.assertEqual(finding.proved, 0)
        self.assertTrue(self.proof.look(trees, {}).complete)

    def test_plan(self) -> None:
        """The new nodes get their share; nobody gets what it had."""
        planned = plan(self.configuration)
        self.assertEqual(sorted(planned.gains), ["n5", "n6"])
        self.assertTrue(0.5 < planned.gains["n5"] < 0.8)
        self.assertTrue(0.5 < planned.moving < 0.8)
        self.assertTrue(all(loss < 0.5 for loss in planned.losses.values()))

    @settings(deadline=None, max_examples=30)
    @given(st.dictionaries(st.sampled_from(["leaves", "node", "store", "version", "keys"]), st.text(max_size=5)))
    def test_answers_that_are_no_trees(self, answer: dict[str, str]) -> None:
        """Whatever a node answers, the errors are those that are named."""
        with self.assertRaises((ValueError, KeyError, TypeError)):
            read_tree(answer)


class MigrationTests(SynchronousTestCase):
    """A migration, from plan to promotion and back, on simulated machines."""

    def configure(self, tako: MemoryTako, active: str, target: str) -> None:
        """Change the deployments, and let everybody hear of it."""
        tako.configuration.update(active_deployment=active, target_deployment=target)
        tako.reload()
        tako.world.advance(12.0)

    def look(self, tako: MemoryTako, proof: Proof) -> bool:
        """Whether the proof is complete after one more look."""
        return proof.look({n: read_tree(tree_document(tako.node(n))) for n in tako.nodes}, {}).complete

    def test_there_and_back(self) -> None:
        """Keys go to the new buckets, are read all the time, leave nodes that do not hold them; a rollback undoes it.
        """
        quiet: dict[str, Any] = {"background_healing_interval": "1d"}
        with MemoryTako(3, document(main=deployment(2, **quiet), wide=deployment(4, **quiet))) as tako:
            tako.start()
            for number in range(60):
                tako.put(b"%d" % number, b"v%d" % number)
            self.configure(tako, "main", "wide")
            proof = Proof(tako.coordinator.service.configuration)
            tako.put(b"during", b"x")
            for _ in range(2):
                tako.heal()
            self.assertTrue(self.look(tako, proof))
            self.configure(tako, "wide", "wide")
            self.check_all(tako)
            for _ in range(2):
                tako.heal()
            self.assertEqual(tako.differences(), [])
            self.check_all(tako)
            self.configure(tako, "wide", "main")
            tako.heal()
            self.configure(tako, "wide", "wide")
            for _ in range(2):
                tako.heal()
            self.assertEqual(tako.differences(), [])
            self.check_all(tako)

    def check_all(self, tako: MemoryTako) -> None:
        """Every key has its value."""
        for number in range(60):
            found = tako.get(b"%d" % number)
            self.assertEqual(found.body if found else None, b"v%d" % number)

    def test_what_is_not_confirmed_is_not_removed(self) -> None:
        """While an owner is away, nobody removes what is to go to it."""
        with MemoryTako(3, document(main=deployment(2), wide=deployment(4))) as tako:
            tako.start()
            for number in range(20):
                tako.put(b"%d" % number, b"x")
            tako.world.advance(5.0)
            for owner in ("n5", "n6", "n7", "n8"):
                tako.nodes[owner].crash()
            self.configure(tako, "wide", "wide")
            tako.heal()
            held = {name: sum(tako.node(name).records.leaves.counts) for name in ("n1", "n2", "n3", "n4")}
            kept = {name: tako.node(name).healing.progress.kept for name in held}
            self.assertEqual(set(held.values()), {20})
            self.assertTrue(all(kept.values()))
