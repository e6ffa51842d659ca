"""The configuration of a cluster: what it says, as frozen values, and how it is written as JSON.

`reading.py` makes one of YAML or JSON and names every mistake. Lengths of time are in seconds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from taba.tako.levels import Level

DAY = 86_400.0


@frozen
class Address:
    """Where a node is."""

    host: str
    http_port: int
    internal_port: int


@frozen
class Deployment:
    """One way to spread keys over nodes."""

    name: str
    buckets: Mapping[str, Mapping[str, Address]]
    """Bucket -> node -> where it is. The nodes of a bucket mirror each other."""
    buckets_per_key: int = 1
    read_repair: bool = True
    background_healing: bool = True
    background_healing_interval: float = DAY
    healing_rate: float = 10_000.0
    """Keys that a node looks through in a second at most."""
    read_level: Level = Level.QUORUM
    write_level: Level = Level.QUORUM
    longest_partition: float = 7 * DAY
    """How long a node may be away; tombstones are kept for longer."""

    def nodes(self) -> dict[str, Address]:
        """All nodes of all buckets."""
        return {node: address for nodes in self.buckets.values() for node, address in nodes.items()}

    def bucket_of(self, node: str) -> str | None:
        """The bucket that a node is in."""
        return next((bucket for bucket, nodes in self.buckets.items() if node in nodes), None)


@frozen
class Configuration:
    """Everything that nodes, proxies and coordinators share."""

    active_deployment: str
    target_deployment: str
    """The same as `active_deployment` unless a migration is under way."""
    deployments: Mapping[str, Deployment]
    master_coordinator: str | None = None
    coordinators: Mapping[str, tuple[str, int]] = field(factory=dict)
    version: int = 0
    """Grows with every change that the master coordinator hands out; the higher one holds."""

    @property
    def active(self) -> Deployment:
        """The deployment that holds the data."""
        return self.deployments[self.active_deployment]

    @property
    def target(self) -> Deployment:
        """The deployment that the data goes to."""
        return self.deployments[self.target_deployment]

    @property
    def migrating(self) -> bool:
        """Whether data goes from one deployment to another."""
        return self.active_deployment != self.target_deployment

    def nodes(self) -> dict[str, Address]:
        """The nodes of all deployments: also those that have something to hand over only."""
        return {
            node: address for deployment in self.deployments.values() for node, address in deployment.nodes().items()
        }


def as_object(configuration: Configuration) -> dict[str, Any]:
    """The configuration as the JSON object that `reading.read_object` takes."""
    members: dict[str, Any] = {
        "version": configuration.version,
        "active_deployment": configuration.active_deployment,
        "target_deployment": configuration.target_deployment,
        "deployments": {name: _deployment_object(each) for name, each in configuration.deployments.items()},
    }
    if configuration.master_coordinator is not None:
        members["master_coordinator"] = configuration.master_coordinator
    if configuration.coordinators:
        members["coordinators"] = {name: list(where) for name, where in configuration.coordinators.items()}
    return members


def _deployment_object(deployment: Deployment) -> dict[str, Any]:
    return {
        "read_repair": deployment.read_repair,
        "background_healing": deployment.background_healing,
        "background_healing_interval": deployment.background_healing_interval,
        "healing_rate": deployment.healing_rate,
        "read_level": deployment.read_level.value,
        "write_level": deployment.write_level.value,
        "longest_partition": deployment.longest_partition,
        "hash": {"buckets_per_key": deployment.buckets_per_key},
        "buckets": {
            bucket: {node: [each.host, each.http_port, each.internal_port] for node, each in nodes.items()}
            for bucket, nodes in deployment.buckets.items()
        },
    }


def as_json(configuration: Configuration) -> bytes:
    """The configuration as UTF-8 JSON, for coordinators' answers and caches."""
    return json.dumps(as_object(configuration), ensure_ascii=False).encode()
