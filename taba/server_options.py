"""The command line and the settings of `taba-server`: how they are put together, and what is
refused before anything starts.

Nothing here opens a port or a folder, but for `--check-config`, which asks Redis.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from attrs import evolve
from twisted.internet.defer import Deferred

from taba.agent.statsd.endpoints import check_statsd, with_absolute_path
from taba.binding import MOST_PORT, EndpointString, check_endpoints
from taba.errors import SettingsError
from taba.guarding import shared_token
from taba.handlers.registry import check_installed
from taba.options import SettingsOptions, given, located
from taba.server.blacklist import Blacklist, compiled
from taba.settings import AgentSettings, Gathered, ServerSettings, gather
from taba.store.redis.inspection import inspect
from taba.store.redis.opening import check_database
from taba.web.forwarded import TrustedProxies


class Options(SettingsOptions):
    """Command line of `twistd taba-server`."""

    program = "taba-server"
    synopsis = "[options]"
    longdesc = (
        "A complete Taba in one process: takes events, folds them durably, answers queries. Without --config it also "
        "opens an agent's port for applications on this host."
    )
    optParameters: ClassVar[list[list[Any]]] = [
        ["data-dir", "d", None, "Folder of the embedded store and the spool [default: taba-data]"],
        ["port", "p", None, "TCP port for agents and queries [default: 8300]", int],
        ["agent-port", None, None, "TCP port for applications on this host [default: 8279]", int],
        ["interface", "i", None, "Address to listen on [default: 127.0.0.1]"],
        ["worker", None, None, "Given by the parent of SERVER_WORKERS: which of them this is, from 0.", int],
    ]
    optFlags = [["memory", None, "Keep everything in memory: a stop loses it. The agent inside still keeps its spool,"
         " what the store has not taken yet, in --data-dir."]]

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        super().__init__(environment)
        self["listen"] = []
        self["agent-listen"] = []

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """See `usage.Options`. What was given is kept, for workers."""
        self.given = list(options or ())
        super().parseOptions(options)

    def opt_listen(self, value: str) -> None:
        """Twisted endpoint string for agents and queries, in place of --interface and --port; may be given several
        times
        """
        self["listen"].append(value)

    def opt_agent_listen(self, value: str) -> None:
        """Twisted endpoint string for applications, in place of --interface and --agent-port; may be given several
        times
        """
        self["agent-listen"].append(value)

    def gathered(self) -> Gathered[ServerSettings]:
        """See `SettingsOptions`. Without a file this process is an agent, too."""
        options = {
            "DATA_DIR": (self["data-dir"], "--data-dir"),
            "BASE_PORT": (self["port"], "--port"),
            "AGENT_PORT": (self["agent-port"], "--agent-port"),
            "INTERFACE": (self["interface"], "--interface"),
            "LISTEN": (tuple(self["listen"]), "--listen"),
            "AGENT_LISTEN": (tuple(self["agent-listen"]), "--agent-listen"),
            "DB_SETTINGS.USE_MEMORY_DB": (True if self["memory"] else None, "--memory"),
        }
        basis = {"EMBEDDED_AGENT": (True, "there being no settings file")} if self["config"] is None else {}
        options = {**given(options), **self.common()}
        found = gather(ServerSettings, self["config"], self.environment, options, basis)
        settings = with_absolute_paths(found.settings)
        with located(found):
            check(settings)
        if self["worker"] is not None:
            settings = of_worker(settings, self["worker"])
        return evolve(found, settings=settings)

    def inspected(self, settings: ServerSettings) -> int:
        """See `SettingsOptions`."""
        return look_at_redis(settings) if settings.database.redis else 0


def look_at_redis(settings: ServerSettings) -> int:
    """Print what there is to say of the Redis servers of settings; 0, or 1 when Taba cannot work with them."""
    from twisted.internet import reactor, task

    from taba.real import monotonic, real_process

    status = 1

    async def look(_: object) -> None:
        nonlocal status
        report = await inspect(settings.database, real_process(reactor), AgentSettings().confirm_seconds)
        for line in report.lines:
            print(line, flush=True)
        status = 0 if report.works else 1

    monotonic(reactor)
    try:
        task.react(lambda clock: Deferred.fromCoroutine(look(clock)))
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) and ended.code else status


def with_absolute_paths(settings: ServerSettings) -> ServerSettings:
    """Settings whose files are where they were when the command was given: twistd may change its folder."""
    return evolve(
        settings,
        data_dir=os.path.abspath(settings.data_dir),
        listen=tuple(str(EndpointString.parse(each).with_absolute_paths()) for each in settings.listen),
        agent_listen=tuple(str(EndpointString.parse(each).with_absolute_paths()) for each in settings.agent_listen),
        statsd_listen=tuple(map(with_absolute_path, settings.statsd_listen)),
        token_file=settings.token_file and os.path.abspath(settings.token_file),
    )


def check(settings: ServerSettings) -> None:
    """SettingsError for what each setting alone does not show, and for files that cannot be used."""
    roles = set(settings.roles.split(","))
    unknown = sorted(roles - {"fe", "be", "ctrl"})
    if unknown:
        raise SettingsError(f"SERVER_ROLES: {', '.join(unknown)} is no role; there are fe, be, ctrl.")
    if settings.database.redis:
        check_database(settings.database)
    elif not {"fe", "be"} <= roles:
        raise SettingsError("SERVER_ROLES: the embedded store is of one process, which has to be fe and be.")
    if settings.workers > 1:
        check_workers(settings)
    if settings.agent_port == 0 and not settings.embedded_agent:
        raise SettingsError("AGENT_PORT: 0 picks a free port for an agent in this process only (EMBEDDED_AGENT).")
    if settings.agent_listen and not settings.embedded_agent:
        raise SettingsError("AGENT_LISTEN: this process opens no agent's port unless EMBEDDED_AGENT is true.")
    if settings.statsd_listen and not settings.embedded_agent:
        raise SettingsError("STATSD_LISTEN: this process takes no events itself unless EMBEDDED_AGENT is true.")
    check_statsd(settings)
    Blacklist.of(settings.name_blacklist, settings.client_blacklist)
    for number, each in enumerate(settings.tabs):
        compiled(each.name, f"TABS[{number}].name")
    check_installed(settings.additional_handlers)
    check_proxies(settings.trusted_proxies)
    shared_token(settings.token_file, lambda: 0.0)
    check_endpoints(
        (*settings.endpoints(), *settings.agent_endpoints()),
        token=settings.token_file is not None,
        insecure=settings.insecure,
    )


def check_proxies(entries: Sequence[str]) -> None:
    """SettingsError for what is no proxy in TRUSTED_PROXIES."""
    try:
        TrustedProxies.of(entries)
    except ValueError as problem:
        raise SettingsError(f"TRUSTED_PROXIES: {problem}.")


def check_workers(settings: ServerSettings) -> None:
    """SettingsError for what several processes cannot share."""
    if not settings.database.redis:
        raise SettingsError(
            f"SERVER_WORKERS is {settings.workers}, but the store in a file or in memory is of one process. Set it to"
            " 1, or give the servers Redis (DB_SETTINGS)."
        )
    if settings.listen:
        raise SettingsError("LISTEN: several SERVER_WORKERS listen on BASE_PORT, BASE_PORT + 1, ...; take one out.")
    if settings.port == 0 or settings.port + settings.workers - 1 > MOST_PORT:
        raise SettingsError(f"BASE_PORT: {settings.workers} SERVER_WORKERS need as many ports from there on.")


def of_worker(settings: ServerSettings, number: int) -> ServerSettings:
    """The settings of one of SERVER_WORKERS: a port and a folder of its own; the first alone is an agent, too."""
    return evolve(
        settings,
        workers=1,
        port=settings.port + number,
        data_dir=os.path.join(settings.data_dir, f"worker-{number}"),
        embedded_agent=settings.embedded_agent and number == 0,
        statsd_listen=settings.statsd_listen if number == 0 else (),
    )
