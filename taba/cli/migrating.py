"""`migrate`: from the embedded store to Redis, when one server is not enough any more."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from taba.cli.options import local_options, yes_option
from taba.cli.session import NOT_USABLE, Session
from taba.cli.tables import bytes_of

if TYPE_CHECKING:
    from taba.store.exporting import Counts, Export
    from taba.store.redis.migrating import Progress
    from taba.store.redis.opening import Parts


@click.command()
@click.option("--from", "source", metavar="DIR", type=click.Path(path_type=Path), default=Path("taba-data"),
              show_default=True, help="Folder of the embedded store. Its server must not run.")  # fmt: skip
@click.option("--to", "settings", metavar="FILE", required=True, type=click.Path(path_type=Path),
              help="Settings file of a server on Redis.")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Look whether it can be done, and write nothing.")
@yes_option
@local_options
@click.pass_obj
def migrate(session: Session, source: Path, settings: Path, dry_run: bool, yes: bool) -> None:
    """Move the embedded store into a new Redis cluster.

    With everything, exactly, and with nothing half done visible.

    Redis must not hold another cluster. Run again after whatever went wrong, it goes on where it was. Every value is
    read back and compared before servers can use it. The folder stays as it is, for as long as you want to keep it.

    \b
    1. stop the server on the folder; agents hold what comes meanwhile
    2. taba-cli migrate --from taba-data --to settings.json
    3. taba-server settings.json, with DATA_DIR the same folder: its spool goes on
    """
    from taba.errors import TabaError

    try:
        _migrate(session, source, settings, dry_run, yes)
    except TabaError as problem:
        session.end_progress()
        session.fail(NOT_USABLE, str(problem))


def _migrate(session: Session, source: Path, settings: Path, dry_run: bool, yes: bool) -> None:
    from taba.errors import SettingsError, StartError
    from taba.settings import ServerSettings, load
    from taba.store.exporting import open_export
    from taba.store.folder import open_folder

    database = load(ServerSettings, str(settings)).database
    if not database.redis:
        raise SettingsError(f"{settings} has no Redis in its DB_SETTINGS (REDIS_URL, or SENTINELS and SHARDS).")
    if not source.is_dir():
        raise StartError(f"There is no folder {source}: name the one of the embedded store (--from).")
    export = open_export(open_folder(str(source)))
    try:
        counts = export.counts()
        if not session.as_json:
            session.put(_sentence(source, export, counts))
        if not dry_run:
            session.agreed("Move it into the Redis of the settings? No server may run on it until this is done.", yes)
        result = _on_redis(session, export, database, dry_run)
    finally:
        export.close()
    session.end_progress()
    _put_result(session, result, counts, dry_run, settings)


def _sentence(source: Path, export: Export, counts: Counts) -> str:
    return (
        f"{source}: cluster {export.identity.cluster_id}, {export.identity.vbuckets} vbuckets, {counts.tabs} tabs,"
        f" {counts.states} States of {counts.clients} clients, {counts.lanes} lanes, {counts.events} events in"
        f" {counts.entries} batches that wait, {counts.aside} set aside."
    )


def _put_result(session: Session, result: Any, counts: Counts, dry_run: bool, settings: Path) -> None:
    from attrs import asdict

    if session.as_json:
        done = {"already_copied": result} if dry_run else {"compared": result.values, "bytes": result.bytes}
        session.put_facts({"dry_run": dry_run, "store": asdict(counts), **done})
    elif dry_run:
        before = f" An earlier run has copied {result} vbuckets; it will go on behind these." if result else ""
        session.put(f"The Redis of {settings} can take it.{before} Nothing was written.")
    else:
        session.put(
            f"Moved: {result.values} values, {bytes_of(result.bytes)}, were read back and are the same. Start the"
            f" servers with {settings}, one of them with DATA_DIR the folder of before, whose spool may hold events;"
            " never again without Redis."
        )


def _on_redis(session: Session, export: Export, database: Any, dry_run: bool) -> Any:
    """Connect, do it, disconnect: in a reactor of its own. What it answers, or raises."""
    from twisted.internet import reactor, task
    from twisted.internet.defer import Deferred

    from taba.real import monotonic, real_process
    from taba.store.redis.opening import parts_of

    outcome: list[Any] = []

    def told(progress: Progress) -> None:
        session.progress(
            f"{progress.stage.capitalize()}: vbucket {progress.done} of {progress.vbuckets},"
            f" {progress.values} values, {bytes_of(progress.bytes)}"
        )

    async def run() -> None:
        try:
            parts = parts_of(database, real_process(reactor))
            outcome.append(await migration_on(parts, database, export, dry_run, told, reactor))
        except Exception as problem:
            outcome.append(problem)

    monotonic(reactor)
    with suppress(SystemExit):  # by which `react` ends
        task.react(lambda _: Deferred.fromCoroutine(run()))
    if not outcome:
        raise KeyboardInterrupt
    if isinstance(outcome[0], Exception):
        raise outcome[0]
    return outcome[0]


async def migration_on(
    parts: Parts, database: Any, export: Export, dry_run: bool, told: Callable[[Progress], None], clock: Any
) -> Any:
    """Open the shards of `parts`, and migrate, or only look; then close them."""
    from taba.store.redis.migrating import Migration
    from taba.store.redis.opening import level_of
    from taba.store.redis.reaching import reached

    async with reached(parts, clock):
        migration = Migration(export, parts.shards, parts.ranges, parts.keys, level_of(database), told)
        return await (migration.look() if dry_run else migration.run())
