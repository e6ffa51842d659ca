"""How answers of a server are laid out for people and for pipes. Pure functions of text.

Only white space is added or taken away: numbers stay as the server wrote them, digit by digit. What is not laid out as
expected is left as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s"{}\[\],:]+|\s+', re.DOTALL)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def expand(line: str) -> str:
    """A line of `/tabs` or `/projection` with each of the State's windows on a line of its own, if it has windows."""
    head, separator, state = _split_line(line)
    members = _members(state)
    if not separator or len(members) < 2 or not all(member.value.startswith("{") for member in members):
        return line
    body = ",\n".join(f"  {member.key}: {member.value}" for member in members)
    return f"{head}{separator}{{\n{body}}}"


def name_of(line: str) -> str:
    """The tab that a line of `/tabs`, `/projection` or `/types` is about."""
    head = _split_line(line)[0]
    return head[1:].partition(", ")[0] if head.startswith("(") and ", " in head else head


def compact(text: str) -> str:
    """JSON without white space."""
    return "".join(token for token in _tokens(text) if not token.isspace())


def pretty(text: str) -> str:
    """JSON with a line for each member and element, but for what is empty."""
    tokens = [token for token in _tokens(text) if not token.isspace()]
    parts: list[str] = []
    depth = 0
    for at, token in enumerate(tokens):
        following = tokens[at + 1] if at + 1 < len(tokens) else ""
        if token in "{[" and following not in ("}", "]"):
            depth += 1
            parts.append(f"{token}\n{'  ' * depth}")
        elif token in "}]" and parts and tokens[at - 1] not in ("{", "["):
            depth = max(0, depth - 1)
            parts.append(f"\n{'  ' * depth}{token}")
        elif token == ",":
            parts.append(f",\n{'  ' * depth}")
        else:
            parts.append(": " if token == ":" else token)
    return "".join(parts)


def visible(text: str) -> str:
    """Text that cannot command a terminal: control characters, which values of gauges may hold, are written out."""
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


class _Member(NamedTuple):
    """A member of an object, as text."""

    key: str
    value: str


def _split_line(line: str) -> tuple[str, str, str]:
    """Name (or pair of names), separator, rest."""
    if line.startswith("("):
        head, separator, rest = line.partition("): ")
        return (f"{head})", ": ", rest) if separator else (line, "", "")
    return line.partition(": ")


def _tokens(text: str) -> Iterator[str]:
    """The tokens of JSON. What none begins with, as an unfinished string, is one token to the end of the text."""
    at = 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        token = found[0] if found else text[at:]
        yield token
        at += len(token)


def _members(state: str) -> list[_Member]:
    """The members of an object; none if it is no whole object."""
    tokens = list(_tokens(state.strip()))
    if len(tokens) < 3 or tokens[0] != "{" or tokens[-1] != "}":
        return []
    members, parts, depth = [], [""], 0
    for token in tokens[1:-1]:
        depth += (token in ("{", "[")) - (token in ("}", "]"))
        if depth < 0:
            return []
        if token == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += token
    for part in parts:
        found = re.match(r'\s*("(?:[^"\\]|\\.)*")\s*:\s*(.*)\Z', part, re.DOTALL)
        if found is None or depth:
            return []
        members.append(_Member(found[1], found[2].rstrip()))
    return members
