"""`taba-cli`: ask a Taba server from a shell. docs/guide has its manual; the commands are in `taba.cli.commands`."""

from __future__ import annotations

from taba.cli.commands import main

__all__ = ["main"]
