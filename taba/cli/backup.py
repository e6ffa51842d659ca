"""Keeping the embedded store: `backup` of a server that runs, and `restore` into one that does not.

A backup has the store: States, logs, lanes' numbers, ledger, ids. It does not have the spool of the agent in the server
(`spool/`): what an agent holds is on its way, and it sends that itself.

What reads stores is imported when it is used, so that other commands do not wait for it.
"""

from __future__ import annotations

from pathlib import Path

import click

from taba.cli.options import local_options, yes_option
from taba.cli.session import NOT_USABLE, Session
from taba.cli.tables import bytes_of

data_dir_option = click.option(
    "--data-dir", "-d", metavar="DIR", type=click.Path(path_type=Path), default=Path("taba-data"), show_default=True,
    help="Folder of the embedded store.",
)  # fmt: skip
_file = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.argument("file", metavar="FILE", type=_file)
@data_dir_option
@click.option("--force", is_flag=True, help="Replace FILE where it is there already.")
@local_options
@click.pass_obj
def backup(session: Session, file: Path, data_dir: Path, force: bool) -> None:
    """Copy the embedded store to a file, also while it is used.

    Of one moment, and without stopping anything; checked before it gets its name. Run it on the server's host, as the
    user that the server runs as.
    """
    from taba.cli.copying import CopyError, back_up

    if file.exists() and not force:
        session.fail(NOT_USABLE, f"{file} is there already. Name another file, or say --force.")
    try:
        facts = back_up(data_dir, file, lambda done, pages: session.progress(_so_far("Copying", done, pages)))
    except CopyError as problem:
        session.end_progress()
        session.fail(NOT_USABLE, _first_small(str(problem)))
    session.end_progress()
    if session.as_json:
        session.put_facts({
            "file": str(file), "cluster": facts.cluster, "vbuckets": facts.vbuckets, "tabs": facts.tabs,
            "states": facts.states, "events_in_logs": facts.events, "bytes": facts.bytes,
        })  # fmt: skip
        return
    session.put(
        f"{file}: {bytes_of(facts.bytes)}, cluster {facts.cluster}, {facts.tabs} tabs, {facts.states} States,"
        f" {facts.events} events that were not folded yet. Checked: it is whole."
    )


@click.command()
@click.argument("file", metavar="FILE", type=_file)
@data_dir_option
@yes_option
@local_options
@click.pass_obj
def restore(session: Session, file: Path, data_dir: Path, yes: bool) -> None:
    """Let the embedded store be as it was at the time of a backup. The server must not run.

    What came after the backup is gone from the store. Its next start begins another lineage, by which agents notice:
    what they still hold (not confirmed, or later) they send again, each event once; of what they do not hold any more
    the numbers are missing, and it is counted as `lost` in the ledger. The store that was there is kept beside it.
    """
    from taba.cli.copying import CopyError, check, facts_of, lock, put_back
    from taba.errors import StartError
    from taba.store.folder import open_folder

    try:
        facts = facts_of(file, is_backup=True)
        session.progress(f"Checking {file}")
        check(file)
        session.end_progress()
        folder = open_folder(str(data_dir))
        lock(folder)
    except (CopyError, StartError) as problem:
        session.end_progress()
        session.fail(NOT_USABLE, _first_small(str(problem)))
    try:
        session.agreed(_question(file, facts.cluster, Path(folder.path)), yes)
        kept = put_back(file, folder, lambda done, pages: session.progress(_so_far("Copying", done, pages)))
    except CopyError as problem:
        session.end_progress()
        session.fail(NOT_USABLE, _first_small(str(problem)))
    finally:
        folder.unlock()
    session.end_progress()
    if session.as_json:
        session.put_facts(
            {"data_dir": str(data_dir), "cluster": facts.cluster, "states": facts.states, "kept": kept and str(kept)}
        )
        return
    session.put(f"{data_dir} has the store of {file}: {facts.tabs} tabs, {facts.states} States. Start the server.")
    if kept is not None:
        session.put(f"The store that was there is {kept}; remove it when you do not need it any more.")


def _question(file: Path, cluster: str, place: Path) -> str:
    """What to ask before a store is replaced."""
    from taba.cli.copying import CopyError, facts_of
    from taba.store.transactions import DATABASE

    present = place / DATABASE
    if not present.exists():
        return f"There is no store in {place}. Put that of {file} there?"
    try:
        there = facts_of(present)
    except CopyError as problem:
        return f"The store in {place} cannot be read ({_first_small(str(problem)).rstrip('.')}). Replace it by {file}?"
    other = "" if there.cluster == cluster else (
        f" ANOTHER CLUSTER ({there.cluster}, the backup is of {cluster}): agents of the former will send nothing here."
    )
    return (
        f"The store in {place} has {there.tabs} tabs and {there.states} States.{other} Replace it by that of {file}?"
        " What came after the backup is lost, unless agents still hold it."
    )


def _so_far(what: str, done: int, pages: int) -> str:
    return f"{what}: {100 * done // max(1, pages)} % of {bytes_of(pages << 12)}"


def _first_small(text: str) -> str:
    """A sentence as it stands behind the name of the program."""
    return text if text[:2].isupper() or text.startswith("/") else text[:1].lower() + text[1:]
