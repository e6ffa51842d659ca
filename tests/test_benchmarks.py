"""The command line of the benchmarks, the table and the JSON that they make, and the comparison of two builds."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterator
from pathlib import Path

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from tests.benchmarks.__main__ import figures_of, main
from tests.benchmarks.asked import AXES, Asked
from tests.benchmarks.catalogue import BENCHMARKS, PROGRAMS, Benchmark
from tests.benchmarks.comparing import paired, words_of
from tests.benchmarks.intake import workloads_of
from tests.benchmarks.progress import Progress
from tests.benchmarks.report import HEADER, Figure, Run, figure_of, merged, read_json, write_json

RUNS = [Run(2_000_000, 0.5, 1.0, 64 << 20, 0.25), Run(2_000_000, 1.0, 2.0, 96 << 20, 0.2)]


def said_by(*arguments: str) -> tuple[int, str, str]:
    """What a command line ends with, and says on stdout and stderr."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main(arguments)
        except SystemExit as end:
            code = int(end.code or 0)
    return code, out.getvalue(), err.getvalue()


class CommandLineTests(SynchronousTestCase):
    """`python -m tests.benchmarks`."""

    def test_list(self) -> None:
        """One command lists all, those with a command line of their own among them."""
        code, out, _ = said_by("--list")
        self.assertEqual(code, 0)
        words = {line.split()[0] for line in out.splitlines() if line.startswith("  ")}
        self.assertLessEqual({*BENCHMARKS, *PROGRAMS}, words)
        self.assertLessEqual({"intake", "client", "forward", "fold", "queries", "peers", "statsd"}, words)

    def test_help(self) -> None:
        """The help names every option."""
        code, out, _ = said_by("--help")
        self.assertEqual(code, 0)
        for name in ("runs", "events", "json", "against", "list", *AXES):
            self.assertIn(f"--{name}", out)

    def test_mistakes(self) -> None:
        """A mistake is one sentence that says what is possible, before anything is started."""
        for arguments, sentence in (
            (["intak"], "there is no benchmark 'intak'; --list says which there are"),
            (["intake", "--store", "redis"], "intake takes no --store; it takes --protocol, --kind,"),
            (["sizes", "--tabs", "3"], "sizes takes no --tabs"),
            (["intake", "--tabs", "200,0"], "--tabs 0: it is a whole number from 1 on"),
            (["intake", "--kind", "timers"], "--kind timers: it is one of counters, percentiles, gauges"),
            (["intake", "--runs", "many"], "--runs many: it is a whole number from 1 on"),
            (["queries", "--events", "5"], "queries: no --events there"),
            (["sizes", "overload"], "overload takes the words after it"),
            (["overload", "bad-day"], "overload takes [CASE...], not bad-day"),
            (["fleet", "some"], "fleet takes [CLIENTS [TABS [SERVERS]]], not some"),
            (["sizes", "peers"], "peers has a command line of its own"),
            (["intake", "--against", self.mktemp()], "no checkout of Taba is there"),
        ):
            code, out, err = said_by(*arguments)
            self.assertEqual((code, out), (2, ""), arguments)
            self.assertIn(sentence, err)

    def test_options_are_known(self) -> None:
        """The options that a benchmark says it takes are options."""
        for each in BENCHMARKS.values():
            self.assertLessEqual(set(each.axes), set(AXES), each.name)

    def test_run(self) -> None:
        """A run prints the table, tells on stderr what is going on, and leaves the file."""
        path = Path(self.mktemp())
        code, out, err = said_by("sizes", "--json", str(path))
        self.assertEqual(code, 0)
        self.assertTrue(out.startswith(HEADER))
        self.assertIn("State of CounterGroup after 300 events in 1 s", out)
        self.assertIn("sizes: bytes of a State (1 of 1)", err)
        document = json.loads(path.read_text(encoding="utf-8"))
        self.assertEqual({row["benchmark"] for row in document["figures"]}, {"sizes"})
        self.assertEqual(document["options"]["names"], "['sizes']")
        self.assertLessEqual({"system", "processors", "load"}, set(document["machine"]))


class WorkloadTests(SynchronousTestCase):
    """Options of workloads."""

    def test_combinations(self) -> None:
        """Each combination of what is said is measured; what is not said stays as it is."""
        asked = Asked(axes={"tabs": AXES["tabs"].parse("200,20000"), "per-tab": AXES["per-tab"].parse("1,10")})
        chosen = [(each.tabs, each.events, each.clients, each.type) for each, _ in workloads_of(asked)]
        expected = [(tabs, events, 1, "CounterGroup") for tabs in (200, 20_000) for events in (1, 10)]
        self.assertEqual(chosen, expected)

    def test_words(self) -> None:
        """Kinds and values are words; a word that comes twice counts once."""
        asked = Asked(axes={"kind": AXES["kind"].parse("gauges,gauges"), "values": AXES["values"].parse("lognormal")})
        ((workload, connections),) = workloads_of(asked)
        self.assertEqual((workload.type, workload.values, connections), ("Gauge", "log-normal", None))

    def test_every_workload_has_its_events(self) -> None:
        """Prepared bytes hold as many events as the workload says, in either protocol and for each kind and value."""
        axes = {
            name: tuple(dict.fromkeys((AXES[name].words or {}).values())) for name in ("protocol", "kind", "values")
        }
        for workload, _ in workloads_of(Asked(axes={**axes, "tabs": (3,), "per-tab": (2,), "clients": (2,)})):
            prepared = workload.prepare()
            self.assertEqual(len(prepared.heads), 2)
            for head in prepared.heads:
                self.assertEqual(_events(head + prepared.rest, workload.protocol), 6, workload)


def _events(body: bytes, protocol: str) -> int:
    from tests.benchmarks.client import events_of

    return body.count(b'["') if protocol == "1" else events_of(body)


class FigureTests(SynchronousTestCase):
    """What becomes of runs."""

    def test_stage(self) -> None:
        """A stage's row has the rate per CPU second and its spread, the cost of one, the rate by the wall, the peak of
        memory, and how busy the sender was at most.
        """
        figure = figure_of("intake", RUNS, 3.5)
        self.assertEqual((list(figure.runs), figure.median, figure.reached), ([4.0, 2.0], 3.0, False))
        row = "intake 3 million events per CPU second 2 to 4 375 1.5 96 25 % >= 3.5: NO"
        self.assertEqual(" ".join(figure.line().split()), row)

    def test_without_sender(self) -> None:
        """Where nothing sends while it is measured, that is said."""
        figure = figure_of("be", [evolve(run, sender=None) for run in RUNS], of="Partials", scale="thousand")
        self.assertIn("thousand Partials per CPU second", figure.line())
        self.assertTrue(figure.line().endswith(" none"))

    def test_no_time_at_all(self) -> None:
        """A stage that took less than a tick of the clock took one, at most."""
        self.assertEqual(figure_of("x", [Run(100, 0.0, 1.0, 0)], scale="thousand").median, 10.0)

    def test_less_is_better(self) -> None:
        """Ratios and bytes are held to at most what was aimed at."""
        self.assertTrue(Figure("x", [0.4, 0.5, 0.9], "times", 0.5, less_is_better=True).reached)
        self.assertIsNone(Figure("x", [0.4], "times").reached)

    def test_json(self) -> None:
        """The file holds every run, and gives the figures back."""
        path = Path(self.mktemp())
        figures = [figure_of("intake", RUNS, 3.5), Figure("size", [3.0], "bytes", 4, less_is_better=True)]
        write_json(figures, path)
        self.assertEqual(read_json(path), figures)
        row = json.loads(path.read_text(encoding="utf-8"))["figures"][0]
        self.assertEqual((row["least"], row["most"], row["reached"]), (2.0, 4.0, False))
        self.assertEqual(
            row["stages"][0], {"events": 2_000_000, "cpu": 0.5, "wall": 1.0, "peak": 64 << 20, "sender": 0.25}
        )

    def test_rounds(self) -> None:
        """A benchmark that measures everything once is repeated as a whole, and its figures have all the runs."""
        values = iter((1.0, 2.0, 5.0))

        def run(asked: Asked) -> Iterator[Figure]:
            yield Figure("x", [next(values)], "ms")

        (figure,) = figures_of(Benchmark("once", "", run), Asked(runs=3))
        self.assertEqual((list(figure.runs), figure.median, figure.benchmark), ([1.0, 2.0, 5.0], 2.0, "once"))

    def test_merged(self) -> None:
        """Runs of stages are joined, too."""
        (figure,) = merged([[figure_of("x", RUNS[:1])], [figure_of("x", RUNS[1:])]])
        self.assertEqual(figure, figure_of("x", RUNS))


class ComparisonTests(SynchronousTestCase):
    """This build beside another one."""

    def test_ratios(self) -> None:
        """The ratio is that of each turn, so that what slows both down in a turn is not in it."""
        ours = [[Figure("x", [8.0], "k", 5)], [Figure("x", [4.0], "k", 5)]]
        theirs = [[Figure("x", [4.0], "k", 5)], [Figure("x", [2.0], "k", 5), Figure("y", [1.0], "k")]]
        mine, other, ratio = paired(ours, theirs)
        self.assertEqual((list(mine.runs), list(other.runs), list(ratio.runs)), ([8.0, 4.0], [4.0, 2.0], [2.0, 2.0]))
        self.assertEqual(other.name, "x: the other build")

    def test_both_are_asked_the_same(self) -> None:
        """Each build's process gets the workloads that were asked for, and one run."""
        asked = Asked(5, 1000, {"kind": ("gauges",), "tabs": (1, 2)})
        expected = "intake --runs 1 --events 1000 --kind gauges --tabs 1,2"
        self.assertEqual(words_of("intake", asked), expected.split())


class ProgressTests(SynchronousTestCase):
    """What is going on."""

    def test_lines(self) -> None:
        """Where it is no terminal, each step is a line with the time since the start."""
        out = io.StringIO()
        progress = Progress(out, iter((75.0, 76.0)).__next__, 10.0)
        progress.tell("intake, run 2 of 5")
        progress.clear()
        self.assertEqual(out.getvalue(), "[1:05] intake, run 2 of 5\n")
