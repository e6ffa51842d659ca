"""The command `taba-cli` itself: its options, the order and the groups of its commands in the help.

The commands stand in a module for each group; this one puts them together.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

import click

from taba import __version__
from taba.cli import (
    accounts,
    admin,
    backup,
    checking,
    completing,
    demo,
    migrating,
    queries,
    recording,
    resharding,
    states,
    watching,
)
from taba.cli.options import agent_option, common_options
from taba.cli.session import INTERRUPTED, Session

GROUPS: tuple[tuple[str, tuple[click.Command, ...]], ...] = (
    ("Ask", (
        states.agg, states.proj, states.supertabs, watching.watch, queries.names, queries.clients, queries.types,
        queries.ids, accounts.where,
    )),
    ("Record", (recording.record, demo.demo)),
    ("Look after it", (
        queries.status, accounts.ledger, accounts.drain, queries.servers, queries.latency, checking.check, admin.verify,
        admin.aside,
    )),
    ("Change it", (
        admin.delete, admin.undelete, admin.deleted, admin.upgrade, admin.gc, admin.recompute, admin.refold,
        admin.flush_all, admin.accept_loss,
    )),
    ("Keep it", (backup.backup, backup.restore, migrating.migrate, resharding.reshard)),
    ("This program", (completing.completion,)),
)  # fmt: skip
"""The commands as the help shows them."""


class GroupedHelp(click.Group):
    """A group whose help lists its commands by what they are for."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; Ctrl-C, unless the command ends by it, is an exit code of its own."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo("", err=True)
            raise click.exceptions.Exit(INTERRUPTED) from None

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of the groups."""
        return [command.name or "" for _, commands in GROUPS for command in commands]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """A section for each group."""
        longest = max(len(name) for name in self.list_commands(ctx))
        for title, commands in GROUPS:
            rows = list(_rows(commands, formatter.width - longest - 6))
            with formatter.section(title):
                formatter.write_dl([(name.ljust(longest), text) for name, text in rows])


def _rows(commands: Iterable[click.Command], width: int) -> Iterable[tuple[str, str]]:
    return ((command.name or "", command.get_short_help_str(width)) for command in commands)


@click.group(cls=GroupedHelp, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="taba-cli")
@partial(common_options, with_environment=True)
@partial(agent_option, with_environment=True)
@click.pass_context
def main(context: click.Context) -> None:
    """Ask a Taba server what its clients recorded; record, watch and look after it.

    \b
    Exit codes (check has those of monitoring plugins):
      0  done, or something was found
      1  nothing was found, or what was asked does not hold
      2  wrong usage
      3  nobody answered
      4  the server or the agent answered with an error
      5  a file, folder or store here could not be used
    """
    context.ensure_object(Session)


for _, _commands in GROUPS:
    for _command in _commands:
        main.add_command(_command)
