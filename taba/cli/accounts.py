"""Where events are: `ledger` (do all accounts add up), `drain` (wait until an agent needs its disk no more), `where`
(the newest event of one client's tab, at each station).

The account, by which `ledger` judges: of what an agent received, some events were refused or given up there, some are
pending (not confirmed, though the server may have them), and all others the server has taken. Whatever the server has
taken it has folded, refused, or lost and counted, or it waits in a log. (Lines `unsent.` tell of events that no agent
received.)
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import click
from attrs import frozen

from taba.cli.names import complete_clients, complete_tabs
from taba.cli.options import agent_option, common_options
from taba.cli.session import NOTHING_FOUND, AskFailed, Session
from taba.cli.tables import age

PENDING = "pending"
RECEIVED = "received"
AGENT_OUT = ("refused.", "lost.")
"""How lines of an agent begin whose events are not on their way any more."""
POLL_SECONDS = 1.0


@frozen
class Account:
    """What the ledgers of some agents and one server say together. Those of the agents were read before that of the
    server, and after it: what came in between is in one of them only.
    """

    confirmed: int
    """Events that the agents had confirmed before the server was asked."""
    pending: int
    """Events that they still held after it."""
    given: int
    """Events that they had given to servers, or have still to give, after it."""
    taken: int
    """Events that the server accounts for: folded, refused, lost or dropped."""
    waiting: int = 0
    """Batches in the servers' logs, whose events no account has yet."""

    @classmethod
    def of(
        cls,
        before: Sequence[Mapping[str, int]],
        server: Mapping[str, int],
        after: Sequence[Mapping[str, int]],
        waiting: int = 0,
    ) -> Account:
        """From ledgers."""
        pending = sum(ledger.get(PENDING, 0) for ledger in before)
        still = sum(ledger.get(PENDING, 0) for ledger in after)
        return cls(_given(before) - pending, still, _given(after), _taken(server), waiting)

    @property
    def adds_up(self) -> bool | None:
        """Whether it does; None when that cannot be said: there are senders whose ledger is not here, or events that
        the servers have still to fold.
        """
        if self.taken > self.given:
            return None
        if self.confirmed <= self.taken:
            return True
        return None if self.waiting else False

    def sentence(self) -> str:
        """What the account says, for people."""
        if self.taken > self.given:
            return (
                f"The server accounts for {self.taken - self.given} events more than the agents named here took. Name"
                " all agents (--agent, several times); of agents whose spools are gone nothing can be known any more."
            )
        missing = self.confirmed - self.taken
        if missing > 0 and self.waiting:
            return (
                f"It cannot be said yet: {missing} events that the agents have confirmed wait with others in"
                f" {self.waiting} batches in the servers' logs. Ask again when these are folded."
            )
        if missing > 0:
            return (
                f"{missing} events are MISSING: the agents have {self.confirmed} confirmed, and the server accounts for"
                f" {self.taken}."
            )
        if self.taken == self.given:
            return f"It adds up: all {self.given} events that the agents took are in the server's account, once."
        return (
            f"It adds up, as far as is known: of {self.given} events that the agents took {self.taken} are in the"
            f" server's account, and {self.given - self.taken} on their way."
        )


def _taken(server: Mapping[str, int]) -> int:
    """Events that a server accounts for. A line with a blank in its name is a note, and counts no events."""
    return sum(count for line, count in server.items() if " " not in line)


def _given(ledgers: Sequence[Mapping[str, int]]) -> int:
    """Events that agents received and neither refused nor gave up."""
    out = sum(count for ledger in ledgers for line, count in ledger.items() if line.startswith(AGENT_OUT))
    return sum(ledger.get(RECEIVED, 0) for ledger in ledgers) - out


@click.command()
@agent_option
@common_options
@click.pass_obj
def ledger(session: Session) -> None:
    """Show the account of every event, and whether it adds up.

    The lines of the server and of agents, and one sentence about both.

    Name every agent (--agent, several times, or with commas): events of an agent that is not named are in the server's
    account only. Exits with 1 where events are missing.
    """
    before = _agents(session)
    try:
        server = session.facts("/ledger", {})
        waiting = round(session.facts("/status", {}).get("total_tasks") or 0)
    except AskFailed as failed:
        session.fail(failed.code, str(failed))
    after = _agents(session, before)
    complete = len(after) == len(session.agents)
    account = Account.of(list(before.values()), server, list(after.values()), waiting)
    sentence = account.sentence() if complete else "Whether it adds up is not known without the ledger of each agent."
    adds_up = account.adds_up if complete else None
    if session.as_json:
        session.put_facts({"server": server, "agents": after, "adds_up": adds_up, "sentence": sentence})
    else:
        _put_ledgers(session, server, after, sentence)
    if adds_up is False:
        raise click.exceptions.Exit(NOTHING_FOUND)


def _agents(session: Session, only: Collection[str] | None = None) -> dict[str, dict[str, int]]:
    """The ledgers of the agents, of `only` some; of those that do not answer it is said."""
    found: dict[str, dict[str, int]] = {}
    for agent in session.agents:
        if only is not None and agent not in only:
            continue
        try:
            found[agent] = session.facts("/ledger", {}, agent=agent)
        except AskFailed as failed:
            session.note(str(failed))
    return found


def _put_ledgers(
    session: Session, server: Mapping[str, int], agents: Mapping[str, Mapping[str, int]], sentence: str
) -> None:
    rows = [["server", line, str(server[line])] for line in sorted(server)]
    for agent, lines in agents.items():
        rows += [[f"agent {agent}", line, str(lines[line])] for line in sorted(lines)]
    session.put_table(("WHOSE", "LINE", "EVENTS"), rows, right=(2,))
    session.put(sentence)


# --------------------------------------------------------------------------------------------------------------- drain


@click.command()
@click.option("--wait", metavar="SECONDS", type=click.FloatRange(0), help="Give up then.  [default: wait for ever]")
@click.option("--empty", is_flag=True, help="Wait until nothing is held at all, also not what came in meanwhile.")
@agent_option
@common_options
@click.pass_obj
def drain(session: Session, wait: float | None, empty: bool) -> None:
    """Wait until an agent needs its disk no more.

    That is: until all events that it holds now are confirmed by the servers.

    Before an agent's disk is given up: stop its senders, then `taba-cli drain --empty`. Confirming takes
    AGENT_CONFIRM_SECONDS (30) after the servers have taken an event. Exits with 1 where that was not reached in time.
    """
    until = None if wait is None else session.seconds() + wait
    first = held = _held(session)
    while not _drained(first, held, empty):
        session.progress(f"{held['pending']} events are not confirmed yet{_oldest(held)}")
        remaining = None if until is None else until - session.seconds()
        if remaining is not None and remaining <= 0:
            session.end_progress()
            session.fail(NOTHING_FOUND, f"{held['pending']} events are still not confirmed after {wait:g} s.")
        session.sleep(POLL_SECONDS if remaining is None else min(POLL_SECONDS, remaining))
        held = _held(session)
    session.end_progress()
    if session.as_json:
        session.put_facts({"drained": True, "pending": held["pending"]})
    elif held["pending"]:
        session.put(
            f"The {first['pending']} events that the agent held are confirmed; {held['pending']} that came in meanwhile"
            " are not yet."
        )
    else:
        session.put("The agent holds nothing: everything that it took is confirmed.")


def _held(session: Session) -> dict[str, Any]:
    try:
        return session.facts("/held", {}, agent=session.agent, has=("pending", "oldest", "now"))
    except AskFailed as failed:
        session.end_progress()
        session.fail(failed.code, str(failed))


def _drained(first: Mapping[str, Any], now: Mapping[str, Any], empty: bool) -> bool:
    """Whether what was held at first is confirmed. Times are all by the agent's own clock."""
    if now["pending"] == 0 and now["oldest"] is None:
        return True
    return not empty and now["oldest"] is not None and now["oldest"] > first["now"]


def _oldest(held: Mapping[str, Any]) -> str:
    return "" if held["oldest"] is None else f", the oldest for {age(max(0.0, held['now'] - held['oldest']))}"


# --------------------------------------------------------------------------------------------------------------- where


@click.command()
@click.argument("name", metavar="NAME", shell_complete=complete_tabs)
@click.argument("client", metavar="CLIENT", shell_complete=complete_clients)
@agent_option
@common_options
@click.pass_obj
def where(session: Session, name: str, client: str) -> None:
    """Tell how far the newest event of a client's tab is.

    At its agent, in a log of the servers, or in its State, and how old each of them is.

    CLIENT is the one that records it. Times are rounded down to what is kept: seconds of counters, 15 s of percentiles.
    """
    asked = {"name": name, "client": client}
    try:
        found = session.facts("/where", asked, has=("log", "state"))
    except AskFailed as failed:
        session.fail(failed.code, str(failed))
    agent: dict[str, Any] = {}
    try:
        agent = session.facts("/where", asked, agent=session.agent)
    except AskFailed as failed:
        session.note(str(failed))
    places = (("agent", agent.get("agent")), ("log", found["log"]), ("state", found["state"]))
    now = session.wall()
    if session.as_json:
        ages = {place: None if time is None else now - time for place, time in places}
        session.put_facts({**found, **agent, "ages": ages})
    else:
        _put_places(session, places, now, bool(agent))
        if agent.get("complete") is False:
            session.note("the agent holds too much to look through all of it: it may have a newer one.")
    if not any(time is not None for _, time in places):
        session.fail(NOTHING_FOUND, f"nothing of {name!r} of client {client!r} is known anywhere.")


def _put_places(session: Session, places: Sequence[tuple[str, float | None]], now: float, agent: bool) -> None:
    from taba.cli.admin import when

    what = {
        "agent": "held by the agent, not confirmed yet" if agent else "the agent does not answer",
        "log": "taken by the servers, waiting to be folded",
        "state": "folded: queries show it",
    }
    rows = []
    for place, time in places:
        newest, old = ("-", "-") if time is None else (when(time), age(now - time))
        rows.append([place, newest, old, what[place]])
    session.put_table(("PLACE", "NEWEST EVENT", "AGE", "WHAT THAT MEANS"), rows)
