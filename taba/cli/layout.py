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
    return f"{head}{separator}{expand_state(state)}" if separator else line


def expand_state(state: str) -> str:
    """A State with each of its windows on a line of its own, if it has windows."""
    found = members(state)
    if len(found) < 2 or not all(member.value.startswith("{") for member in found):
        return state
    body = ",\n".join(f"  {member.key}: {member.value}" for member in found)
    return f"{{\n{body}}}"


def head_and_state(line: str) -> tuple[str, str]:
    """What a line of `/tabs` or `/projection` is about, and the State."""
    head, _, state = _split_line(line)
    return head, state


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


class Member(NamedTuple):
    """A member of an object, as text."""

    key: str
    """With its quotes."""
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


def members(state: str) -> list[Member]:
    """The members of an object; none if it is no whole object."""
    found = []
    for part in _parts(state, "{", "}"):
        member = re.match(r'\s*("(?:[^"\\]|\\.)*")\s*:\s*(.*)\Z', part, re.DOTALL)
        if member is None:
            return []
        found.append(Member(member[1], member[2].rstrip()))
    return found


def elements(array: str) -> list[str]:
    """The elements of an array, as text; none if it is no whole array."""
    return [part.strip() for part in _parts(array, "[", "]")]


def _parts(text: str, begin: str, end: str) -> list[str]:
    """What stands between commas within a pair of brackets; nothing if the text is none, or not whole."""
    tokens = list(_tokens(text.strip()))
    if len(tokens) < 3 or tokens[0] != begin or tokens[-1] != end:
        return []
    parts, depth = [""], 0
    for token in tokens[1:-1]:
        depth += (token in ("{", "[")) - (token in ("}", "]"))
        if depth < 0:
            return []
        if token == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += token
    return [] if depth else parts
