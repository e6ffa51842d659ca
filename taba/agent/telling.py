"""What an agent says of itself, and what else may have a part in it. Pure but for reading the agent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from taba.agent.unsent import parts
from taba.metrics import Exposition

if TYPE_CHECKING:
    from taba.agent.service import Agent


class Source(Protocol):
    """Something beside the HTTP port that brings an agent events, and tells of them."""

    def facts(self) -> Mapping[str, Any]:
        """What /status says of it."""

    def expose(self, into: Exposition, prefix: str) -> None:
        """Put its numbers into an exposition, under names that begin with a prefix."""


def facts_of(agent: Agent) -> dict[str, Any]:
    """What /status says of an agent."""
    totals, intake, obstacle = agent.lanes.totals(), agent.intake, agent.forwarder.obstacle()
    return {
        "incarnation": agent.committer.incarnation,
        "cluster": agent.forwarder.cluster,
        "problem": agent.refusing(),
        "sending_problem": None if obstacle is None else str(obstacle),
        "ledger": agent.ledger(),
        "unsent": parts(agent.committer.ledger),
        "learned_types": ", ".join(agent.types.known.learned()) or None,
        "spool_bytes": agent.committer.writing.held,
        "memory_bytes": intake.memory() if intake is not None else 0,
        "instances": len(intake.instances) if intake is not None else 0,
        "batches_held": totals.batches,
        "bytes_held": totals.bytes,
        "events_confirmed": totals.confirmed,
        "batches_lost_by_store": agent.lost,
        "clock_offset": agent.forwarder.clock_offset(),
        **({} if agent.statsd is None else {"statsd": agent.statsd.facts()}),
    }


def text_of(facts: Mapping[str, Any]) -> str:
    """What /status says, as text."""
    parts = ("ledger", "unsent", "statsd")
    lines = [f"{name}: {'none' if value is None else value}" for name, value in facts.items() if name not in parts]
    lines += ["ledger:", *(f"  {line}: {count}" for line, count in sorted(facts["ledger"].items()))]
    if "statsd" in facts:
        lines += ["statsd:", *(f"  {name}: {value}" for name, value in facts["statsd"].items())]
    for reason, tabs in facts["unsent"].items():
        lines += [f"unsent, {reason}:", *(f"  {tab}: {count}" for tab, count in tabs.items())]
    return "\n".join(lines) + "\n"
