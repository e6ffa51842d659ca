"""The numbers of an agent for /metrics: names, units and meanings, in one place. Pure but for reading the agent.

docs/reference/metrics.md says what each of them means and what to do; a test compares. Labels are bounded: lines of the
ledger by their reasons, tabs of what clients dropped by `MAX_TABS`, servers by the settings.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from taba.agent.intake import Applied
from taba.agent.lane import LaneState
from taba.agent.measures import OUTCOMES
from taba.agent.unsent import parts
from taba.metrics import Exposition, Histogram

if TYPE_CHECKING:
    from taba.agent.service import Agent


def expose_agent(into: Exposition, prefix: str, agent: Agent, wall: float) -> None:
    """Put all numbers of an agent into an exposition, under names that begin with `prefix`, at wall time `wall`."""
    _intake(into, prefix, agent)
    _spool(into, prefix, agent)
    _lanes(into, prefix, agent, wall)
    _servers(into, prefix, agent)
    agent.measures.http.expose(into, prefix)


def _intake(into: Exposition, prefix: str, agent: Agent) -> None:
    """What came in, and what is said of it."""
    into.ledger(f"{prefix}_events", "Durable events by line of the ledger.", agent.ledger())
    name, meaning = f"{prefix}_unsent_total", "Events that clients dropped before they were sent, by reason and tab."
    into.counter(name, meaning, None)
    for reason, tabs in parts(agent.committer.ledger).items():
        for tab, events in tabs.items():
            into.counter(name, meaning, events, reason=reason, tab=tab)
    name, meaning = f"{prefix}_client_batches_total", "Requests of clients, by what became of them."
    for applied in Applied:
        into.counter(name, meaning, agent.measures.batches[applied.value], outcome=applied.value)
    intake, refusing = agent.intake, agent.refusing()
    into.gauge(f"{prefix}_taking", "1 when events are taken, 0 when they are refused.", 0 if refusing else 1)
    meaning = "1 while events are refused since servers take less than comes in (BACKLOG_SECONDS)."
    into.gauge(f"{prefix}_behind", meaning, int(agent.keeping_up.refuses))
    into.gauge(f"{prefix}_instances", "Client instances that are known.", len(intake.instances) if intake else 0)
    into.gauge(f"{prefix}_memory_bytes", "Memory of events that are not on disk.", intake.memory() if intake else 0)
    into.gauge(f"{prefix}_memory_limit_bytes", "The share of AGENT_MEMORY_BYTES for them.", agent.budget.intake)
    into.gauge(f"{prefix}_memory_budget_bytes", "AGENT_MEMORY_BYTES.", agent.settings.max_memory_bytes)


def _spool(into: Exposition, prefix: str, agent: Agent) -> None:
    """The disk."""
    writing, measures = agent.committer.writing, agent.measures
    into.gauge(f"{prefix}_spool_bytes", "Bytes that the spool has on disk.", writing.held)
    into.gauge(f"{prefix}_spool_limit_bytes", "SPOOL_MAX_BYTES.", agent.settings.max_spool_bytes)
    into.gauge(f"{prefix}_spool_full", "1 when there is no room for further events.", int(writing.full))
    into.gauge(f"{prefix}_spool_failing", "1 while the disk cannot be written.", int(writing.problem is not None))
    meaning = "Time in which a commit became durable, with all tries."
    into.histogram(f"{prefix}_commit_seconds", meaning, measures.commits)
    into.histogram(f"{prefix}_sync_seconds", "Time of one write and sync of the spool.", measures.syncs)


def _lanes(into: Exposition, prefix: str, agent: Agent, wall: float) -> None:
    """What is on its way to the servers."""
    totals, measures = agent.lanes.totals(), agent.measures
    states = Counter(lane.state for lane in agent.lanes.each())
    for state in LaneState:
        into.gauge(f"{prefix}_lanes", "Lanes by what they wait for.", states[state], state=state.value)
    into.counter(f"{prefix}_taken_bytes_total", "Bytes of batches that servers took.", agent.measures.bytes_taken)
    into.gauge(f"{prefix}_batches_held", "Batches that are not confirmed.", totals.batches)
    into.gauge(f"{prefix}_bytes_held", "Bytes of the batches that are not confirmed.", totals.bytes)
    into.gauge(f"{prefix}_events_confirmed", "Events confirmed in this life of the process.", totals.confirmed)
    meaning = "Age of the oldest events that are not confirmed; 0 when all are."
    into.gauge(f"{prefix}_oldest_unconfirmed_seconds", meaning, oldest_unconfirmed(agent, wall))
    name, meaning = f"{prefix}_store_lost_batches_total", "Batches lost by the store that this agent holds no more."
    into.counter(name, meaning, agent.lost)
    meaning = "Time from the commit of a batch's oldest events to a server's ok."
    into.histogram(f"{prefix}_first_ok_seconds", meaning, measures.first_oks)
    meaning = "Time from the commit of a batch's oldest events to its being confirmed."
    into.histogram(f"{prefix}_confirmation_seconds", meaning, measures.confirmations)


def oldest_unconfirmed(agent: Agent, wall: float) -> float:
    """Seconds since the commit of the oldest events that are not confirmed: in batches, and what waits for its seal."""
    held = (lane.oldest for lane in agent.lanes.each())
    times = [batch.sealed for batch in held if batch is not None]
    waiting = agent.committer.sealing.oldest()
    return max(0.0, wall - min([*times, *([] if waiting is None else [waiting])], default=wall))


def _servers(into: Exposition, prefix: str, agent: Agent) -> None:
    """The endpoints, and what became of requests to them."""
    measures = agent.measures
    into.gauge(f"{prefix}_clock_offset_seconds", "How far the servers' clock is ahead.", agent.forwarder.clock_offset())
    endpoints = agent.forwarder.endpoints()
    measures.keep([each.name for each in endpoints])
    for each in endpoints:
        server = each.name
        for outcome in OUTCOMES:
            count = measures.requests[server, outcome]
            meaning = "Requests to servers by outcome."
            into.counter(f"{prefix}_server_requests_total", meaning, count, server=server, outcome=outcome)
        meaning = "Time that a server's answers took."
        seconds = measures.request_seconds.get(server) or Histogram()
        into.histogram(f"{prefix}_server_request_seconds", meaning, seconds, server=server)
        meaning = "Requests to a server that are under way."
        into.gauge(f"{prefix}_server_requests_in_flight", meaning, each.in_flight, server=server)
        meaning = "How long a server is left alone after failures."
        into.gauge(f"{prefix}_server_pause_seconds", meaning, each.back_in, server=server)
        meaning = "Which part of a full request a server gets: little at first, and after failures."
        into.gauge(f"{prefix}_server_portion_ratio", meaning, each.portion, server=server)
        meaning = "1 while a server is silent although others answer."
        into.gauge(f"{prefix}_server_overdue", meaning, int(each.overdue), server=server)
