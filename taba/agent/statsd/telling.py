"""The numbers of StatsD for /metrics: names, units and meanings; docs/reference/metrics.md says what to do with them.
"""

from __future__ import annotations

from taba.agent.statsd.gathering import OBSTACLES, Gatherer
from taba.metrics import Exposition
from taba.native import STATSD_IGNORED, STATSD_REASONS


def expose_statsd(into: Exposition, prefix: str, gatherer: Gatherer) -> None:
    """Put the numbers of this life of the process into an exposition."""
    counts, name = gatherer.counts, f"{prefix}_statsd"
    into.counter(f"{name}_lines_total", "Lines of StatsD that were not blank.", counts["lines"])
    into.counter(f"{name}_events_total", "Events that lines of StatsD came to.", counts["accepted"])
    for reason in STATSD_REASONS:
        meaning = "Lines of StatsD, or values of them, that were refused, by reason."
        into.counter(f"{name}_refused_total", meaning, counts[f"refused.{reason}"], reason=reason)
    for what in STATSD_IGNORED:
        meaning = "Lines of StatsD that were understood and are nothing for Taba."
        into.counter(f"{name}_ignored_total", meaning, counts[f"ignored.{what}"], what=what)
    into.counter(f"{name}_datagrams_total", "Datagrams that were received.", counts["datagrams"])
    meaning = "Datagrams dropped by the kernel, whose buffer was full, or by the agent while it takes no events."
    for by in ("kernel", "agent"):
        count = counts["dropped_by_kernel" if by == "kernel" else "dropped"]
        into.counter(f"{name}_dropped_datagrams_total", meaning, count, by=by)
    meaning = "Lines of the datagrams that the agent dropped, by what kept it from taking events."
    for reason in OBSTACLES:
        into.counter(f"{name}_dropped_lines_total", meaning, counts[f"dropped_lines.{reason}"], reason=reason)
    into.counter(f"{name}_connections_total", "Connections of senders of StatsD.", counts["connections"])
    meaning = "Names that became the same tab as another one, when characters were replaced."
    into.counter(f"{name}_collisions_total", meaning, counts["collisions"])
    meaning = "How often all names were forgotten, since they took too much memory."
    into.counter(f"{name}_resets_total", meaning, counts["resets"])
    into.gauge(f"{name}_tabs", "Tabs, by metric, that came by StatsD.", gatherer.tabs)
