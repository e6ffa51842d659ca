"""`twistd taba-agent` and the console script `taba-agent`: options, and the assembly of an agent. One of the two
places that know the real reactor.

`makeService` opens nothing: twistd forks after it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from attrs import evolve
from twisted.application.service import IService, Service
from twisted.internet.defer import inlineCallbacks

from taba.agent.connecting import Connection
from taba.agent.double import DoubleAgent
from taba.agent.http import AgentResources
from taba.agent.naming import NamedServers, look_up_by
from taba.agent.service import Agent
from taba.agent.site import agent_site
from taba.agent.statsd.endpoints import check_statsd, with_absolute_path
from taba.agent.statsd.service import StatsdPorts
from taba.binding import EndpointString, check_endpoints
from taba.errors import SettingsError
from taba.guarding import shared_token
from taba.handlers.registry import Registry, check_installed, installed
from taba.options import SettingsOptions, given, located
from taba.process import Process
from taba.reloading import Reloading
from taba.settings import AgentSettings, DoubleAgentSettings, Endpoint, Gathered, gather
from taba.stopping import stop_in_turn
from taba.web.listening import Listening, listen
from taba.web.tls import VerifiedServers


class Options(SettingsOptions):
    """Command line of `twistd taba-agent`."""

    program = "taba-agent"
    synopsis = "[options]"
    longdesc = "Takes the events of applications on this host, keeps them on disk, and forwards them to Taba servers."
    optParameters: ClassVar[list[list[Any]]] = [
        ["spool", "d", None, "Folder of the spool [default: taba-spool]"],
        ["port", "p", None, "TCP port for applications [default: 8279]", int],
        ["interface", "i", None, "Address to listen on [default: 127.0.0.1]"],
        ["tls-ca-file", None, None, "PEM file of the authorities to trust with https servers."],
    ]

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        super().__init__(environment)
        self["servers"] = []
        self["listen"] = []

    def opt_server(self, value: str) -> None:
        """HOST:PORT, https://HOST:PORT or https://HOST/PATH of a server; may be given several times [default:
        127.0.0.1:8300]
        """
        host, _, port = value.rpartition(":")
        try:
            endpoint = Endpoint.from_url(value) if "://" in value else Endpoint(host.strip("[]"), int(port))
        except ValueError:
            raise SettingsError(f"--server takes HOST:PORT or https://HOST:PORT, or https://HOST/PATH, not {value!r}")
        self["servers"].append(endpoint)

    def opt_listen(self, value: str) -> None:
        """Twisted endpoint string to listen on, in place of --interface and --port; may be given several times"""
        self["listen"].append(value)

    def gathered(self) -> Gathered[AgentSettings]:
        """See `SettingsOptions`."""
        options = {
            "SPOOL_DIR": (self["spool"], "--spool"),
            "AGENT_PORT": (self["port"], "--port"),
            "AGENT_INTERFACE": (self["interface"], "--interface"),
            "AGENT_LISTEN": (tuple(self["listen"]), "--listen"),
            "SERVER_ENDPOINTS": (tuple(self["servers"]), "--server"),
            "TLS_CA_FILE": (self["tls-ca-file"], "--tls-ca-file"),
        }
        options = {**given(options), **self.common()}
        found = gather(AgentSettings, self["config"], self.environment, options)
        settings = with_absolute_paths(found.settings)
        with located(found):
            check(settings)
        return evolve(found, settings=settings)


def with_absolute_paths(settings: AgentSettings) -> AgentSettings:
    """Settings whose files are where they were when the command was given: twistd may change its folder."""
    double = settings.double_agent
    if double is not None:
        double = evolve(double, spool=os.path.abspath(double.spool or f"{settings.spool}-double"))
    return evolve(
        settings,
        spool=os.path.abspath(settings.spool),
        double_agent=double,
        listen=tuple(str(EndpointString.parse(each).with_absolute_paths()) for each in settings.listen),
        statsd_listen=tuple(map(with_absolute_path, settings.statsd_listen)),
        token_file=settings.token_file and os.path.abspath(settings.token_file),
        tls_ca_file=settings.tls_ca_file and os.path.abspath(settings.tls_ca_file),
        tls_client_file=settings.tls_client_file and os.path.abspath(settings.tls_client_file),
    )


def check(settings: AgentSettings) -> None:
    """SettingsError for what each setting alone does not show, and for files that cannot be used."""
    if not settings.servers:
        raise SettingsError("SERVER_ENDPOINTS: an agent needs one server at least.")
    if settings.double_agent is not None:
        check_double(settings.spool, settings.double_agent)
    check_installed(settings.additional_handlers)
    shared_token(settings.token_file, lambda: 0.0)
    check_endpoints(settings.endpoints(), token=settings.token_file is not None, insecure=settings.insecure)
    check_statsd(settings)
    VerifiedServers(settings.tls_ca_file, settings.tls_client_file)


def check_double(spool: str, double: DoubleAgentSettings) -> None:
    """SettingsError for a second set of servers that cannot be one."""
    if not double.servers:
        raise SettingsError("DOUBLE_AGENT.SERVER_ENDPOINTS: the second set of servers needs one at least.")
    if double.spool is not None and os.path.realpath(double.spool) == os.path.realpath(spool):
        raise SettingsError(f"DOUBLE_AGENT.SPOOL_DIR: {double.spool} is the first spool; the second needs its own.")


class StandaloneAgent(Service):
    """An agent in a process of its own, in front of servers elsewhere."""

    reloadable = ()
    """Of its settings only those of the log can change while it runs; token and certificates are read again by
    themselves.
    """

    def take_settings(self, settings: AgentSettings) -> None:
        """See `Reloadable`."""

    def __init__(self, settings: AgentSettings, process: Process, registry: Registry) -> None:
        self.settings = settings
        self._process = process
        token = shared_token(settings.token_file, process.reactor.seconds, process.say)
        trust = VerifiedServers(settings.tls_ca_file, settings.tls_client_file)

        def named(servers: Sequence[Endpoint], most: int) -> NamedServers:
            reactor = process.reactor
            return NamedServers(
                servers,
                lambda server, address: Connection(reactor, server, address, trust, token.to_send, most),
                look_up_by(reactor),
                reactor,
                process.random.random,
            )

        kinds, double = registry.kinds(), settings.double_agent
        self._named = [named(settings.servers, settings.queues_per_server)]
        if double is None:
            self.agent = Agent(settings, process, kinds, self._named[0].endpoints())
        else:
            self._named.append(named(double.servers, double.queues_per_server))
            self.agent = DoubleAgent(settings, process, kinds, *(each.endpoints() for each in self._named))
            self._named[1].changed = self.agent.second.use
        self._named[0].changed = self.agent.use
        self._statsd: StatsdPorts | None = None
        if settings.statsd_listen:
            self.agent.statsd = self._statsd = StatsdPorts(settings, process, self.agent)
        self._site = agent_site(AgentResources(self.agent), process, token.guard())
        self._port: Listening | None = None

    @inlineCallbacks
    def startService(self):  # type: ignore[no-untyped-def]
        """Fires when events are taken."""
        super().startService()
        for remark in self.settings.remarks():
            self._process.say(remark)
        for named in self._named:
            named.startService()
        yield self.agent.startService()
        listening: Listening = yield listen(self._process.reactor, self.settings.endpoints(), self._site)
        self._port = listening
        if self._statsd is not None:
            yield self._statsd.startService()
            self._process.say(f"Taba agent: StatsD on {', '.join(self._statsd.names())}.")
        self._process.say(
            f"Taba agent: applications on {', '.join(f'{url}/post' for url in listening.urls())}, "
            f"spool in {self.settings.spool}, servers {', '.join(each.url() for each in self.settings.servers)}. Ready."
        )
        double = self.settings.double_agent
        if double is not None:
            to = ", ".join(each.url() for each in double.servers)
            self._process.say(f"Taba agent: a copy of everything goes by the spool in {double.spool} to servers {to}.")

    @inlineCallbacks
    def stopService(self):  # type: ignore[no-untyped-def]
        """Fires when everything acknowledged is on disk."""
        super().stopService()
        listening = [self._port.close] if self._port is not None else []
        names = [each.stopService for each in self._named]
        statsd = [self._statsd.stopService] if self._statsd is not None else []
        yield stop_in_turn(*listening, *statsd, self.agent.stopService, *names)


def make_agent(settings: AgentSettings, process: Process) -> IService:
    """The service of an agent on any machine, the simulated one included. StartError when its folder cannot be used."""
    return StandaloneAgent(settings, process, installed(settings.additional_handlers))


def makeService(options: Any, process: Process | None = None, reactor: Any = None) -> IService:
    """Called by twistd. Opens nothing."""
    from taba.real import running_on

    settings: AgentSettings = options["settings"]
    reloading = Reloading(settings, options.read_again, options.log) if process is None else None
    return running_on(make_agent, settings, process, reactor, reloading=reloading)


def main() -> None:
    """The console script `taba-agent SETTINGS`."""
    from taba.console import run_twistd

    run_twistd("taba-agent", sys.argv[1:])
