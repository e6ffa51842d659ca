"""The parameters of a query: from the URL, from a POSTed JSON object, or both (the URL wins). Pure.

`re` (with any value) makes `name` and `client` regular expressions, matched at the start by RE2, which takes no
pattern that could run long; without it they are lists with commas.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence

import re2
from attrs import frozen

MAX_PATTERN = 1024
"""Characters of a regular expression."""


class ParameterError(ValueError):
    """A parameter is unknown or has a value that cannot be used; the text says which and why."""


@frozen
class Choice:
    """Which names a parameter chooses: those `listed`, or, where that is None, those that match a pattern."""

    listed: frozenset[str] | None
    _pattern: re2._Regexp | None = None

    def takes(self, name: str) -> bool:
        """Whether it chooses a name."""
        if self.listed is not None:
            return name in self.listed
        return self._pattern is None or self._pattern.match(name) is not None


@frozen
class Parameters:
    """What a query asks for. None: not asked, so all."""

    name: str | None = None
    client: str | None = None
    regular: bool = False
    raw: bool = False
    """Whether States are wanted as they are stored."""

    def tabs(self) -> Choice | None:
        """The tabs that `name` chooses; None for all. ParameterError for a pattern that cannot be used."""
        return _choice(self.name, self.regular, "name")

    def clients(self) -> Choice | None:
        """The clients that `client` chooses; None for all. ParameterError for a pattern that cannot be used."""
        return _choice(self.client, self.regular, "client")


def _choice(asked: str | None, regular: bool, parameter: str) -> Choice | None:
    if asked is None:
        return None
    if regular:
        return Choice(None, compiled(asked, parameter))
    return Choice(frozenset(asked.split(",")))


def compiled(pattern: str, parameter: str) -> re2._Regexp:
    """A pattern compiled by RE2; ParameterError with RE2's reason."""
    if len(pattern) > MAX_PATTERN:
        raise ParameterError(f"The regular expression in {parameter!r} is longer than {MAX_PATTERN} characters.")
    options = re2.Options()
    options.log_errors = False
    options.max_mem = 8 << 20
    try:
        return re2.compile(pattern, options)
    except re2.error as problem:
        reason = problem.args[0] if problem.args else problem
        reason = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else reason
        raise ParameterError(f"{parameter!r} is not a regular expression that RE2 takes: {reason}")


def parse(
    arguments: Mapping[bytes, Sequence[bytes]], body: bytes, allowed: Collection[str]
) -> Parameters:
    """The parameters of a query. `arguments` are those of the URL, `body` is that of a POST or empty."""
    values = values_of(arguments, body, allowed)
    return Parameters(name=values.get("name"), client=values.get("client"), regular="re" in values, raw="raw" in values)


def values_of(
    arguments: Mapping[bytes, Sequence[bytes]], body: bytes, allowed: Collection[str]
) -> dict[str, str]:
    """The parameters of any request, as they are. ParameterError for those that are not among the `allowed`."""
    values: dict[str, str] = _from_body(body)
    values.update({_text(name): _text(given[-1]) for name, given in arguments.items()})
    unknown = sorted(values.keys() - set(allowed))
    if unknown:
        raise ParameterError(
            f"Invalid parameters: {', '.join(unknown)}. Here are allowed: {', '.join(sorted(allowed)) or 'none'}."
        )
    return values


def _text(value: bytes) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _from_body(body: bytes) -> dict[str, str]:
    if not body.strip():
        return {}
    try:
        given = json.loads(body)
    except (ValueError, RecursionError) as problem:
        raise ParameterError(f"The body is not JSON: {problem}")
    if not isinstance(given, dict):
        raise ParameterError("The body must be a JSON object of parameters.")
    return {name: _joined(name, value) for name, value in given.items()}


def _joined(name: str, value: object) -> str:
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return ",".join(value)
    if isinstance(value, str | bool | int) or value is None:
        return str(value)
    raise ParameterError(f"The parameter {name!r} must be a string.")
