"""The prepared StatsD lines, and what the benchmark beside the peers reads of their answers."""

from __future__ import annotations

import struct
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.benchmarks import statsd_lines
from tests.benchmarks.peers import table
from tests.benchmarks.peers.carbon import Aggregates, graphite_lines
from tests.benchmarks.peers.collectd import Flushed
from tests.benchmarks.peers.measuring import Cell, Run
from tests.benchmarks.peers.netdata import parse_events
from tests.benchmarks.peers.peer import Kind, Transport
from tests.benchmarks.peers.queues import Queue, diagnosis_request, parse_diagnosis, parse_udp_table
from tests.benchmarks.peers.sink import values
from tests.benchmarks.peers.taba_agent import parse_ledger

UDP_TABLE = """\
   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
 7392: 0100007F:1FBD 00000000:0000 07 00000000:00004600 00:00000000 00000000     0        0 1514667 2 0000000000000000 3
 7392: 0100007F:1FBD 00000000:0000 07 00000000:00000100 00:00000000 00000000     0        0 1514668 2 0000000000000000 4
 7393: 0100007F:1FBE 00000000:0000 07 00000000:00FF0000 00:00000000 00000000     0        0 1514669 2 0000000000000000 9
"""
NETDATA = """\
netdata_netdata_statsd_events_total{chart="netdata.statsd_events",family="statsd",dimension="counters"} 31 1795293502311
netdata_netdata_statsd_events_total{chart="netdata.statsd_events",family="statsd",dimension="timers"} 42 1795293502311
"""


class StatsdLinesTests(SynchronousTestCase):
    """What the generator sends."""

    def test_lines_are_statsd(self) -> None:
        """Counters count one, timers are milliseconds with a decimal, gauges are values without a sign."""
        names = ["web.hits"]
        self.assertEqual(statsd_lines.counters(names, 2), [b"web.hits:1|c\n"] * 2)
        for line in statsd_lines.timers(names, 100):
            self.assertRegex(line, rb"\Aweb\.hits:[0-9]+\.[0-9]\|ms\n\Z")
        for line in statsd_lines.gauges(names, 100):
            self.assertRegex(line, rb"\Aweb\.hits:[0-9]+\.[0-9]\|g\n\Z")

    def test_timers_are_never_zero(self) -> None:
        """Some receivers ignore a timer of nothing."""
        values = [float(line.split(b":")[1].split(b"|")[0]) for line in statsd_lines.timers(["t"], 20_000)]
        self.assertGreaterEqual(min(values), 0.1)

    def test_equal_arguments_give_equal_bytes(self) -> None:
        """A benchmark can be repeated to the byte; another seed gives other bytes."""
        names = statsd_lines.names(50)
        self.assertEqual(statsd_lines.timers(names, 3), statsd_lines.timers(names, 3))
        self.assertNotEqual(statsd_lines.timers(names, 3), statsd_lines.timers(names, 3, seed=2))

    def test_each_round_has_every_name_once(self) -> None:
        """So the count of every name is known: the number of rounds."""
        names = statsd_lines.names(30)
        lines = statsd_lines.counters(names, 4)
        for first in range(0, 120, 30):
            self.assertEqual(len({*lines[first : first + 30]}), 30)
        self.assertEqual(set(Counter(lines).values()), {4})

    def test_a_line_longer_than_a_block_is_refused(self) -> None:
        """Rather than sent in pieces that no receiver could read."""
        with self.assertRaises(ValueError):
            statsd_lines.pack([b"n" * 20 + b":1|c\n"], 10)

    @given(st.lists(st.binary(max_size=30).map(lambda name: name.replace(b"\n", b"") + b"\n")), st.integers(31, 200))
    def test_packing_loses_and_cuts_nothing(self, lines: list[bytes], size: int) -> None:
        """Blocks are within the size, end with a line, and have in order what was packed."""
        packed = statsd_lines.pack(lines, size)
        self.assertEqual(b"".join(packed.blocks), b"".join(lines))
        self.assertEqual(packed.events, len(lines))
        self.assertEqual(packed.size, sum(map(len, lines)))
        for block, count in zip(packed.blocks, packed.counts, strict=True):
            self.assertLessEqual(len(block), size)
            self.assertEqual((block[-1:], block.count(b"\n")), (b"\n", count))

    @given(st.lists(st.integers(1, 30), max_size=50))
    def test_packing_fills_blocks(self, lengths: list[int]) -> None:
        """No block could have taken the first line of the next one."""
        packed = statsd_lines.pack([b"x" * (length - 1) + b"\n" for length in lengths], 60)
        for block, following in zip(packed.blocks, packed.blocks[1:], strict=False):
            self.assertGreater(len(block) + following.index(b"\n") + 1, 60)


class ReadingTests(SynchronousTestCase):
    """What is read of the kernel and of the peers."""

    def test_queue_of_a_port_is_the_fullest_of_its_sockets(self) -> None:
        """A receiver may have several sockets on a port; what they dropped adds up."""
        self.assertEqual(parse_udp_table(UDP_TABLE, 8125), Queue(0x4600, 7))

    def test_queue_of_nobody_is_empty(self) -> None:
        """A port without a socket holds and drops nothing."""
        self.assertEqual(parse_udp_table(UDP_TABLE, 9), Queue(0, 0))

    def test_netlink_is_asked_for_one_socket(self) -> None:
        """The sender's address before the receiver's, ports in network order; the answer's 19th word is what waits."""
        request = diagnosis_request(("127.0.0.1", 0x1234), ("127.0.0.2", 0x5678))
        self.assertEqual(len(request), 72)
        self.assertEqual(request[24:28], b"\x12\x34\x56\x78")
        self.assertEqual((request[28:32], request[44:48]), (b"\x7f\0\0\1", b"\x7f\0\0\2"))
        answer = struct.pack("=IHH", 88, 20, 0) + bytes(64) + struct.pack("=IIII", 16640, 0, 0, 0)
        self.assertEqual(parse_diagnosis(answer), 16640)

    def test_netlink_that_refuses_is_told_from_an_empty_queue(self) -> None:
        """So that the sender asks elsewhere."""
        self.assertIsNone(parse_diagnosis(struct.pack("=IHHIIi", 36, 2, 0, 1, 0, -2) + bytes(16)))

    def test_line_of_tabas_ledger(self) -> None:
        """As /ledger shows it; what is not there is nothing."""
        self.assertEqual(parse_ledger("folded: 12\nrefused.future: 3\n", "refused.future"), 3)
        self.assertEqual(parse_ledger("folded: 12\n", "lost"), 0)

    def test_graphite_values_by_the_ends_of_their_names(self) -> None:
        """Other lines are not looked at."""
        text = b"stats.timers.a.count 3 10\nstats.timers.a.mean 1.5 10\nother x y z\n"
        self.assertEqual(list(values(text, b"stats.timers.", b".count")), [(b"a", 3.0, b"10")])

    def test_netdata_counts_by_kind(self) -> None:
        """Its own count of events, raw; none before it has charted anything."""
        self.assertEqual([parse_events(NETDATA, kind.value) for kind in Kind], [31, 42])
        self.assertEqual(parse_events("", "counters"), 0)

    def test_collectd_tells_totals_of_counters_and_differences_of_timers(self) -> None:
        """A counter repeated counts once, a timer's counts are added; what is `nan` in a quiet interval is passed."""
        flushed = Flushed()
        flushed.add(b"bench.statsd.derive-a 5 10\nbench.statsd.gauge-t-count 2 10\n")
        flushed.add(b"bench.statsd.derive-a 7 20\nbench.statsd.derive-b 1 20\nbench.statsd.gauge-t-count 3 20\n")
        flushed.add(b"bench.statsd.latency-t-average nan 30\n")
        self.assertEqual(flushed.events, 7 + 1 + 2 + 3)

    def test_carbon_sends_an_interval_again_when_it_grew(self) -> None:
        """The last value of a name and an interval is the one that counts."""
        aggregates = Aggregates(b".sum")
        aggregates.add(b"agg.bench.a.sum 5 10\nagg.bench.b.sum 1 10\nagg.bench.b.p90 80 10\n")
        aggregates.add(b"agg.bench.a.sum 8 10\nagg.bench.a.sum 2 20\n")
        self.assertEqual(aggregates.events, 8 + 1 + 2)

    def test_statsd_lines_as_graphite_lines(self) -> None:
        """The same names and values, with a time in place of the kind."""
        self.assertEqual(graphite_lines([b"a.b:1|c\n", b"t:12.3|ms\n"], 99), [b"a.b 1 99\n", b"t 12.3 99\n"])


def _cell(row: str, *cpu: float, counted: int = 1000) -> Cell:
    runs = [Run(1000, counted, 1.0, {row: each}, 0, 0.1) for each in cpu]
    return Cell([row], Transport.TCP, Kind.COUNTERS, 200, None, runs, {row: 1 << 20})


class TableTests(SynchronousTestCase):
    """What is made of the runs."""

    def test_the_median_run_counts(self) -> None:
        """One run that was disturbed does not move the figure."""
        self.assertEqual(table.median_rate(_cell("peer", 1.0, 1.0, 9.0), "peer"), 1000.0)

    def test_ratio_is_tabas_rate_to_the_peers(self) -> None:
        """Above one, Taba is ahead; without a row of Taba's the ratio stays open."""
        own, peer = _cell("Taba agent", 0.1), _cell("peer", 0.5)
        self.assertIn("| 5.00 |", table.table([peer, own]))
        self.assertIn("| not yet |", table.table([peer]))

    def test_lost_events_are_shown_with_their_share(self) -> None:
        """And they do not count in the rate: what was lost was no work done."""
        line = table.lines(_cell("peer", 1.0, counted=900), {})[0]
        self.assertIn("| 100 (10 %) |", line)
        self.assertEqual(table.median_rate(_cell("peer", 1.0, counted=900), "peer"), 900.0)
