"""`completion`: what a shell needs to complete commands, options, and the names that the server has."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from taba.cli.session import Session

SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print what lets a shell complete commands and names.

    \b
      bash  source <(taba-cli completion bash)                 in ~/.bashrc for good
      zsh   source <(taba-cli completion zsh)                  in ~/.zshrc for good
      fish  taba-cli completion fish > ~/.config/fish/completions/taba-cli.fish
    """
    session: Session = context.ensure_object(Session)
    made = get_completion_class(shell)
    assert made is not None, "click knows these shells"
    root = context.find_root()
    # Made without the class's own look at the installed shell, which may be another than the one that asks.
    source = made(root.command, {}, "taba-cli", "_TABA_CLI_COMPLETE")
    session.put(source.source_template % source.source_vars())
