"""`tako-node` and `twistd tako-node`: the command line of a node."""

from __future__ import annotations

import os
import sys
from typing import Any

from twisted.application.service import IService

from taba.tako.command_line import ListenOptions, MemberOptions, run_twistd, service_of
from taba.tako.member import TLSMaker, own_address
from taba.tako.node import make_node
from taba.tako.placement import Placement
from taba.tako.reading import read_text
from taba.tako.settings import NodeSettings


class Options(ListenOptions, MemberOptions):
    """Command line of a node."""

    synopsis = "-id n1 [-c HOST PORT]... [-cfg FILE] [-f DBFILE] [-v VARDIR] [-l LOG] [-u SECONDS]"
    longdesc = "Keeps the records of its buckets, answers other nodes and proxies, and serves HTTP."
    optParameters = [
        ["database", "f", None, "File of the database [default: tako.db in the folder of -v]"],
        ["cache", None, 32, "MiB of memory for the records that were read or written last.", int],
    ]

    def settings(self) -> NodeSettings:
        """See `MemberOptions`."""
        text = self.read_now()
        if text is not None:
            own_address(Placement(read_text(text, self["cfg"])), self["id"])
        elif not self["coordinators"]:
            raise_missing()
        TLSMaker(self.security())
        folder, name = os.path.split(os.path.abspath(self["database"])) if self["database"] else (None, "tako.db")
        return NodeSettings(
            self["id"],
            self.folder(),
            tuple(self["coordinators"]),
            self.read_file(),
            self["update"],
            self["max-ahead"],
            self.security(),
            self.listened(self.security()),
            database=name,
            database_folder=folder,
            cache_bytes=max(0, self["cache"]) * 1024 * 1024,
        )


def raise_missing() -> None:
    """SettingsError: there is nowhere to get a configuration from."""
    from taba.errors import SettingsError

    raise SettingsError("Where is the configuration? Name a file (-cfg FILE) or a coordinator (-c HOST PORT).")


def makeService(options: Any, process: Any = None, reactor: Any = None) -> IService:
    """Called by twistd. Opens nothing."""
    return service_of(make_node, options, process, reactor)


def main() -> None:
    """The console script."""
    run_twistd("tako-node", sys.argv[1:])
