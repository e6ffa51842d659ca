"""Commands that change something at an operator's word, and what shows the result: `delete`, `undelete`, `deleted`,
`upgrade`, `gc`, `recompute`, `refold`, `aside`, `verify`, `flush-all`, `accept-loss`.

All go by POST, and a server without a token takes them from its own host only. What cannot be undone asks back.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import click

from taba.cli.names import names_argument, parameters, re_option, split
from taba.cli.options import common_options, yes_option
from taba.cli.session import NOTHING_FOUND, AskFailed, Session
from taba.cli.tables import bytes_of

VERIFY_SECONDS = 600.0
"""How long an answer of the integrity check may take: it looks at everything that is stored."""

REMEDIES = {
    "damaged State": "A damaged State cannot be repaired: the client's numbers are missing in that tab, and its next"
    " events cannot be folded and are set aside (`taba-cli aside`). Restore a backup, or delete the tab and let it"
    " begin anew (`taba-cli delete NAME`).",
    "there is no Handler": "A tab of an unknown Type stays as it is: name its Handler in ADDITIONAL_HANDLERS of all"
    " servers, or delete the tab.",
    "too busy": "Of a tab that is too busy nothing is known: ask again when less is recorded in it.",
}
"""How the problems begin that `verify --repair` leaves -> what can be done instead."""


def _facts(session: Session, path: str, asked: dict[str, str], method: str = "GET", *has: str) -> dict[str, Any]:
    """An answer in JSON, with some members; exits where there is none."""
    try:
        return session.facts(path, asked, method, has=has)
    except AskFailed as failed:
        session.fail(failed.code, str(failed))


def _listing(session: Session, path: str, asked: dict[str, str]) -> list[Any]:
    """An answer in JSON, an array; exits where there is none."""
    try:
        return session.listing(path, asked)
    except AskFailed as failed:
        session.fail(failed.code, str(failed))


def _post(session: Session, path: str, asked: dict[str, str] | None = None) -> None:
    """Ask for something to be done, and show the answer."""
    session.put_answer(session.ask(path, asked or {}, "POST"))


def when(seconds: float) -> str:
    """A wall time for people, in the time zone of this machine."""
    return datetime.fromtimestamp(seconds).astimezone().isoformat(" ", "seconds")


@click.command()
@names_argument()
@re_option
@yes_option
@common_options
@click.pass_obj
def delete(session: Session, names: tuple[str, ...], as_re: bool, yes: bool) -> None:
    """Delete tabs. For UNDO_HOURS of the server (24) `undelete` brings them back.

    What is recorded afterwards begins a new tab of that name, of any Type.
    """
    asked = parameters("name", split(names, as_re), as_re)
    if not yes:
        _ask_what_goes(session, asked)
    facts = _facts(session, "/delete", asked, "POST", "deleted", "undo_until")
    if session.as_json:
        session.put_facts(facts)
    elif facts["deleted"]:
        until = when(facts["undo_until"])
        session.put("\n".join(f"{name}: deleted, can be undone until {until}" for name in facts["deleted"]))
    if not facts["deleted"]:
        session.fail(NOTHING_FOUND, "there is no such tab: nothing was deleted.")


def _ask_what_goes(session: Session, asked: dict[str, str]) -> None:
    """Ask back with the tabs that would go; exits where there are none."""
    going = _listing(session, "/names", asked)
    if not going:
        session.fail(NOTHING_FOUND, "there is no such tab: nothing was deleted.")
    shown = ", ".join(going[:10]) + (f" and {len(going) - 10} more" if len(going) > 10 else "")
    session.agreed(f"Delete {len(going)} tab{'s' if len(going) > 1 else ''} ({shown})?", False)


@click.command()
@names_argument()
@common_options
@click.pass_obj
def undelete(session: Session, names: tuple[str, ...]) -> None:
    """Bring deleted tabs back. What was recorded meanwhile is kept, too, where the Type is the same."""
    asked = parameters("name", split(names, False), False)
    facts = _facts(session, "/undelete", asked, "POST", "undeleted")
    if session.as_json:
        session.put_facts(facts)
    elif facts["undeleted"]:
        session.put("\n".join(f"{name}: is being brought back" for name in facts["undeleted"]))
    if not session.as_json:
        for name, reason in facts.get("refused", {}).items():
            session.note(f"{name}: not brought back: {reason}")
    if not facts["undeleted"]:
        session.fail(NOTHING_FOUND, "nothing was brought back: see `taba-cli deleted`.")


@click.command()
@common_options
@click.pass_obj
def deleted(session: Session) -> None:
    """List the deleted tabs that `undelete` can bring back."""
    if session.as_json or not session.on_terminal:
        text = session.ask("/deleted", {})
        session.put_answer(text)
        found = bool(text.strip()) and text.strip() != "{}"
    else:
        facts = _facts(session, "/deleted", {})
        rows = [[name, when(time)] for name, times in sorted(facts.items()) for time in times]
        found = bool(rows)
        if found:
            session.put_table(("TAB", "DELETED"), rows)
    if not found:
        session.fail(NOTHING_FOUND, "no deleted tab can be brought back.")


@click.command()
@names_argument(required=False)
@re_option
@common_options
@click.pass_obj
def upgrade(session: Session, names: tuple[str, ...], as_re: bool) -> None:
    """Rewrite States that an older version wrote. They work without it, too."""
    _post(session, "/upgrade", parameters("name", split(names, as_re), as_re))


@click.command()
@common_options
@click.pass_obj
def gc(session: Session) -> None:
    """Drop now what cannot be seen any more.

    The servers do it every GC_SECONDS (an hour) by themselves.
    """
    _post(session, "/gc")


@click.command()
@common_options
@click.pass_obj
def recompute(session: Session) -> None:
    """Assign the vbuckets to the servers anew."""
    _post(session, "/recompute")


@click.command()
@names_argument(required=False)
@re_option
@click.option("--repair", is_flag=True, help="Repair what is wrong. Without it only told.")
@common_options
@click.pass_obj
def verify(session: Session, names: tuple[str, ...], as_re: bool, repair: bool) -> None:
    """Check the integrity of what is stored.

    Types, States and Aggregates. (`check` compares a value with limits.)

    Exits with 1 where something is wrong and was not repaired.
    """
    session.be_patient(VERIFY_SECONDS)
    asked = parameters("name", split(names, as_re), as_re)
    dry = "false" if repair else "true"
    facts = _facts(session, "/check", {**asked, "dry": dry}, "POST", "checked", "findings")
    findings = facts["findings"]
    if session.as_json:
        session.put_facts(facts)
    else:
        if findings:
            rows = [
                [each["tab"], each.get("client") or "", each["problem"], "yes" if each["repaired"] else "no"]
                for each in findings
            ]
            session.put_table(("TAB", "CLIENT", "PROBLEM", "REPAIRED"), rows)
        wrong = f"{len(findings)} of them with a problem" if findings else "all in order"
        session.put(f"{facts['checked']} checked, {wrong}.")
    if any(not each["repaired"] for each in findings):
        session.fail(NOTHING_FOUND, f"something is wrong with what is stored. {_what_to_do(findings, repair)}")


def _what_to_do(findings: list[dict[str, Any]], repair: bool) -> str:
    """What helps against findings, as far as they are not repaired."""
    left = [each["problem"] for each in findings if not each["repaired"]]
    kinds = {next((kind for kind in REMEDIES if problem.startswith(kind)), "") for problem in left}
    told = [] if repair or "" not in kinds else ["Mend it with `taba-cli verify --repair`."]
    return " ".join([*told, *(REMEDIES[kind] for kind in REMEDIES if kind in kinds)])


@click.command()
@click.option("--reason", metavar="REASON", help="Only what was set aside for this reason.")
@click.option("--type", "type_name", metavar="TYPE", help="Only what is of this Type.")
@click.option("--tab", metavar="NAME", help="Only what is of this tab.")
@common_options
@click.pass_obj
def refold(session: Session, reason: str | None, type_name: str | None, tab: str | None) -> None:
    """Fold again what was set aside.

    After its cause was mended, such as a Handler that was missing. What cannot be folded still is set aside again.
    `aside` lists what there is.
    """
    given = {"reason": reason, "type": type_name, "tab": tab}
    asked = {name: value for name, value in given.items() if value is not None}
    facts = _facts(session, "/refold", asked, "POST", "asked")
    if session.as_json:
        session.put_facts(facts)
    elif facts["asked"]:
        session.put(f"{facts['asked']} set aside: they are being folded again. See `taba-cli aside` and `ledger`.")
    if not facts["asked"]:
        session.fail(NOTHING_FOUND, "nothing of that is set aside.")


@click.command()
@common_options
@click.pass_obj
def aside(session: Session) -> None:
    """List what could not be folded.

    It is kept, bounded, to be folded again (`refold`).
    """
    found = _listing(session, "/aside", {})
    if session.as_json:
        session.put_facts(found)
    elif found:
        head = ("ID", "VBUCKET", "REASON", "TAB", "CLIENT", "TYPE", "EVENTS", "SIZE")
        fields = ("id", "vbucket", "reason", "tab", "client", "type", "events")
        rows = [[*(str(each.get(name, "")) for name in fields), bytes_of(each.get("bytes", 0))] for each in found]
        session.put_table(head, rows, right=(1, 6, 7))
    if not found:
        session.fail(NOTHING_FOUND, "nothing is set aside.")


@click.command("flush-all")
@yes_option
@common_options
@click.pass_obj
def flush_all(session: Session, yes: bool) -> None:
    """Drop all events that wait to be folded.

    They stand in the ledger as `flushed`."""
    session.agreed("What waits in the logs of all servers is lost for good if you go on. Go on?", yes)
    facts = _facts(session, "/flush_all", {}, "POST", "flushed")
    if session.as_json:
        session.put_facts(facts)
    else:
        session.put(f"{facts['flushed']} events were dropped.")


@click.command("accept-loss")
@click.argument("shard", metavar="SHARD")
@yes_option
@common_options
@click.pass_obj
def accept_loss(session: Session, shard: str, yes: bool) -> None:
    """Use a shard again that has lost its data, without that data.

    Only for a shard that /status says has lost data which cannot be brought back: its part of all tabs begins at zero.
    What agents still hold is sent again; the rest stands in the ledger as lost.
    """
    asked = f"What shard {shard} had is given up for good if you go on. Is there no copy to bring back?"
    session.agreed(f"{asked} Go on?", yes)
    _post(session, "/accept_loss", {"shard": shard})
