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
ZSH = """\
#compdef %(prog_name)s

%(complete_func)s() {
    local line
    local -a found told
    for line in "${(@f)$(env COMP_LINE="${(j: :)words[1,CURRENT]}" %(complete_var)s=zsh_complete $words[1])}"; do
        case $line in
            plain,*) found+=("${line#plain,}") ;;
            told,*) told+=("${line#told,}") ;;
        esac
    done
    # Of --option=VALUE the value alone is completed.
    compset -P 1 '--*='
    case $line in
        dir,*) _path_files -/ ;;
        file,*) _path_files ;;
    esac
    (( $#told )) && _describe -V value told
    (( $#found )) && compadd -V values -a found
}

if (( $+compstate )); then
    %(complete_func)s  # a file in $fpath, of which this completion makes a function
else
    compdef %(complete_func)s %(prog_name)s
fi
"""
FISH = """\
function %(complete_func)s
    set --local word (commandline --current-token --cut-at-cursor)
    # Of --option=VALUE the value is completed, and the option put before it again.
    set --local option (string match --regex -- '^--[^=]*=' "$word"; or echo)
    for line in (env COMP_LINE=(commandline --current-process --cut-at-cursor | string collect) \\
            %(complete_var)s=fish_complete %(prog_name)s)
        set --local parts (string split --max 1 , -- $line)
        switch $parts[1]
            case dir
                printf '%%s\\n' $option(__fish_complete_directories $parts[2])
            case file
                printf '%%s\\n' $option(__fish_complete_path $parts[2])
            case '*'
                printf '%%s\\n' $option$parts[2]
        end
    end
end

complete --no-files --command %(prog_name)s --arguments '(%(complete_func)s)'
"""
ESCAPED = re.compile(r"[^A-Za-z0-9._~:/@+=,-]")
"""What bash would not take as it is."""


class WholeWords(ShellComplete):
    """Completion of the words that the user sees: the line up to the cursor (COMP_LINE) is split here, for any."""

    def get_completion_args(self) -> tuple[list[str], str]:
        """The words before the one to be completed, and that one."""
        # With one character more the last word is there even if it is empty, and it goes on within a quote.
        *before, last = split_arg_string(f"{os.environ['COMP_LINE']}x")
        return before[1:], last[:-1]


class BashWords(WholeWords, BashComplete):
    """Completion for bash, which cuts words at COMP_WORDBREAKS, which colons are among, and replaces only what stands
    behind the last one: from each completion what bash leaves in place is taken away.
    """

    name = "bash"
    source_template: ClassVar[str] = BASH

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


class ZshValues(WholeWords, ZshComplete):
    """Completion for zsh, which takes values apart from their option, and words with a help from those without."""

    name = "zsh"
    source_template: ClassVar[str] = ZSH

    def format_completion(self, item: CompletionItem) -> str:
        """A completion as the script reads it: colons that are no border to the help are escaped."""
        if item.type == "plain" and item.help:
            return f"told,{str(item.value).replace(':', chr(92) + ':')}:{_on_one_line(item.help)}"
        return f"{item.type},{item.value}"


class FishValues(WholeWords, FishComplete):
    """Completion for fish, which takes whole words, with their option, and escapes them itself."""

    name = "fish"
    source_template: ClassVar[str] = FISH

    def format_completion(self, item: CompletionItem) -> str:
        """A completion as the script reads it."""
        return f"{item.type},{item.value}" + (f"\t{_on_one_line(item.help)}" if item.help else "")


def _on_one_line(text: str) -> str:
    return " ".join(text.split())


SHELLS: dict[str, type[ShellComplete]] = {"bash": BashWords, "zsh": ZshValues, "fish": FishValues}
for _made in SHELLS.values():
    add_completion_class(_made)


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
