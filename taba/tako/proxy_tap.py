"""`tako-proxy` and `twistd tako-proxy`: the command line of a proxy."""

from __future__ import annotations

import sys
from typing import Any

from twisted.application.service import IService
from twisted.python.usage import UsageError

from taba.binding import check_endpoints, tcp_endpoint
from taba.tako.command_line import ListenOptions, MemberOptions, port_of, run_twistd, service_of
from taba.tako.member import TLSMaker
from taba.tako.node_tap import raise_missing
from taba.tako.proxy import make_proxy
from taba.tako.reading import read_text
from taba.tako.settings import ProxySettings


class Options(ListenOptions, MemberOptions):
    """Command line of a proxy."""

    synopsis = "-id p1 -p 8080 [-c HOST PORT]... [-cfg FILE] [-v VARDIR] [-l LOG] [-u SECONDS]"
    longdesc = "Serves HTTP for clients of a Tako cluster."
    optParameters = [["interface", "i", "127.0.0.1", "Address to listen on."]]

    def __init__(self) -> None:
        super().__init__()
        self["ports"] = []

    def opt_port(self, value: str) -> None:
        """Port for HTTP; may be given several times"""
        try:
            self["ports"].append(port_of(value))
        except ValueError as problem:
            raise UsageError(str(problem))

    opt_p = opt_port

    def settings(self) -> ProxySettings:
        """See `MemberOptions`."""
        text = self.read_now()
        if text is not None:
            read_text(text, self["cfg"])
        elif not self["coordinators"]:
            raise_missing()
        security = self.security()
        listen = self.listened(security)
        if not self["ports"] and not listen:
            raise UsageError("-p is missing: on which port?")
        TLSMaker(security)
        check_endpoints(
            [tcp_endpoint(self["interface"], port) for port in self["ports"]],
            token=security.token_file is not None,
            insecure=security.insecure,
        )
        return ProxySettings(
            self["id"],
            self.folder(),
            tuple(self["coordinators"]),
            self.read_file(),
            self["update"],
            self["max-ahead"],
            security,
            listen,
            ports=tuple(self["ports"]),
            interface=self["interface"],
        )


def makeService(options: Any, process: Any = None, reactor: Any = None) -> IService:
    """Called by twistd. Opens nothing."""
    return service_of(make_proxy, options, process, reactor)


def main() -> None:
    """The console script."""
    run_twistd("tako-proxy", sys.argv[1:])
