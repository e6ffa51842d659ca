"""`twistd taba-agent` and the console script `taba-agent`: options, and the assembly of an agent. One of the two
places that know the real reactor.

`makeService` opens nothing: twistd forks after it.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from attrs import evolve
from twisted.application.service import IService, Service
from twisted.internet.defer import inlineCallbacks
from twisted.python.usage import Options as BaseOptions
from twisted.python.usage import UsageError
from twisted.web.client import Agent as HTTPAgent
from twisted.web.client import HTTPConnectionPool

from taba import settings as taba_settings
from taba.agent.http import AgentResources
from taba.agent.http_endpoint import HTTPEndpoint, client_of
from taba.agent.service import Agent
from taba.agent.site import agent_site
from taba.binding import EndpointString, check_endpoints
from taba.errors import SettingsError
from taba.guarding import shared_token
from taba.handlers.registry import Registry, installed
from taba.process import Process
from taba.settings import AgentSettings, Endpoint
from taba.stopping import stop_in_turn
from taba.web.listening import Listening, listen
from taba.web.tls import VerifiedServers


class Options(BaseOptions):
    """Command line of `twistd taba-agent`."""

    synopsis = "[options]"
    longdesc = "Takes the events of applications on this host, keeps them on disk, and forwards them to Taba servers."
    optParameters = [
        ["config", "c", None, "Settings file (JSON); options on the command line override it."],
        ["spool", "d", None, "Folder of the spool [default: taba-spool]"],
        ["port", "p", None, "TCP port for applications [default: 8279]", int],
        ["interface", "i", None, "Address to listen on [default: 127.0.0.1]"],
        ["token-file", None, None, "File of the token that clients, agents and servers share."],
        ["tls-ca-file", None, None, "PEM file of the authorities to trust with https servers."],
    ]
    optFlags = [
        ["check-config", None, "Read the settings, say what is wrong with them, and exit."],
        ["insecure", None, "Listen on other addresses than loopback without a token or TLS: for everybody."],
    ]

    def __init__(self) -> None:
        super().__init__()
        self["servers"] = []
        self["listen"] = []

    def opt_server(self, value: str) -> None:
        """HOST:PORT or https://HOST:PORT of a server; may be given several times [default: 127.0.0.1:8300]"""
        host, _, port = value.rpartition(":")
        try:
            endpoint = Endpoint.from_url(value) if "://" in value else Endpoint(host.strip("[]"), int(port))
        except ValueError:
            raise UsageError(f"--server takes HOST:PORT or https://HOST:PORT, not {value!r}")
        self["servers"].append(endpoint)

    def opt_listen(self, value: str) -> None:
        """Twisted endpoint string to listen on, in place of --interface and --port; may be given several times"""
        self["listen"].append(value)

    def postOptions(self) -> None:
        """Read the settings, so that a mistake ends twistd with a sentence before it forks."""
        try:
            self["settings"] = self._settings()
        except SettingsError as problem:
            raise UsageError(str(problem))
        if self["check-config"]:
            print("The settings are in order.")
            raise SystemExit(0)

    def _settings(self) -> AgentSettings:
        settings = AgentSettings() if self["config"] is None else taba_settings.load(AgentSettings, self["config"])
        given = {
            "spool": self["spool"],
            "port": self["port"],
            "interface": self["interface"],
            "listen": tuple(self["listen"]) or None,
            "token_file": self["token-file"],
            "tls_ca_file": self["tls-ca-file"],
        }
        given = {name: value for name, value in given.items() if value is not None}
        settings = taba_settings.changed(settings, **given)
        if self["servers"]:
            settings = evolve(settings, servers=tuple(self["servers"]))
        if self["insecure"]:
            settings = evolve(settings, insecure=True)
        if not settings.servers:
            raise SettingsError("SERVER_ENDPOINTS: an agent needs one server at least.")
        settings = with_absolute_paths(settings)
        check(settings)
        return settings


def with_absolute_paths(settings: AgentSettings) -> AgentSettings:
    """Settings whose files are where they were when the command was given: twistd may change its folder."""
    return evolve(
        settings,
        spool=os.path.abspath(settings.spool),
        listen=tuple(str(EndpointString.parse(each).with_absolute_paths()) for each in settings.listen),
        token_file=settings.token_file and os.path.abspath(settings.token_file),
        tls_ca_file=settings.tls_ca_file and os.path.abspath(settings.tls_ca_file),
        tls_client_file=settings.tls_client_file and os.path.abspath(settings.tls_client_file),
    )


def check(settings: AgentSettings) -> None:
    """SettingsError for what each setting alone does not show, and for files that cannot be used."""
    shared_token(settings.token_file, lambda: 0.0)
    check_endpoints(settings.endpoints(), token=settings.token_file is not None, insecure=settings.insecure)
    VerifiedServers(settings.tls_ca_file, settings.tls_client_file)


class StandaloneAgent(Service):
    """An agent in a process of its own, in front of servers elsewhere."""

    def __init__(self, settings: AgentSettings, process: Process, registry: Registry) -> None:
        self.settings = settings
        self._process = process
        token = shared_token(settings.token_file, process.reactor.seconds, process.say)
        pool = HTTPConnectionPool(process.reactor)
        trust = VerifiedServers(settings.tls_ca_file, settings.tls_client_file)
        http = client_of(HTTPAgent(process.reactor, trust, pool=pool))
        endpoints = [
            HTTPEndpoint(each.url(), http, process.reactor, token=token.to_send) for each in settings.servers
        ]
        self.agent = Agent(settings, process, registry.kinds(), endpoints)
        self._site = agent_site(AgentResources(self.agent), process, token.guard())
        self._port: Listening | None = None

    @inlineCallbacks
    def startService(self):  # type: ignore[no-untyped-def]
        """Fires when events are taken."""
        super().startService()
        yield self.agent.startService()
        listening: Listening = yield listen(self._process.reactor, self.settings.endpoints(), self._site)
        self._port = listening
        self._process.say(
            f"Taba agent: applications on {', '.join(f'{url}/post' for url in listening.urls())}, "
            f"spool in {self.settings.spool}, servers {', '.join(each.url() for each in self.settings.servers)}. Ready."
        )

    @inlineCallbacks
    def stopService(self):  # type: ignore[no-untyped-def]
        """Fires when everything acknowledged is on disk."""
        super().stopService()
        listening = [self._port.close] if self._port is not None else []
        yield stop_in_turn(*listening, self.agent.stopService)


def make_agent(settings: AgentSettings, process: Process) -> IService:
    """The service of an agent on any machine, the simulated one included. StartError when its folder cannot be used."""
    return StandaloneAgent(settings, process, installed())


def makeService(options: Any, process: Process | None = None, reactor: Any = None) -> IService:
    """Called by twistd. Opens nothing."""
    from taba.real import running_on

    return running_on(make_agent, options["settings"], process, reactor)


def main() -> None:
    """The console script `taba-agent SETTINGS`."""
    from taba.console import run_twistd

    run_twistd("taba-agent", sys.argv[1:])
