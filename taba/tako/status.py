"""What a process of Tako tells of itself over HTTP: /status, /healthz, /metrics, /ring, /configuration, and on nodes
/tree and POST /heal, on coordinators POST /reload.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.web.resource import Resource

import taba
from taba.errors import StartError
from taba.tako.configuration import as_json
from taba.tako.errors import TakoError
from taba.tako.http import Values
from taba.tako.placement import Placement
from taba.web.answers import JSON, Leaf, Refusal, Root, accepts_json, write_json, write_text

if TYPE_CHECKING:
    from taba.tako.coordinator import TakoCoordinator
    from taba.tako.member import Member
    from taba.tako.node import TakoNode
    from taba.tako.proxy import TakoProxy

Facts = Mapping[str, Any]


def _shown(facts: Callable[[], Facts]) -> Leaf:
    """Facts as text, or as JSON for who asks for it."""

    def get(request: Any) -> None:
        if accepts_json(request):
            write_json(request, facts())
        else:
            write_text(request, "".join(_lines(facts())))

    return Leaf(get=get)


def _lines(facts: Facts, indent: str = "") -> list[str]:
    lines = []
    for name, value in facts.items():
        if isinstance(value, Mapping):
            lines += [f"{indent}{name}:\n", *_lines(value, indent + "  ")]
        else:
            lines.append(f"{indent}{name}: {json.dumps(value) if not isinstance(value, str) else value}\n")
    return lines


def _healthz(problem: Callable[[], str | None]) -> Leaf:
    def get(request: Any) -> None:
        found = problem()
        if found is not None:
            raise Refusal(503, found)
        write_text(request, "ok\n")

    return Leaf(get=get)


def _metrics(numbers: Callable[[], Mapping[str, float]]) -> Leaf:
    """Numbers in the text format of Prometheus; names with braces carry labels."""

    def get(request: Any) -> None:
        lines, told = [], set()
        for name, value in sorted(numbers().items()):
            family = name.partition("{")[0]
            if family not in told:
                told.add(family)
                lines.append(f"# TYPE {family} {'counter' if family.endswith('_total') else 'gauge'}\n")
            lines.append(f"{name} {value:g}\n" if isinstance(value, float) else f"{name} {value}\n")
        write_text(request, "".join(lines), content_type="text/plain; version=0.0.4; charset=utf-8")

    return Leaf(get=get)


def _configuration(document: Callable[[], bytes]) -> Leaf:
    def get(request: Any) -> None:
        write_text(request, document().decode(), content_type=JSON)

    return Leaf(get=get)


def _ring(placement: Callable[[], Placement]) -> Leaf:
    """The buckets, what part of all keys each holds, and its nodes."""

    def get(request: Any) -> None:
        write_json(request, ring_view(placement())) if accepts_json(request) else write_text(
            request, ring_text(ring_view(placement()))
        )

    return Leaf(get=get)


def ring_view(placement: Placement) -> dict[str, Any]:
    """The deployments in force, their buckets, shares and nodes."""
    configuration = placement.configuration
    view: dict[str, Any] = {}
    for deployment, ring in (
        (configuration.active, placement.active_ring),
        (configuration.target, placement.target_ring),
    ):
        shares = ring.shares()
        view[deployment.name] = {
            "role": "active" if deployment is configuration.active else "target",
            "buckets_per_key": deployment.buckets_per_key,
            "buckets": {
                bucket: {
                    "share": round(shares[bucket], 4),
                    "nodes": {node: [each.host, each.http_port, each.internal_port] for node, each in nodes.items()},
                }
                for bucket, nodes in sorted(deployment.buckets.items())
            },
        }
    return {"version": configuration.version, "deployments": view}


def ring_text(view: Mapping[str, Any]) -> str:
    """The same as text: a bar for each bucket."""
    lines = [f"version {view['version']}\n"]
    for name, deployment in view["deployments"].items():
        lines.append(f"{name} ({deployment['role']}, {deployment['buckets_per_key']} buckets per key)\n")
        for bucket, each in deployment["buckets"].items():
            bar = "#" * round(40 * each["share"])
            lines.append(f"  {bucket:<12} {each['share']:7.2%} {bar:<40} {' '.join(each['nodes'])}\n")
    return "".join(lines)


# ------------------------------------------------------------------------------------------------------ nodes, proxies


def _common(member: Member) -> dict[str, Any]:
    placement, reactor = member.source.placement(), member.process.reactor
    configuration = placement.configuration
    return {
        "version": taba.__version__,
        "id": member.settings.name,
        "uptime_seconds": round(reactor.seconds() - member.started_at, 1),
        "configuration": {
            "version": configuration.version,
            "active_deployment": configuration.active_deployment,
            "target_deployment": configuration.target_deployment,
            "problem": member.source.problem,
        },
        "requests": dict(sorted(member.router.counts.items())),
        "stamps_refused": member.clock.refused,
        "nodes": member.peers.states(),
    }


def _numbers(member: Member) -> dict[str, float]:
    numbers: dict[str, float] = {
        "tako_configuration_version": member.source.version,
        "tako_stamps_refused_total": member.clock.refused,
    }
    for what, count in member.router.counts.items():
        numbers[f'tako_requests_total{{what="{what}"}}'] = count
    for node, state in member.peers.states().items():
        numbers[f'tako_node_up{{node="{node}"}}'] = int(state == "up")
    return numbers


def _tree(member: Member, more: Mapping[str, Resource], facts: Callable[[], Facts],
          numbers: Callable[[], Mapping[str, float]]) -> Root:  # fmt: skip
    def problem() -> str | None:
        return None if member.listening is not None else "starting"

    return Root(
        {
            "values": member.values,
            "stat": Values(member.router, member.process.new_id, stat_only=True),
            "status": _shown(facts),
            "healthz": _healthz(problem),
            "metrics": _metrics(numbers),
            "ring": _ring(member.source.placement),
            "configuration": _configuration(lambda: as_json(member.source.placement().configuration)),
            **more,
        }
    )


def proxy_tree(proxy: TakoProxy) -> Root:
    """The resources of a proxy."""
    return _tree(proxy, {}, lambda: {"role": "proxy", **_common(proxy)}, lambda: _numbers(proxy))


def node_tree(node: TakoNode) -> Root:
    """The resources of a node."""

    def heal(request: Any) -> Deferred[Any]:
        return node.healing.run().addCallback(lambda _: write_json(request, node.healing.shown()))

    def tree(request: Any) -> None:
        write_json(request, tree_document(node))

    more = {"tree": Leaf(get=tree), "heal": Leaf(post=heal)}
    return _tree(node, more, lambda: _node_facts(node), lambda: _node_numbers(node))


def _node_facts(node: TakoNode) -> Facts:
    return {
        "role": "node",
        **_common(node),
        "keys": sum(node.records.leaves.counts),
        "share": round(node.source.placement().share_of(node.settings.name), 4),
        "store": node.records.store_id,
        "cache": {"bytes": node.records.cache.size, "hits": node.records.cache.hits},
        "questions": dict(sorted(node.replica.counts.items())),
        "noted": dict(node.records.noted()),
        "notes_sent": node.notes.sent,
        "bad_messages": node.answering.bad_messages,
        "strangers": node.answering.strangers,
        "healing": node.healing.shown(),
    }


def _node_numbers(node: TakoNode) -> Mapping[str, float]:
    healing = node.healing.shown()
    return {
        **_numbers(node),
        "tako_keys": sum(node.records.leaves.counts),
        "tako_cache_hits_total": node.records.cache.hits,
        "tako_cache_misses_total": node.records.cache.misses,
        "tako_notes": sum(node.records.noted().values()),
        "tako_notes_sent_total": node.notes.sent,
        "tako_bad_messages_total": node.answering.bad_messages,
        **{f'tako_questions_total{{what="{what}"}}': n for what, n in node.replica.counts.items()},
        "tako_healing_cycles_total": healing["cycles"],
        "tako_healing_done": healing["done"],
        **{
            f"tako_healing_{name}_total": healing[name]
            for name in ("fetched", "sent", "damaged", "handed_over", "tombstones_removed")
        },
    }


def tree_document(node: TakoNode) -> dict[str, Any]:
    """The leaves of a node, for `tako-cli migrate`: little-endian 64-bit sums, zlib, base64."""
    leaves = node.records.leaves
    return {
        "node": node.settings.name,
        "store": node.records.store_id,
        "version": node.source.version,
        "keys": sum(leaves.counts),
        "leaves": base64.b64encode(zlib.compress(leaves.to_bytes(), 1)).decode(),
    }


# ------------------------------------------------------------------------------------------------------- coordinators


def _coordinator_facts(coordinator: TakoCoordinator) -> Facts:
    configuration = coordinator.configuration
    assert configuration is not None
    return {
        "role": "coordinator",
        "version": taba.__version__,
        "id": coordinator.settings.name,
        "master": coordinator.is_master(configuration),
        "uptime_seconds": round(coordinator.process.reactor.seconds() - coordinator.started_at, 1),
        "configuration": configuration.version,
        "active_deployment": configuration.active_deployment,
        "target_deployment": configuration.target_deployment,
        "served": coordinator.served,
        "reloads": coordinator.reloads,
        "problem": coordinator.problem,
    }


def _coordinator_numbers(coordinator: TakoCoordinator) -> Mapping[str, float]:
    configuration = coordinator.configuration
    return {
        "tako_configuration_version": configuration.version if configuration is not None else 0,
        "tako_configurations_served_total": coordinator.served,
        "tako_reloads_total": coordinator.reloads,
    }


def coordinator_tree(coordinator: TakoCoordinator) -> Root:
    """The resources of a coordinator."""

    def failed(failure: Any) -> None:
        failure.trap(StartError, TakoError)
        raise Refusal(409, f"The configuration stays as it was.\n{failure.value}")

    def reload(request: Any) -> Deferred[Any]:
        reloading: Deferred[Any] = coordinator.reload()
        reloading.addErrback(failed)
        return reloading.addCallback(lambda each: write_json(request, {"version": each.version}))

    return Root(
        {
            "configuration": _configuration(coordinator.document),
            "status": _shown(lambda: _coordinator_facts(coordinator)),
            "healthz": _healthz(lambda: None),
            "metrics": _metrics(lambda: _coordinator_numbers(coordinator)),
            "reload": Leaf(post=reload),
        }
    )
