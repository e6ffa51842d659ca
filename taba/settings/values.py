"""Turns what JSON and TOML have into the values of fields, with the path of whatever cannot be one. Pure.

No conversions: "8300" is no port, 1 is no truth value. Whole numbers serve as seconds, though.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping
from functools import cache
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import attrs

from taba.errors import SettingsError
from taba.settings.endpoint import Endpoint
from taba.settings.fields import key_of

NAMES = {bool: "true or false", int: "a whole number", float: "a number", str: "a string"}


@cache
def _hints(kind: Any) -> Mapping[str, Any]:
    """The types of a class's fields, which take a while to find out."""
    return get_type_hints(kind)


def wanted_of(kind: Any, attribute: Any) -> Any:
    """The type of a field; of one that may be missing, what it is when it is not."""
    wanted = _hints(kind)[attribute.name]
    if get_origin(wanted) in (UnionType, Union):
        return next(each for each in get_args(wanted) if each is not NoneType)
    return wanted


def may_be_null(kind: Any, attribute: Any) -> bool:
    """Whether a field may be None."""
    return NoneType in get_args(_hints(kind)[attribute.name])


def field_value(kind: Any, attribute: Any, given: Any, path: str) -> Any:
    """The value of a field of `kind`. SettingsError, with the path, when `given` is none."""
    if given is None and may_be_null(kind, attribute):
        return None
    shown = not attribute.metadata.get("secret", False)
    if attribute.metadata.get("one") and isinstance(given, str):
        given = [given]
    value = structured(wanted_of(kind, attribute), given, path, shown)
    check(attribute, value, path)
    return value


def check(attribute: Any, value: Any, path: str) -> None:
    """SettingsError, with the path, when a field's value is not in its range."""
    if attribute.validator is None:
        return
    try:
        attribute.validator(None, attribute, value)
    except ValueError as problem:
        sentence = str(problem.args[0]).replace(f"'{attribute.name}'", "the value")
        raise SettingsError(f"{path}: {sentence}")


def structured(wanted: Any, given: Any, path: str, shown: bool = True) -> Any:
    """`given` as a value of the type `wanted`; what is not `shown` stands in no message."""
    if wanted in NAMES:
        return _plain(wanted, given, path, shown)
    if wanted is Endpoint and not isinstance(given, dict):
        return _endpoint(given, path)
    if attrs.has(wanted):
        return _element(wanted, given, path)
    parts = get_args(wanted)
    if get_origin(wanted) is dict:
        if not isinstance(given, dict):
            raise SettingsError(f"{path} must be an object.")
        return {name: structured(parts[1], value, f"{path}.{name}") for name, value in given.items()}
    if not isinstance(given, list):
        raise SettingsError(f"{path} must be a list.")
    if parts[-1] is Ellipsis:
        parts = (parts[0],) * len(given)
    elif len(parts) != len(given):
        raise SettingsError(f"{path} must be a list of {len(parts)}, not of {len(given)}.")
    paths = [f"{path}[{place}]" for place in range(len(given))]
    return tuple(map(structured, parts, given, paths))


def _plain(wanted: Any, given: Any, path: str, shown: bool) -> Any:
    if wanted is float and type(given) is int:
        return float(given)
    if type(given) is not wanted:
        value = json.dumps(given, default=str) if shown else "the value"
        raise SettingsError(f"{path} has a value that cannot be used: {value} is not {NAMES[wanted]}.")
    return given


def _endpoint(given: Any, path: str) -> Endpoint:
    if not isinstance(given, str):
        problem = f"{json.dumps(given, default=str)} is neither an object nor a URL"
        raise SettingsError(f"{path} has a value that cannot be used: {problem}.")
    try:
        return Endpoint.from_url(given)
    except ValueError as problem:
        raise SettingsError(f"{path} has a value that cannot be used: {problem}.")


def _element(wanted: Any, given: Any, path: str) -> Any:
    """One object of a list of them."""
    attributes = {key_of(each): each for each in attrs.fields(wanted)}
    if not isinstance(given, dict):
        raise SettingsError(f"{path} must be an object of {', '.join(attributes)}.")
    values = {}
    for key, value in given.items():
        if key not in attributes:
            raise SettingsError(f"{path}.{key} is nothing that belongs there.{nearest(key, attributes)}")
        values[attributes[key].name] = field_value(wanted, attributes[key], value, f"{path}.{key}")
    missing = [k for k, each in attributes.items() if each.default is attrs.NOTHING and each.name not in values]
    if missing:
        raise SettingsError(f"{path} lacks {', '.join(missing)}.")
    return wanted(**values)


def nearest(key: str, keys: Iterable[str]) -> str:
    """A sentence, after a blank, with the key that was perhaps meant, or with all that there are."""
    known = sorted(keys)
    by_letters = {each.upper(): each for each in known}
    near = difflib.get_close_matches(key.upper(), by_letters, n=1, cutoff=0.6)
    return f" Did you mean {by_letters[near[0]]}?" if near else f" There are: {', '.join(known)}."
