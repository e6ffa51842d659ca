"""`reshard`: moves vbuckets between the shards of a running cluster, and onto new ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from taba.cli.options import local_options, yes_option
from taba.cli.session import NOT_USABLE, NOTHING_FOUND, Session
from taba.cli.tables import bytes_of

if TYPE_CHECKING:
    from taba.settings import DatabaseSettings
    from taba.store.redis.resharding import Figures, Move, Progress

BAR = 24
"""Columns of the progress bar."""


@click.command()
@click.option("--to", "settings", metavar="FILE", required=True, type=click.Path(path_type=Path),
              help="Settings file of a server, whose SHARDS say where the vbuckets are to be.")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Say what would be moved, and write nothing.")
@click.option("--abort", is_flag=True, help="Undo the moves that are under way; what has arrived stays there.")
@click.option("--confirm-seconds", type=click.FloatRange(min=0.1), default=30.0, show_default=True,
              help="How long until no failover can take anything back: the agents' AGENT_CONFIRM_SECONDS.")  # fmt: skip
@yes_option
@local_options
@click.pass_obj
def reshard(
    session: Session, settings: Path, dry_run: bool, abort: bool, confirm_seconds: float, yes: bool
) -> None:
    """Move vbuckets between shards, and onto new ones.

    While everything goes on; every event counts once, whatever fails meanwhile. Each vbucket takes nothing for some
    milliseconds, and its results stand still while it is copied.

    Run again after whatever went wrong, it goes on where it was. What SHARDS leaves where it is stays.

    \b
    1. start the servers, one after the other, with the new SHARDS: they go on with the vbuckets where they are
    2. taba-cli reshard --to settings.json --dry-run
    3. taba-cli reshard --to settings.json
    """
    from taba.errors import TabaError

    if dry_run and abort:
        raise click.UsageError("--dry-run and --abort exclude each other.")
    try:
        _reshard(session, settings, dry_run, abort, confirm_seconds, yes)
    except TabaError as problem:
        session.end_progress()
        session.fail(NOT_USABLE, str(problem))


def _reshard(
    session: Session, path: Path, dry_run: bool, abort: bool, confirm_seconds: float, yes: bool
) -> None:
    from taba.errors import SettingsError
    from taba.settings import ServerSettings, load
    from taba.store.redis.mover import Task

    database = load(ServerSettings, str(path)).database
    if not database.shards:
        raise SettingsError(f"{path} has no SHARDS in its DB_SETTINGS: there is nothing between which to move.")
    def agreed(moves: Sequence[Move]) -> bool:
        return _agreed(session, moves, dry_run, abort, yes)

    figures = with_shards(session, database, Task.ABORT if abort else Task.RUN, agreed, confirm_seconds)
    session.end_progress()
    if figures is None:
        return
    _put_result(session, figures)
    if figures.left:
        vbuckets = ", ".join(map(str, sorted(figures.left)[:10]))
        session.fail(NOTHING_FOUND, f"left as they are, since somebody else moves them, or undoes it: {vbuckets}")


def _agreed(session: Session, moves: Sequence[Move], dry_run: bool, abort: bool, yes: bool) -> bool:
    """Show what there is to do; whether it is to be done."""
    if not session.as_json:
        for line in plan_lines(moves):
            session.put(line)
    if dry_run or not (abort or moves):
        if session.as_json:
            session.put_facts({"dry_run": dry_run, "moves": plan_facts(moves)})
        return False
    session.agreed("Undo what is under way?" if abort else "Move them?", yes)
    return True


def plan_lines(moves: Sequence[Move]) -> list[str]:
    """What is to be moved, for people."""
    if not moves:
        return ["All vbuckets are where SHARDS has them."]
    ways = Counter((move.source, move.target) for move in moves)
    lines = [f"{source} -> {target}: {count} vbuckets" for (source, target), count in sorted(ways.items())]
    undoing = sum(move.undoing for move in moves)
    return [*lines, f"{undoing} of them are being undone first."] if undoing else lines


def plan_facts(moves: Sequence[Move]) -> list[dict[str, Any]]:
    """What is to be moved, for programs."""
    return [
        {"vbucket": move.vbucket, "from": move.source, "to": move.target, "undoing": move.undoing} for move in moves
    ]


def _put_result(session: Session, figures: Figures) -> None:
    sealed, longest = figures.windows()
    paused = max(figures.paused_seconds, default=0.0)
    if session.as_json:
        session.put_facts({
            "moved": figures.moved, "undone": figures.undone, "left": figures.left, "bytes": figures.bytes,
            "sealed_seconds": {"median": round(sealed, 6), "longest": round(longest, 6)},
            "longest_pause_seconds": round(paused, 3),
        })  # fmt: skip
        return
    done = f"Moved: {figures.moved} vbuckets, {bytes_of(figures.bytes)}."
    if figures.undone:
        done += f" Undone: {figures.undone}."
    if figures.sealed_seconds:
        done += (
            f" Each took nothing for {1000 * sealed:.1f} ms (median; the longest {1000 * longest:.1f} ms), and was not"
            f" folded for {paused:.1f} s at most."
        )
    session.put(done)


def progress_line(progress: Progress) -> str:
    """How far it is, in one line."""
    filled = BAR * progress.copied // max(1, progress.moves)
    text = f"[{'#' * filled}{'.' * (BAR - filled)}] {progress.copied} of {progress.moves} vbuckets there,"
    text += f" {progress.done} done"
    if progress.problem:
        return f"{text}; {progress.problem}"
    return f"{text}; {progress.waiting:.0f} s until this is confirmed" if progress.waiting > 0 else text


class Telling:
    """Shows how far a mover is, and says what keeps it from going on, each thing once."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._said = ""

    def __call__(self, progress: Progress) -> None:
        """Hear of it."""
        if progress.problem and progress.problem != self._said:
            self._session.end_progress()
            self._session.note(f"{progress.problem}; it is tried again")
        self._said = progress.problem or self._said
        self._session.progress(progress_line(progress))


def with_shards(
    session: Session,
    database: DatabaseSettings,
    task: Any,
    agreed: Callable[[Sequence[Move]], bool],
    confirm_seconds: float,
) -> Figures | None:
    """Find out what there is to do, and, when that is agreed to, do it: in a reactor of its own. What was done, None
    when nothing was; raises what goes wrong.
    """
    from twisted.internet import reactor
    from twisted.internet import task as tasks
    from twisted.internet.defer import Deferred

    from taba.real import monotonic, real_process
    from taba.store.redis.mover import Task, move_vbuckets

    outcome: list[Any] = []

    async def run() -> None:
        process = real_process(reactor)
        try:
            moves, _ = await move_vbuckets(database, process, Task.PLAN, confirm_seconds=confirm_seconds)
            figures = None
            if agreed(moves):
                _, figures = await move_vbuckets(database, process, task, Telling(session), confirm_seconds)
            outcome.append(figures)
        except Exception as problem:
            outcome.append(problem)

    monotonic(reactor)
    with suppress(SystemExit):  # by which `react` ends
        tasks.react(lambda _: Deferred.fromCoroutine(run()))
    if not outcome:
        raise KeyboardInterrupt
    if isinstance(outcome[0], Exception):
        raise outcome[0]
    figures: Figures | None = outcome[0]
    return figures
