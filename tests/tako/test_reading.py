"""Configurations: what is read of YAML and JSON, and that every mistake is named with its path."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from taba.tako.configuration import Address, as_json
from taba.tako.errors import ConfigurationError
from taba.tako.levels import Level
from taba.tako.reading import read_object, read_text, span_of

DOCS = Path(__file__).resolve().parents[2] / "docs" / "tako"
GOOD = """
active_deployment: main
deployments:
  main:
    read_repair: no
    background_healing_interval: '1d 2:00:00'
    write_level: all
    hash: {buckets_per_key: 1}
    buckets:
      b1: {n1: [localhost, 5711, 4711], n2: [localhost, 5712, 4712]}
"""


def mistakes(text: str) -> list[str]:
    """The mistakes of a text, as they are shown."""
    try:
        read_text(text, "file")
    except ConfigurationError as error:
        return [str(each) for each in error.mistakes]
    return []


class ReadingTests(SynchronousTestCase):
    """What a configuration says."""

    def test_everything(self) -> None:
        """Levels, lengths of time, addresses; what is left out has a default."""
        read = read_text(GOOD, "file")
        self.assertEqual((read.target_deployment, read.migrating, read.version), ("main", False, 0))
        main = read.active
        self.assertEqual((main.read_repair, main.background_healing, main.write_level), (False, True, Level.ALL))
        self.assertEqual(main.background_healing_interval, 93_600.0)
        self.assertEqual(read.nodes()["n2"], Address("localhost", 5712, 4712))

    def test_json_is_the_same(self) -> None:
        """What is handed out is read back."""
        read = read_text(GOOD, "file")
        self.assertEqual(read_text(as_json(read).decode(), "json"), read)

    def test_files_of_the_docs(self) -> None:
        """The three files of the guide say what they have always said."""
        alone = read_text((DOCS / "standalone.yaml").read_text(), "standalone")
        self.assertEqual((alone.active_deployment, alone.active.read_repair), ("standalone", False))
        self.assertEqual((alone.active.background_healing, alone.active.buckets_per_key), (False, 1))
        self.assertEqual(alone.nodes(), {"n1": Address("localhost", 5711, 4711)})
        wide = read_text((DOCS / "cluster.yaml").read_text(), "cluster")
        self.assertEqual(wide.coordinators, {"c1": ("tako-coordinator-1.domain", 4710)})
        self.assertEqual(wide.nodes()["n10"], Address("tako-node-10.domain", 5711, 4711))
        local = read_text((DOCS / "local_cluster.yaml").read_text(), "local")
        self.assertEqual(local.coordinators, {"c1": ("localhost", 4701)})
        self.assertEqual(local.nodes()["n10"], Address("localhost", 5720, 4720))
        for each in (wide, local):
            self.assertEqual(list(each.active.buckets), ["b1", "b2", "b3", "b4", "b5"])
            self.assertEqual((each.active.buckets_per_key, each.active.background_healing), (2, True))
            self.assertEqual([len(nodes) for nodes in each.active.buckets.values()], [2] * 5)

    def test_lengths_of_time(self) -> None:
        """Days and a clock, either alone, or seconds."""
        spans = {"1d 0:00:00": 86_400, "0:01:30": 90, "7d": 604_800, "12:00:00": 43_200, 5: 5, 0.5: 0.5}
        self.assertEqual({text: span_of(text) for text in spans}, spans)
        wrong: Any
        for wrong in ("", "soon", "1h", "1:60:00", True, None, []):
            self.assertIsNone(span_of(wrong))


class MistakeTests(SynchronousTestCase):
    """Mistakes."""

    def test_each_is_named_with_its_path(self) -> None:
        """All mistakes of a file come at once, each with where and what."""
        text = """
active_deployment: mian
target_deployment: main
master_coordinator: c9
extra: 1
coordinators: {c1: [localhost, 99999]}
deployments:
  main:
    read_repiar: yes
    background_healing: maybe
    background_healing_interval: often
    read_level: most
    hash: {buckets_per_key: 3}
    buckets:
      b1: {n1: [localhost, 5711], n2: [localhost, 1, 1]}
      b2: {n2: [localhost, 7, 8], 'n 3': [localhost, 9, 10]}
"""
        self.assertEqual(
            sorted(mistakes(text)),
            sorted(
                [
                    "extra: is not known here; there are active_deployment, target_deployment, deployments, "
                    "master_coordinator, coordinators, version",
                    "deployments.main.read_repiar: is not known here; did you mean read_repair?",
                    "deployments.main.buckets.b1.n1: a list of 2 is not [host, http_port, internal_port]",
                    "deployments.main.buckets.b1.n2: both ports are 1",
                    "deployments.main.buckets.b2.n 3: a name has 1 to 64 letters, digits, dots, hyphens and "
                    "underscores",
                    "deployments.main.buckets.b2.n2: the node is in bucket b1 already",
                    "deployments.main.buckets.b2.n2: the node is at [localhost, 1, 1] in another deployment",
                    "deployments.main.hash.buckets_per_key: 3 buckets per key, and there are 2",
                    "deployments.main.background_healing: 'maybe' is not one of yes, no, true, false",
                    "deployments.main.background_healing_interval: 'often' is not a length of time such as "
                    "'1d 0:00:00', from 1 second to 3650 days",
                    "deployments.main.read_level: 'most' is not one of one, quorum, all",
                    "active_deployment: 'mian' is none of the deployments (main)",
                    "coordinators.c1[1]: 99999 is not a port from 1 to 65535",
                    "master_coordinator: 'c9' is none of the coordinators (c1)",
                ]
            ),
        )

    def test_of_the_whole(self) -> None:
        """No YAML, nothing, a list, a name twice: a place and a reason."""
        self.assertIn("line 2, column 2", mistakes("a: [1\nb: 2")[0])
        self.assertEqual(mistakes(""), ["nothing is not a mapping"])
        self.assertEqual(mistakes("[1, 2]"), ["a list of 2 is not a mapping"])
        self.assertEqual(
            mistakes("{}"), ["deployments: there has to be one at least", "active_deployment: is missing"]
        )
        self.assertIn("'a' stands twice", mistakes("a: 1\na: 2")[0])
        self.assertEqual(mistakes('{"a": 1, "a": 2}'), ["a: stands twice"])
        self.assertIn("could not determine a constructor", mistakes("!!python/object:os.system {}")[0])

    def test_a_port_of_two_nodes(self) -> None:
        """Two nodes of one host do not share a port."""
        text = GOOD.replace("n2: [localhost, 5712, 4712]", "n2: [localhost, 5711, 4712]")
        self.assertEqual(mistakes(text), ["deployments.main.buckets.b1.n2: port 5711 of localhost is node n1's"])

    @settings(deadline=None)
    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=5),
            lambda inner: st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["deployments", "main", "buckets", "b1", "n1", "hash", "active_deployment", "x"]),
                inner, max_size=4,
            ),
        )
    )  # fmt: skip
    def test_whatever_it_is(self, value: object) -> None:
        """Any document is a configuration, or a list of mistakes; never another error."""
        try:
            read_object(value, "any")
        except ConfigurationError as error:
            self.assertTrue(error.mistakes)
        try:
            read_text(json.dumps(value), "any")
        except ConfigurationError as error:
            self.assertTrue(error.mistakes)
