"""What is broken in each case of the overload benchmark, and the processes around it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping

from attrs import define, frozen

from tests.processes.ailing_disk import AilingDisk
from tests.processes.running import AgentProcess, ServerProcess, Stage, start_all
from tests.processes.slow_link import SlowLink
from tests.redis.real import RedisProcess, Servers

MIB = 1 << 20
SLOW_SYNC = 0.5
"""Seconds that a sync of a slow disk takes beside the bytes."""
SLOW_DELAY = 0.02
"""Seconds that everything takes on its way to a slow store, and back."""
TENTH = 0.1
"""A slow disk or store passes so much of what went through it before."""


@define(eq=False)
class Cluster:
    """The processes of one case, and how to look at what is between them."""

    server: ServerProcess
    agent: AgentProcess
    redis: RedisProcess | None = None
    link: SlowLink | None = None
    agent_disk: AilingDisk | None = None
    server_disk: AilingDisk | None = None

    def peaks(self) -> dict[str, int]:
        """The most resident bytes so far, by process."""
        return {"agent": self.agent.memory("VmHWM"), "server": self.server.memory("VmHWM")}

    def passed(self) -> dict[str, float]:
        """Bytes that went to disks and store so far."""
        disks = {"agent's disk": self.agent_disk, "server's disk": self.server_disk}
        found = {name: disk.written() for name, disk in disks.items() if disk is not None}
        return found | ({"store": self.link.passed()} if self.link is not None else {})


@frozen
class Case:
    """What breaks: `begin` gets the rates of the base, in bytes a second, as `Cluster.passed` names them."""

    name: str
    meaning: str
    begin: Callable[[Cluster, Mapping[str, float]], None]
    end: Callable[[Cluster], None]
    redis: bool = False
    flood: bool = False
    """Nothing breaks; what is offered grows instead."""


def _slow_store(cluster: Cluster, rates: Mapping[str, float]) -> None:
    _link(cluster).slow(SLOW_DELAY, TENTH * rates["store"])


def _link(cluster: Cluster) -> SlowLink:
    assert cluster.link is not None
    return cluster.link


def _redis(cluster: Cluster) -> RedisProcess:
    assert cluster.redis is not None
    return cluster.redis


def _disk(cluster: Cluster, whose: str) -> AilingDisk:
    disk = cluster.agent_disk if whose == "agent" else cluster.server_disk
    assert disk is not None
    return disk


def _slow_disk(whose: str) -> Case:
    return Case(
        f"slow-disk-{whose}",
        f"the {whose}'s disk takes a tenth of the bytes, and {SLOW_SYNC:g} s for each sync",
        lambda cluster, rates: _disk(cluster, whose).slow(SLOW_SYNC, TENTH * rates[f"{whose}'s disk"]),
        lambda cluster: _disk(cluster, whose).mend(),
    )


def _full_disk(whose: str) -> Case:
    return Case(
        f"full-disk-{whose}",
        f"on the {whose}'s disk no file grows",
        lambda cluster, rates: _disk(cluster, whose).fill(),
        lambda cluster: _disk(cluster, whose).mend(),
    )


def _nothing(*_: object) -> None:
    return None


CASES = {
    each.name: each
    for each in (
        Case(
            "slow-store",
            f"Redis is {SLOW_DELAY * 1e3:.0f} ms away, and passes a tenth of the bytes",
            _slow_store,
            lambda cluster: _link(cluster).mend(),
            redis=True,
        ),
        Case(
            "dead-store",
            "Redis hangs (SIGSTOP)",
            lambda cluster, rates: _redis(cluster).stop(),
            lambda cluster: _redis(cluster).go_on(),
            redis=True,
        ),
        _slow_disk("agent"),
        _slow_disk("server"),
        _full_disk("agent"),
        _full_disk("server"),
        Case("flood", "nothing breaks, embedded store", _nothing, _nothing, flood=True),
        Case("flood-redis", "nothing breaks, Redis", _nothing, _nothing, redis=True, flood=True),
    )
}


@contextlib.contextmanager
def cluster_for(case: Case, **settings: Mapping[str, object]) -> Iterator[Cluster]:
    """The processes of a case, ready; `settings` are further ones of `server` and `agent`."""
    with contextlib.ExitStack() as left:
        stage = Stage()
        left.callback(stage.close)
        redis = link = None
        server_settings: dict[str, object] = {"CHECKPOINT_SECONDS": 0.5, **settings.get("server", {})}
        if case.redis:
            servers = left.enter_context(Servers())
            redis = servers.server("redis", "appendonly no").ready()
            link = SlowLink(redis.port)
            left.callback(link.close)
            url = f"redis://127.0.0.1:{link.port}"
            server_settings["DB_SETTINGS"] = {"NUM_VBUCKETS": 128, "REDIS_URL": url, "DURABILITY": "memory"}
        disks = {name: AilingDisk(stage.folder, name) for name in ("agent", "server")}
        server = stage.server(config=server_settings, variables=disks["server"].variables)
        agent = stage.agent(server.port, config=settings.get("agent", {}), variables=disks["agent"].variables)
        start_all(server, agent)
        yield Cluster(server, agent, redis, link, disks["agent"], disks["server"])
