"""What each kind of line becomes with the default settings: a test for each sentence of docs/reference/statsd.md."""

from __future__ import annotations

from attrs import field, frozen
from twisted.trial.unittest import SynchronousTestCase

from taba import native
from taba.settings import AgentSettings

NOW = 1_700_000_000.0
NEWEST = NOW + 60.0
KINDS = {
    "CounterGroup": native.COUNTER_GROUP, "PercentileGroup": native.PERCENTILE_GROUP, "Gauge": native.GAUGE,
    "UniqueGroup": native.UNIQUE_GROUP,
}  # fmt: skip


@frozen
class Became:
    """What a tab has: its Type, events, the time of the newest; the total, the last value, or the distinct members."""

    type: str
    events: int
    value: float
    time: float = field(default=NOW, eq=False)


def value_of(type: str, partial: bytes) -> float:
    """What a tab shows of a Partial."""
    state = native.fold(KINDS[type], b"", [partial])
    if type == "CounterGroup":
        return native.counter_group_summary(state, NOW + 1, ())[1].sum
    if type == "PercentileGroup":
        return native.percentile_group_summary(state, NOW + 1, ())[3][0].sum
    if type == "Gauge":
        return float(native.gauge_entries(state)[-1].value)
    return native.unique_group_summary(state, NOW + 1)[3].unique


class LineCase(SynchronousTestCase):
    """A gatherer as an agent has it with the default settings."""

    def setUp(self) -> None:
        self.gatherer = self.make(True)

    def make(self, signed_gauges: bool) -> native.Statsd:
        """A gatherer that has met nothing."""
        gatherer = native.Statsd("host", signed_gauges=signed_gauges)
        for metric, name in AgentSettings().types_by_metric().items():
            gatherer.map(metric, name, KINDS[name])
        gatherer.at(NOW, NEWEST)
        return gatherer

    def became(self, *lines: str) -> dict[str, Became]:
        """What lines of one datagram become, by tab."""
        self.gatherer.datagram("\n".join(lines).encode())
        scratch = native.StatsdScratch(native.Limits(newest=NEWEST), KINDS)
        self.gatherer.give(scratch)
        accumulator = native.Accumulator()
        accumulator.merge(scratch, 1)
        found = {}
        for section in accumulator.encode(1):
            for each in native.batch_entries(section.data):
                self.assertEqual(each.client, "host")
                newest = native.partial_extent(each.partial)[1]
                found[each.tab] = Became(each.type, each.events, round(value_of(each.type, each.partial), 6), newest)
        return found

    def counted(self, *lines: str) -> native.StatsdCounts:
        """The counts of lines of one datagram."""
        self.gatherer.datagram("\n".join(lines).encode())
        return self.gatherer.take()


class MetricTests(LineCase):
    """Metrics, and what they become."""

    def test_types(self) -> None:
        """Counters become CounterGroups; timers, histograms and distributions PercentileGroups; gauges Gauges; sets
        UniqueGroups.
        """
        self.assertEqual(
            self.became("c:2|c", "ms:12.5|ms", "h:3|h", "d:4|d", "g:5|g", "s:somebody|s"),
            {
                "c": Became("CounterGroup", 1, 2), "ms": Became("PercentileGroup", 1, 12.5),
                "h": Became("PercentileGroup", 1, 3), "d": Became("PercentileGroup", 1, 4),
                "g": Became("Gauge", 1, 5), "s": Became("UniqueGroup", 1, 1),
            },
        )  # fmt: skip

    def test_sets(self) -> None:
        """A set counts its different members, which may be any text."""
        lines = ["u:a|s", "u:b|s", "u:a|s", "u:x:y z|s", "u:\u00e9|s"]
        self.assertEqual(self.became(*lines), {"u": Became("UniqueGroup", 5, 4)})

    def test_changes_of_gauges(self) -> None:
        """A gauge's value with a sign is added to the last one of its tab, from 0 on, also in later windows."""
        self.assertEqual(self.became("g:10|g", "g:+5|g", "g:-3|g", "new:-2|g")["g"].value, 12)
        self.assertEqual({tab: each.value for tab, each in self.became("g:+1|g", "new:+1.5|g").items()},
                         {"g": 13, "new": -0.5})  # fmt: skip

    def test_signs_as_values(self) -> None:
        """With STATSD_GAUGES values, as DogStatsD has it, a sign is a sign."""
        self.gatherer = self.make(False)
        self.assertEqual(self.became("g:10|g", "g:-3|g")["g"].value, -3)


class SectionTests(LineCase):
    """What stands behind the metric."""

    def test_packed_values(self) -> None:
        """Several values between colons are an event each, and a bad one among them is refused alone."""
        self.assertEqual(
            self.became("c:1:2:3|c", "d:1:2:9.5|d|#a:b"),
            {"c": Became("CounterGroup", 3, 6), "d;a=b": Became("PercentileGroup", 3, 12.5)},
        )
        counts = self.counted("c:1:x:3|c")
        self.assertEqual((counts.lines, counts.accepted - 6, dict(counts.refused)), (3, 2, {"value": 1}))

    def test_sampled_counters(self) -> None:
        """The value of a sampled counter is scaled."""
        self.assertEqual(self.became("c:3|c|@0.1", "c:1|c|@0.5"), {"c": Became("CounterGroup", 2, 32)})

    def test_sampled_timers(self) -> None:
        """A sampled timer counts as the events that it stands for; what 1 / RATE leaves over is carried on."""
        self.assertEqual(self.became("t:2|ms|@0.1", "d:1:3|d|@0.5"),
                         {"t": Became("PercentileGroup", 10, 20), "d": Became("PercentileGroup", 4, 8)})  # fmt: skip
        self.assertEqual([self.became("x:1|h|@0.4")["x"].events for _ in range(4)], [2, 3, 2, 3])

    def test_rates_of_others(self) -> None:
        """A rate means nothing for gauges and sets."""
        self.assertEqual(self.became("g:7|g|@0.1", "s:a|s|@0.1"),
                         {"g": Became("Gauge", 1, 7), "s": Became("UniqueGroup", 1, 1)})  # fmt: skip

    def test_bad_rates(self) -> None:
        """No rate is 0 or above 1, and timers have none below 1/1000."""
        counts = self.counted("c:1|c|@0", "c:1|c|@1.5", "c:1|c|@x", "t:1|ms|@0.0005", "c:1|c|@0.0005")
        self.assertEqual((counts.accepted, dict(counts.refused)), (1, {"rate": 4}))

    def test_times(self) -> None:
        """`|T` names the time of a line; without it a line has the time at which it was read."""
        found = self.became("old:1|c|T1699999000", "c:1|c", "t:1:2|ms|T1699999980")
        self.assertEqual({tab: each.time for tab, each in found.items()},
                         {"old": 1_699_999_000, "c": NOW, "t": 1_699_999_980})  # fmt: skip

    def test_bad_times(self) -> None:
        """A time that is none, and one that is too far ahead."""
        counts = self.counted("c:1|c|T1.5", "c:1|c|T", "c:1|c|T1700000061", "c:1|c|T1700000060")
        self.assertEqual((counts.accepted, dict(counts.refused)), (1, {"time": 2, "future": 1}))

    def test_containers(self) -> None:
        """Container ids, and what else only says where a line comes from, change nothing, in any order."""
        lines = ["c:1|c|c:83c0a99c", "c:1|c|#k:v|c:in-1234|T1700000000", "c:1|c|@0.5|e:it-false,cn-x|card:low|#k:v"]
        expected = {"c": Became("CounterGroup", 1, 1), "c;k=v": Became("CounterGroup", 2, 3)}
        self.assertEqual(self.became(*lines), expected)
        self.assertEqual(dict(self.counted("c:1|c|!").refused), {"syntax": 1})

    def test_events_and_checks(self) -> None:
        """DogStatsD's events and service checks are accepted, come to nothing, and are counted as ignored."""
        lines = ["_e{5,4}:title|text|t:info|#a:b", "_sc|redis|2|d:1700000000|h:host|#a:b|m:text", "_e{1,1}:a|b"]
        counts = self.counted(*lines)
        self.assertEqual((counts.lines, counts.accepted, dict(counts.ignored)), (3, 0, {"event": 2, "check": 1}))
        self.assertEqual((dict(counts.refused), self.became()), ({}, {}))


class TagTests(LineCase):
    """Tags become part of the name."""

    def test_sorted(self) -> None:
        """In the order of their bytes, each once; a tag without a value stands as it is."""
        self.assertEqual(
            self.became("web.hits:1|c|#zone:eu,env:prod", "web.hits:2|c|#env:prod,zone:eu,env:prod",
                        "web.hits:4|c|#zone,,env:a:b"),
            {
                "web.hits;env=prod;zone=eu": Became("CounterGroup", 2, 3),
                "web.hits;env=a:b;zone": Became("CounterGroup", 1, 4),
            },
        )  # fmt: skip

    def test_other_characters(self) -> None:
        """Characters that no name has become `_`, in names and in tags, and so do `;`, and `=` before the colon."""
        self.assertEqual(list(self.became("a b\u00e9:1|c|#k=x;y:v w;z=1")), ["a_b__;k_x_y=v_w_z=1"])

    def test_collisions(self) -> None:
        """Names that become the same tab are counted as a collision, once for each way of writing."""
        counts = self.counted("a b:1|c", "a_b:1|c", "a b:1|c", "x:1|c|#k:a b", "x:1|c|#k:a_b", "x:1|c|#k:a b")
        self.assertEqual((counts.collisions, counts.tabs, counts.accepted), (2, 2, 6))
        self.assertEqual(self.counted("y:1|c|#b:1,a:2", "y:1|c|#a:2,b:1").collisions, 0)

    def test_one_name_two_metrics(self) -> None:
        """A name with two metrics is a tab with events of two Types, of which the servers refuse the later one."""
        self.gatherer.datagram(b"a:1|c\na:1|ms")
        self.assertEqual(self.gatherer.take().tabs, 2)

    def test_limits(self) -> None:
        """A name has 512 bytes with its tags, and 128 tags."""
        tags = ",".join(f"t{number}" for number in range(129))
        long = "x" * 512
        counts = self.counted(f"{long}:1|c", f"{long}x:1|c", f"{long[:-2]}:1|c|#ab", f"a:1|c|#{tags}", ":1|c")
        self.assertEqual((counts.accepted, dict(counts.refused)), (1, {"name": 4}))


class NumberTests(LineCase):
    """Values."""

    def test_written(self) -> None:
        """Decimal, with a sign, a point and an exponent if they like."""
        self.assertEqual(self.became("c:+1|c", "c:-2.5|c", "c:.5|c", "c:5.|c", "c:1e3|c", "c:007|c")["c"].value, 1011)

    def test_none(self) -> None:
        """Neither infinities nor other bases, nor more than 128 characters."""
        bad = ["inf", "nan", "1e999", "0x10", "", "1_0", "1" * 129]
        self.assertEqual(dict(self.counted(*(f"c:{each}|c" for each in bad)).refused), {"value": len(bad)})

    def test_ends_of_lines(self) -> None:
        """LF or CR LF, and none behind the last line; blank lines are none."""
        counts = self.counted("c:1|c\r", "", "\r", "c:1|c", "c:1|c")
        self.assertEqual((counts.lines, counts.accepted), (3, 3))
