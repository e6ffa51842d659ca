"""What a process exposes, Prometheus' own parser reads."""

from __future__ import annotations

from math import inf

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from twisted.trial.unittest import SynchronousTestCase

from taba.metrics import Exposition, Histogram


def read(text: str) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    """Sample name -> labels -> value, as Prometheus' parser has them."""
    samples: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            samples.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return samples


class ExpositionTests(SynchronousTestCase):
    """The format, judged by its reader."""

    def test_families(self) -> None:
        """Counters, gauges and ledgers arrive with their values, labels, types and meanings."""
        given = Exposition()
        given.counter("taba_checkpoints_total", "Checkpoints\nwritten.", 3)
        given.gauge("taba_depth", "Entries.", 0.25, vbucket=7)
        given.gauge("taba_depth", "Entries.", 2e18, vbucket=8)
        given.gauge("taba_unknown", "Not known.", None)
        given.ledger("taba_events", "Events.", {"refused.other type": 2, "folded": 10})
        families = {each.name: each for each in text_string_to_metric_families(given.text())}
        self.assertEqual(sorted(families), ["taba_checkpoints", "taba_depth", "taba_events"])
        self.assertEqual(families["taba_checkpoints"].type, "counter")
        self.assertEqual(families["taba_checkpoints"].documentation, "Checkpoints\nwritten.")
        samples = read(given.text())
        self.assertEqual(samples["taba_depth"], {(("vbucket", "7"),): 0.25, (("vbucket", "8"),): 2e18})
        self.assertEqual(samples["taba_events"][(("line", "refused.other type"),)], 2)

    @given(st.text(), st.floats(allow_nan=False))
    def test_anything_can_be_a_label(self, label: str, value: float) -> None:
        """Quotes, line ends and backslashes in a label, and any number, come out as they went in."""
        if "\r" in label or any(c in label for c in "\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"):
            return  # the parser splits lines where Prometheus itself does not
        given = Exposition()
        given.gauge("taba_any", "Any.", value, name=label)
        self.assertEqual(read(given.text())["taba_any"], {(("name", label),): value})

    def test_histogram(self) -> None:
        """Buckets are cumulative and end with all; a value on a bound is within it."""
        histogram = Histogram((0.1, 1.0))
        for value in (0.05, 0.1, 0.5, 7.0):
            histogram.observe(value)
        given = Exposition()
        given.histogram("taba_seconds", "Times.", histogram, store="redis")
        samples = read(given.text())
        buckets = {dict(labels)["le"]: value for labels, value in samples["taba_seconds_bucket"].items()}
        self.assertEqual(buckets, {"0.1": 2, "1": 3, "+Inf": 4})
        self.assertEqual(samples["taba_seconds_count"], {(("store", "redis"),): 4})
        self.assertAlmostEqual(samples["taba_seconds_sum"][(("store", "redis"),)], 7.65)

    def test_one_kind_each(self) -> None:
        """A name that is two things is a mistake of the program, found by its test."""
        given = Exposition()
        given.counter("taba_x_total", "X.", inf)
        self.assertRaises(ValueError, given.gauge, "taba_x_total", "X.", 1)
        self.assertEqual(Exposition().text(), "")
