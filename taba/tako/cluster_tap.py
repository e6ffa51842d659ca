"""`tako-cluster` and `twistd tako-cluster`: the command line of a whole cluster on this host."""

from __future__ import annotations

import os
import sys
from typing import Any

from twisted.application.service import IService
from twisted.python.usage import UsageError

from taba.errors import SettingsError
from taba.tako.cluster import ClusterSettings, make_cluster, skip_check
from taba.tako.command_line import MemberOptions, port_of, run_twistd, service_of
from taba.tako.reading import read_text
from taba.tako.settings import DEFAULT_VAR


class Options(MemberOptions):
    """Command line of a cluster."""

    synopsis = "local_cluster.yaml -p 8080 [-p PORT]... [-s NODE...] [-v VARDIR] [-l LOG] [-u SECONDS]"
    longdesc = "Runs a whole cluster on this host, for trying and for tests. Remove its folder to start over."
    optParameters = [["cache", None, 32, "MiB of memory of each node for records.", int]]
    needs_id = False

    def __init__(self) -> None:
        super().__init__()
        self["ports"], self["skipped"] = [], []

    def opt_port(self, value: str) -> None:
        """Port of the proxy; may be given several times"""
        try:
            self["ports"].append(port_of(value))
        except ValueError as problem:
            raise UsageError(str(problem))

    opt_p = opt_port

    def opt_skip(self, value: str) -> None:
        """Leave these nodes or coordinators out (-s NODE...)"""
        self["skipped"].append(value)

    def parseArgs(self, path: str | None = None) -> None:
        """The configuration."""
        self["cfg"] = path or self["cfg"]

    def settings(self) -> ClusterSettings:
        """See `MemberOptions`."""
        text = self.read_now()
        if text is None:
            raise SettingsError("Which configuration? For example: tako-cluster docs/tako/local_cluster.yaml -p 8080")
        configuration = read_text(text, self["cfg"])
        problem = skip_check(configuration, self["skipped"])
        if problem is not None:
            raise SettingsError(problem)
        passed_on: list[str] = []
        for name in ("token-file", "tls-key", "tls-ca"):
            if self[name] is not None:
                passed_on += [f"--{name}", os.path.abspath(self[name])]
        if self["insecure"]:
            passed_on.append("--insecure")
        return ClusterSettings(
            os.path.abspath(self["cfg"]),
            configuration,
            os.path.abspath(self["var"] or DEFAULT_VAR),
            tuple(self["ports"]),
            frozenset(self["skipped"]),
            self["update"],
            tuple(passed_on),
            self["cache"],
        )


def makeService(options: Any, process: Any = None, reactor: Any = None) -> IService:
    """Called by twistd. Opens nothing."""
    return service_of(make_cluster, options, process, reactor)


def main() -> None:
    """The console script."""
    run_twistd("tako-cluster", sys.argv[1:])
