"""Puts settings over one another: defaults, the file, the environment, the command line; the later wins, key by key.

Where each value came from is remembered, for `--check-config`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Generic, TypeVar
from urllib.parse import urlsplit

import attrs
from attrs import define, field, frozen

from taba.errors import SettingsError
from taba.settings.agent import AgentSettings
from taba.settings.environment import given_by
from taba.settings.fields import key_of
from taba.settings.files import read_file
from taba.settings.server import ServerSettings
from taba.settings.values import check, field_value, may_be_null, nearest, wanted_of

Settings = TypeVar("Settings", AgentSettings, ServerSettings)
Path = tuple[str, ...]
"""The keys that lead to a setting: one, or that of a section and one in it."""
KINDS: tuple[Any, ...] = (AgentSettings, ServerSettings)


@frozen
class Gathered(Generic[Settings]):
    """Settings, and where each one came from that is not a default: key, with a dot after that of a section -> words.
    """

    settings: Settings
    origins: Mapping[str, str]

    def lines(self) -> list[str]:
        """What is in force, a line for each setting; what is secret is not shown."""
        found = []
        for path, attribute, value in _each(self.settings, ()):
            name = ".".join(path)
            origin = self.origins.get(name)
            found.append(f"{name} = {_shown(attribute, value)}" + (f"  (from {origin})" if origin else ""))
        return found


@define
class _Layers:
    """The values of `kind` that were given so far."""

    kind: Any
    values: dict[Path, tuple[Any, str]] = field(factory=dict)
    """Path -> (value, where it came from)."""

    def put_object(self, kind: Any, given: Mapping[str, Any], origin: str, prefix: Path, shown: str) -> None:
        """Take what an object of a file says; `shown` stands before its keys in messages."""
        attributes = {key_of(each): each for each in attrs.fields(kind)}
        for key, value in given.items():
            if key not in attributes:
                raise SettingsError(f"{shown}{key} is no setting here.{nearest(key, attributes)}")
            self.put(kind, attributes[key], value, origin, (*prefix, key), shown + key)

    def put(self, kind: Any, attribute: Any, given: Any, origin: str, path: Path, shown: str) -> None:
        """Take one value, as JSON has it. A section takes the place of all that was said of it."""
        if not attribute.metadata.get("section"):
            self.values[path] = field_value(kind, attribute, given, shown), origin
            return
        if not isinstance(given, Mapping) and not (given is None and may_be_null(kind, attribute)):
            raise SettingsError(f"{shown} must be an object.")
        for each in [each for each in self.values if each[: len(path)] == path]:
            del self.values[each]
        self.put_object(wanted_of(kind, attribute), given or {}, origin, path, shown + ".")

    def put_option(self, name: str, value: Any, origin: str) -> None:
        """Take a value that has the type of its field already; `name` is its key, dotted."""
        kind, path = self.kind, tuple(name.split("."))
        for key in path[:-1]:
            kind = wanted_of(kind, _attribute(kind, key))
        check(_attribute(kind, path[-1]), value, name)
        self.values[path] = value, origin

    def built(self, kind: Any, prefix: Path = ()) -> Any:
        """Settings of all that was given."""
        values = {}
        for each in attrs.fields(kind):
            path = (*prefix, key_of(each))
            if path in self.values:
                values[each.name] = self.values[path][0]
            elif any(given[: len(path)] == path for given in self.values):
                values[each.name] = self.built(wanted_of(kind, each), path)
        return kind(**values)


def gather(
    kind: type[Settings],
    file: str | None = None,
    environment: Mapping[str, str] | None = None,
    options: Mapping[str, tuple[Any, str]] | None = None,
    basis: Mapping[str, tuple[Any, str]] | None = None,
) -> Gathered[Settings]:
    """The settings that a file, the environment and options come to; `basis` takes the place of defaults.

    `options` and `basis` are key -> (value, where it came from), dotted in sections, the values of the type of their
    fields. SettingsError says what is wrong, where, and what might have been meant.
    """
    layers = _Layers(kind)
    for name, (value, origin) in (basis or {}).items():
        layers.put_option(name, value, origin)
    if file is not None:
        try:
            layers.put_object(kind, read_file(file), file, (), "")
        except SettingsError as problem:
            raise problem if file in str(problem) else SettingsError(f"{file}: {problem}")
    others = [each for each in KINDS if each is not kind]
    for variable, path, value in given_by(environment or {}, kind, others):
        owner = kind if len(path) == 1 else wanted_of(kind, _attribute(kind, path[0]))
        layers.put(owner, _attribute(owner, path[-1]), value, variable, path, variable)
    for name, (value, origin) in (options or {}).items():
        layers.put_option(name, value, origin)
    origins = {".".join(path): origin for path, (_, origin) in layers.values.items()}
    return Gathered(layers.built(kind), origins)


def load(kind: type[Settings], path: str) -> Settings:
    """Read a settings file alone."""
    return gather(kind, path).settings


def structure(kind: type[Settings], given: Mapping[str, Any]) -> Settings:
    """Settings from the object of a settings file."""
    layers = _Layers(kind)
    layers.put_object(kind, given, "", (), "")
    settings: Settings = layers.built(kind)
    return settings


def _attribute(kind: Any, key: str) -> Any:
    return next(each for each in attrs.fields(kind) if key_of(each) == key)


def _each(settings: Any, prefix: Path) -> Iterator[tuple[Path, Any, Any]]:
    """(path, field, value) of all settings, those of sections that are there in their place."""
    for each in attrs.fields(type(settings)):
        path, value = (*prefix, key_of(each)), getattr(settings, each.name)
        if each.metadata.get("section") and value is not None:
            yield from _each(value, path)
        else:
            yield path, each, value


def _shown(attribute: Any, value: Any) -> str:
    """A value as JSON, without passwords."""
    if attribute.metadata.get("secret") and value:
        return "(not shown)"
    if isinstance(value, str) and "@" in value and "://" in value:
        parts = urlsplit(value)
        value = parts._replace(netloc=f"(not shown)@{parts.netloc.rpartition('@')[2]}").geturl()
    return json.dumps(value, default=attrs.asdict, ensure_ascii=False)
