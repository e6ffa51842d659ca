"""`completion`: what a shell needs to complete commands, options, and the names that the server has."""

from __future__ import annotations

import os
import re
from typing import ClassVar

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    FishComplete,
    ShellComplete,
    ZshComplete,
    add_completion_class,
    split_arg_string,
)

from taba.cli.session import Session

BASH = """\
%(complete_func)s() {
    local line
    COMPREPLY=()
    while IFS= read -r line; do
        case $line in
            dir,*) compopt -o dirnames ;;
            file,*) compopt -o default ;;
            plain,*) COMPREPLY+=("${line#plain,}") ;;
        esac
    done < <(env COMP_LINE="${COMP_LINE:0:COMP_POINT}" COMP_WORDBREAKS="$COMP_WORDBREAKS" \\
        %(complete_var)s=bash_complete "$1")
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""
ESCAPED = re.compile(r"[^A-Za-z0-9._~:/@+=,-]")
"""What bash would not take as it is."""


class WholeWords(BashComplete):
    """Completion for bash of the words that the user sees.

    Bash itself cuts them at COMP_WORDBREAKS, which colons are among, and replaces only what stands behind the last one.
    So the line is split here, and from each completion what bash leaves in place is taken away.
    """

    name = "bash"
    source_template: ClassVar[str] = BASH

    def get_completion_args(self) -> tuple[list[str], str]:
        """The words before the one to be completed, and that one."""
        # With one character more the last word is there even if it is empty, and it goes on within a quote.
        *before, last = split_arg_string(f"{os.environ['COMP_LINE']}x")
        return before[1:], last[:-1]

    def format_completion(self, item: CompletionItem) -> str:
        """A completion as the script reads it."""
        typed = re.split(r"\s", os.environ["COMP_LINE"])[-1]
        if "'" in typed or '"' in typed:  # bash cuts nothing within quotes, and nothing has to be escaped there
            return f"{item.type},{item.value}"
        value = str(item.value).removeprefix(_left_in_place(typed, os.environ.get("COMP_WORDBREAKS", "")))
        return f"{item.type},{ESCAPED.sub(lambda found: chr(92) + found[0], value)}"


def _left_in_place(typed: str, breaks: str) -> str:
    """The part of a word that bash does not replace, without escapes; of `--client=a:b` the part of the value."""
    if typed.startswith("--"):
        typed = typed.partition("=")[2]
    cuts = [found.end() for found in re.finditer(r"\\.|(.)", typed) if found[1] and found[1] in breaks]
    return "".join(split_arg_string(typed[: cuts[-1]])) if cuts else ""


class ListsInFish(FishComplete):
    """Completion for fish whose values may have commas."""

    source_template: ClassVar[str] = FishComplete.source_template.replace(
        'string split ","', 'string split --max 1 ","'
    )


add_completion_class(WholeWords)
SHELLS: dict[str, type[ShellComplete]] = {"bash": WholeWords, "zsh": ZshComplete, "fish": ListsInFish}


@click.command()
@click.argument("shell", type=click.Choice(list(SHELLS)))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print what lets a shell complete commands and names.

    \b
      bash  source <(taba-cli completion bash)                 in ~/.bashrc for good
      zsh   source <(taba-cli completion zsh)                  in ~/.zshrc for good
      fish  taba-cli completion fish > ~/.config/fish/completions/taba-cli.fish
    """
    session: Session = context.ensure_object(Session)
    made = SHELLS[shell]
    root = context.find_root()
    # Made without the class's own look at the installed shell, which may be another than the one that asks.
    source = made(root.command, {}, "taba-cli", "_TABA_CLI_COMPLETE")
    session.put(source.source_template % source.source_vars())
