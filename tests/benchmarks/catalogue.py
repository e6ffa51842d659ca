"""All benchmarks by name: what each measures, which options of workloads it takes, and how long it is about."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from attrs import frozen

from tests.benchmarks import (
    client,
    fleet,
    fold,
    forward,
    instructions,
    intake,
    intake_statsd,
    merging,
    overload,
    quantiles,
    queries,
    redis,
    sizes,
    statsd,
    tako,
    whole,
)
from tests.benchmarks.asked import Asked
from tests.benchmarks.overload_cases import CASES
from tests.benchmarks.peers import __main__ as peers
from tests.benchmarks.report import Figure

REQUESTS = ("protocol", "kind", "tabs", "per-tab", "clients", "values", "connections")
"""The options of a workload that comes in requests."""


def _none(words: Sequence[str]) -> bool:
    return not words


def _numbers(most: int) -> Callable[[Sequence[str]], bool]:
    return lambda words: len(words) <= most and all(word.isdecimal() and int(word) for word in words)


@frozen
class Benchmark:
    """One of them."""

    name: str
    says: str
    run: Callable[[Asked], Iterator[Figure]]
    axes: Sequence[str] = ()
    """The options of workloads that it takes."""
    counts_runs: bool = False
    """Whether it repeats its stages itself; else all of it is repeated for several runs."""
    sized: bool = False
    """Whether it takes --events."""
    words: str = ""
    """What may follow its name; such a benchmark is run by itself."""
    takes: Callable[[Sequence[str]], bool] = _none
    """Whether these words may follow."""
    asked_for: bool = False
    """Whether it runs only if it is named."""


@frozen
class Program:
    """A benchmark with a command line of its own, which follows its name."""

    name: str
    says: str
    run: Callable[[Sequence[str]], int | None]
    """Its exit code, or None for 0."""


BENCHMARKS = {
    each.name: each
    for each in (
        Benchmark("sizes", "bytes of a State", lambda _: sizes.run()),
        Benchmark("quantiles", "the worst error of quantiles", lambda _: quantiles.run()),
        Benchmark("merging", "merging a request as tabs grow; memory of a live Partial", merging.run, (), True),
        Benchmark("intake", "events over HTTP into an agent", intake.run, REQUESTS, True, True),
        Benchmark(
            "intake-statsd", "StatsD over TCP and UDP into an agent", intake_statsd.run,
            ("transport", "kind", "tabs", "per-tab"), True, True,
        ),
        Benchmark(
            "client", "a call of the client; a flush", client.run, ("kind", "tabs", "per-tab", "values"), True
        ),
        Benchmark(
            "forward", "agent to fe: what both cost", forward.run, ("store", *REQUESTS), True, True
        ),
        Benchmark(
            "fold", "be: fold and checkpoint, embedded and Redis", fold.run,
            ("store", "per-checkpoint", "tabs", "clients", "per-tab", "kind", "values"), True,
        ),
        Benchmark("queries", "queries, an idle server, time to visibility", queries.run, ("tabs", "clients"), True),
        Benchmark("redis", "fe and be on Redis; 3 million States", redis.run, (), True),
        Benchmark("tako", "Tako: gets, sets, healing", lambda _: tako.run()),
        Benchmark(
            "intake-all", "twenty workloads over HTTP into an agent", intake.run_all, (), True, True, asked_for=True
        ),
        Benchmark(
            "statsd", "an agent's StatsD in one process, as if it had a processor for itself", statsd.run,
            (), True, asked_for=True,
        ),
        Benchmark(
            "whole", "the whole way over two Redis shards, by the wall clock", whole.run, REQUESTS[:-1],
            words="[SECONDS]", takes=_numbers(1), asked_for=True,
        ),
        Benchmark(
            "fleet", "a State of each client and tab made, then changed, over two Redis shards", fleet.run,
            ("clients", "tabs"), words="[CLIENTS [TABS [SERVERS]]]", takes=_numbers(3), asked_for=True,
        ),
        Benchmark(
            "overload", "ten times what can be done", lambda asked: overload.run(asked.words), words="[CASE...]",
            takes=lambda words: all(word in CASES for word in words), asked_for=True,
        ),
    )
}  # fmt: skip
PROGRAMS = {
    each.name: each
    for each in (
        Program("peers", "statsd, netdata, collectd and carbon beside the agent, the same lines", peers.main),
        Program(
            "instructions", "instructions of the native kernels beside those on record",
            lambda words: instructions.main(list(words)),
        ),
    )
}  # fmt: skip


def listing() -> str:
    """All of them, for people."""
    lines = ["Run unless others are named:"]
    lines += [_line(each) for each in BENCHMARKS.values() if not each.asked_for]
    lines += ["", "Run when they are named:"]
    lines += [_line(each) for each in BENCHMARKS.values() if each.asked_for]
    lines += ["", "With a command line of their own (NAME --help):"]
    lines += [f"  {each.name:<14} {each.says}" for each in PROGRAMS.values()]
    return "\n".join(lines)


def _line(benchmark: Benchmark) -> str:
    options = " ".join(f"--{axis}" for axis in benchmark.axes)
    more = " ".join(part for part in (benchmark.words, options) if part)
    return f"  {benchmark.name:<14} {benchmark.says}" + (f"\n{'':<17}{more}" if more else "")
