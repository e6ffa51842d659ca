"""Makes a `Configuration` of YAML or JSON, or names every mistake with its path. Reads no file.

PyYAML, from the extra `tako`, is imported when a text is no JSON. Nothing but plain values is made of YAML, and a name
that stands twice is a mistake: readers of YAML would silently take either.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any

from attrs import define, field

from taba.tako.configuration import DAY, Address, Configuration, Deployment
from taba.tako.errors import ConfigurationError, Mistake
from taba.tako.levels import Level

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
_SPAN = re.compile(r"(?:(\d+)\s*d(?:ays?)?)?\s*(?:(\d+):([0-5]?\d):([0-5]?\d(?:\.\d+)?))?")
_TOP = (
    "active_deployment", "target_deployment", "deployments", "master_coordinator", "coordinators", "version",
)
_DEPLOYMENT = (
    "read_repair", "background_healing", "background_healing_interval", "hash", "buckets", "healing_rate",
    "read_level", "write_level", "longest_partition",
)
LONGEST_SPAN = 3650 * DAY


def read_text(text: str, name: str) -> Configuration:
    """The configuration that a YAML or JSON text holds; `name` is what it is called in errors. ConfigurationError."""
    try:
        value = json.loads(text, object_pairs_hook=_unique)
    except _Twice as twice:
        raise ConfigurationError(name, [Mistake(str(twice), "stands twice")])
    except (ValueError, RecursionError):
        value = _read_yaml(text, name)
    return read_object(value, name)


class _Twice(Exception):
    """A name stands twice; the text is the name."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        names = [name for name, _ in pairs]
        raise _Twice(next(name for name in names if names.count(name) > 1))
    return members


def _read_yaml(text: str, name: str) -> Any:
    try:
        import yaml  # type: ignore[import-untyped]
    except ImportError:
        raise ConfigurationError(
            name, [Mistake("", "this is no JSON; to read YAML, install PyYAML (pip install 'taba[tako]')")]
        )

    class Loader(yaml.SafeLoader):  # type: ignore[misc]
        """Plain values alone, and each name once."""

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            """Called by PyYAML."""
            seen: set[Any] = set()
            for key_node, _ in node.value:
                key = self.construct_object(key_node, deep=True)
                if isinstance(key, list | dict):
                    raise yaml.MarkedYAMLError(None, None, "a name must be a plain value", key_node.start_mark)
                if key in seen:
                    raise yaml.MarkedYAMLError(None, None, f"{key!r} stands twice", key_node.start_mark)
                seen.add(key)
            made: dict[Any, Any] = super().construct_mapping(node, deep)
            return made

    try:
        return yaml.load(text, Loader)
    except (yaml.YAMLError, RecursionError, ValueError) as problem:
        mark = getattr(problem, "problem_mark", None)
        where = f"line {mark.line + 1}, column {mark.column + 1}" if mark is not None else ""
        words = getattr(problem, "problem", None) or str(problem) or "too deeply nested"
        raise ConfigurationError(name, [Mistake(where, f"this is no YAML: {words}")])


def read_object(value: Any, name: str) -> Configuration:
    """The configuration that a parsed document holds. ConfigurationError has every mistake."""
    reader = _Reader()
    configuration = reader.configuration(value)
    if reader.mistakes or configuration is None:
        raise ConfigurationError(name, reader.mistakes)
    return configuration


def span_of(value: Any) -> float | None:
    """The seconds of a length of time: a number, or a text such as '1d 0:00:00', '12:00:00' or '7d'. None for others.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    match = _SPAN.fullmatch(value.strip()) if isinstance(value, str) and value.strip() else None
    if match is None:
        return None
    days, hours, minutes, seconds = (float(part or 0) for part in match.groups())
    return days * DAY + hours * 3600 + minutes * 60 + seconds


@define
class _Reader:
    """Collects mistakes while it reads; what has one is None or a default."""

    mistakes: list[Mistake] = field(factory=list)

    def wrong(self, path: str, problem: str) -> None:
        """Note a mistake."""
        self.mistakes.append(Mistake(path, problem))

    # --------------------------------------------------------------------------------------------------- plain values

    def members(self, value: Any, path: str, known: tuple[str, ...] | None = None) -> dict[str, Any]:
        """The members of a mapping, those that are `known` only; names as text."""
        if not isinstance(value, dict):
            self.wrong(path, f"{_shown(value)} is not a mapping")
            return {}
        members = {str(name): each for name, each in value.items()}
        for name in members:
            if known is not None and name not in known:
                near = get_close_matches(name, known, 1)
                hint = f"; did you mean {near[0]}?" if near else f"; there are {', '.join(known)}"
                self.wrong(_join(path, name), f"is not known here{hint}")
        return members

    def named(self, value: Any, path: str) -> dict[str, Any]:
        """The members of a mapping whose names are for the operator to choose."""
        members = self.members(value, path)
        for name in members:
            if not _NAME.fullmatch(name):
                self.wrong(_join(path, name), "a name has 1 to 64 letters, digits, dots, hyphens and underscores")
        return members

    def choice(self, members: Mapping[str, Any], name: str, path: str, allowed: Mapping[str, Any], default: Any) -> Any:
        """One of a few words; true and false stand for yes and no."""
        value = members.get(name, default)
        for word, meaning in allowed.items():
            if value is meaning or (isinstance(value, str) and value.lower() == word):
                return meaning
        self.wrong(_join(path, name), f"{_shown(value)} is not one of {', '.join(allowed)}")
        return default

    def boolean(self, members: Mapping[str, Any], name: str, path: str, default: bool) -> bool:
        """yes or no."""
        words = {"yes": True, "no": False, "true": True, "false": False}
        return bool(self.choice(members, name, path, words, default))

    def number(
        self, members: Mapping[str, Any], name: str, path: str, default: float, low: float, high: float,
        read: Callable[[Any], float | None], expects: str,
    ) -> float:  # fmt: skip
        """A number that `read` makes of the value; `expects` says in words what is allowed."""
        value = members.get(name, default)
        number = read(value)
        if number is None or not low <= number <= high:
            self.wrong(_join(path, name), f"{_shown(value)} is not {expects}")
            return default
        return number

    def whole(self, value: Any, path: str, low: int, high: int, what: str = "a whole number") -> int | None:
        """A whole number; None, and a mistake, for anything else."""
        if type(value) is int and low <= value <= high:
            return value
        self.wrong(path, f"{_shown(value)} is not {what} from {low} to {high}")
        return None

    def host(self, value: Any, path: str) -> str:
        """A host's name or address."""
        if isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9:._%-]{1,253}", value):
            return value
        self.wrong(path, f"{_shown(value)} is not a host")
        return ""

    # -------------------------------------------------------------------------------------------------- the document

    def configuration(self, value: Any) -> Configuration | None:
        """The whole document; None when it has a mistake."""
        members = self.members(value, "", _TOP)
        if not isinstance(value, dict):
            return None
        deployments = {
            name: self.deployment(name, each, f"deployments.{name}")
            for name, each in self.named(members.get("deployments", {}), "deployments").items()
        }
        if not deployments and "deployments" not in {each.path for each in self.mistakes}:
            self.wrong("deployments", "there has to be one at least")
        active = self.deployment_name(members, "active_deployment", deployments)
        target = active
        if members.get("target_deployment") is not None:
            target = self.deployment_name(members, "target_deployment", deployments)
        coordinators = {
            name: self.coordinator(where, f"coordinators.{name}")
            for name, where in self.named(members.get("coordinators") or {}, "coordinators").items()
        }
        master = members.get("master_coordinator")
        if master is not None and master not in coordinators:
            self.wrong("master_coordinator", f"{_shown(master)} is none of the coordinators{_list(coordinators)}")
        version = self.whole(members.get("version", 0), "version", 0, 2**53 - 1) or 0
        self.addresses(deployments)
        if self.mistakes:
            return None
        return Configuration(str(active), str(target), deployments, master, coordinators, version)

    def deployment_name(self, members: Mapping[str, Any], name: str, deployments: Mapping[str, Any]) -> str:
        """The name of a deployment that there is."""
        value = members.get(name)
        if value is None:
            self.wrong(name, "is missing")
        elif str(value) not in deployments:
            self.wrong(name, f"{_shown(value)} is none of the deployments{_list(deployments)}")
        return str(value)

    def deployment(self, name: str, value: Any, path: str) -> Deployment:
        """One deployment."""
        members = self.members(value, path, _DEPLOYMENT)
        default = Deployment(name, {})
        buckets = {
            bucket: self.bucket(nodes, f"{path}.buckets.{bucket}")
            for bucket, nodes in self.named(members.get("buckets") or {}, f"{path}.buckets").items()
        }
        if isinstance(value, dict) and not buckets:
            self.wrong(f"{path}.buckets", "there has to be one at least")
        self.nodes_once(buckets, path)
        levels = {level.value: level for level in Level}
        span = "a length of time such as '1d 0:00:00', from 1 second to 3650 days"
        return Deployment(
            name,
            buckets,
            self.buckets_per_key(members.get("hash", {}), f"{path}.hash", len(buckets)),
            self.boolean(members, "read_repair", path, default.read_repair),
            self.boolean(members, "background_healing", path, default.background_healing),
            self.number(
                members, "background_healing_interval", path, default.background_healing_interval, 1, LONGEST_SPAN,
                span_of, span,
            ),
            self.number(members, "healing_rate", path, default.healing_rate, 1, 1e9, _number, "keys in a second"),
            self.choice(members, "read_level", path, levels, default.read_level),
            self.choice(members, "write_level", path, levels, default.write_level),
            self.number(members, "longest_partition", path, default.longest_partition, 1, LONGEST_SPAN, span_of, span),
        )  # fmt: skip

    def buckets_per_key(self, value: Any, path: str, buckets: int) -> int:
        """The member of `hash`."""
        members = self.members(value, path, ("buckets_per_key",))
        number = self.whole(members.get("buckets_per_key", 1), f"{path}.buckets_per_key", 1, 100)
        if number is not None and buckets and number > buckets:
            self.wrong(f"{path}.buckets_per_key", f"{number} buckets per key, and there are {buckets}")
        return number or 1

    def bucket(self, value: Any, path: str) -> dict[str, Address]:
        """The nodes of a bucket."""
        nodes = {}
        for node, where in self.named(value, path).items():
            address = self.address(where, f"{path}.{node}")
            if address is not None:
                nodes[node] = address
        if isinstance(value, dict) and not value:
            self.wrong(path, "a bucket has one node at least")
        return nodes

    def address(self, value: Any, path: str) -> Address | None:
        """Where a node is; None, and a mistake, for anything else."""
        if not isinstance(value, list) or len(value) != 3:
            self.wrong(path, f"{_shown(value)} is not [host, http_port, internal_port]")
            return None
        host = self.host(value[0], f"{path}[0]")
        http = self.whole(value[1], f"{path}[1]", 1, 65_535, "a port")
        internal = self.whole(value[2], f"{path}[2]", 1, 65_535, "a port")
        if not host or http is None or internal is None:
            return None
        if http == internal:
            self.wrong(path, f"both ports are {http}")
        return Address(host, http, internal)

    def coordinator(self, value: Any, path: str) -> tuple[str, int]:
        """Where a coordinator is."""
        if not isinstance(value, list) or len(value) != 2:
            self.wrong(path, f"{_shown(value)} is not [host, port]")
            return ("", 0)
        return (self.host(value[0], f"{path}[0]"), self.whole(value[1], f"{path}[1]", 1, 65_535, "a port") or 0)

    def nodes_once(self, buckets: Mapping[str, Mapping[str, Address]], path: str) -> None:
        """A node is in one bucket of a deployment."""
        seen: dict[str, str] = {}
        for bucket, nodes in buckets.items():
            for node in nodes:
                if node in seen:
                    self.wrong(f"{path}.buckets.{bucket}.{node}", f"the node is in bucket {seen[node]} already")
                seen[node] = bucket

    def addresses(self, deployments: Mapping[str, Deployment]) -> None:
        """A node is at one place, and a port is one node's."""
        places: dict[str, Address] = {}
        users: dict[tuple[str, int], str] = {}
        for name, deployment in deployments.items():
            for bucket, nodes in deployment.buckets.items():
                for node, address in nodes.items():
                    path = f"deployments.{name}.buckets.{bucket}.{node}"
                    if places.setdefault(node, address) != address:
                        self.wrong(path, f"the node is at {_place(places[node])} in another deployment")
                    for port in (address.http_port, address.internal_port):
                        user = users.setdefault((address.host, port), node)
                        if user != node:
                            self.wrong(path, f"port {port} of {address.host} is node {user}'s")


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _place(address: Address) -> str:
    return f"[{address.host}, {address.http_port}, {address.internal_port}]"


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _list(names: Mapping[str, Any]) -> str:
    return f" ({', '.join(names)})" if names else ""


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return f"a mapping of {len(value)}"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    return ascii(value)[:60] if value is not None else "nothing"
