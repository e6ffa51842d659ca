"""JSON by RFC 8259 and nothing more: the grammar as a regular expression for tokens and a stack for nesting.

Python's own `json` takes NaN, lone surrogates and a little else, and counts no depth. Strings come back as Unicode
text in which a lone surrogate escape stands for U+FFFD; numbers as the nearest double, which may be infinite.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from attrs import frozen

BLANKS = " \t\n\r"  # white space

_TOKEN = re.compile(
    r"""[ \t\n\r]*(?:
        (?P<mark> [\[\]{},:] )
      | (?P<string> "(?: [^"\\\x00-\x1f] | \\["\\/bfnrt] | \\u[0-9a-fA-F]{4} )*" )
      | (?P<number> -?(?: 0 | [1-9][0-9]* )(?: \.[0-9]+ )?(?: [eE][+-]?[0-9]+ )? )
      | (?P<word> true | false | null )
    )""",
    re.VERBOSE,
)
ESCAPE = re.compile(
    r"\\u(?P<high>[dD][89abAB][0-9a-fA-F]{2})\\u(?P<low>[dD][c-fC-F][0-9a-fA-F]{2})|\\u(?P<unit>[0-9a-fA-F]{4})|\\(?P<short>.)"
)
_SHORT = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_WORDS = {"true": True, "false": False, "null": None}
_REPLACEMENT = "\ufffd"

Json = None | bool | float | str | list["Json"] | dict[str, "Json"]


class NotJson(Exception):
    """The text is not one JSON value."""


class TooDeep(Exception):
    """The text nests deeper than allowed, and was JSON as far as that."""


@frozen
class Token:
    """One piece of JSON: a mark, a string in its quotes, a number or a word."""

    kind: str
    text: str
    offset: int = 0
    """Where it begins in the text."""

    def value(self) -> Json:
        """What a string, number or word stands for."""
        if self.kind == "string":
            return ESCAPE.sub(unescaped, self.text[1:-1])
        return float(self.text) + 0.0 if self.kind == "number" else _WORDS[self.text]


def unescaped(match: re.Match[str]) -> str:
    """The character that an escape stands for."""
    if match["high"]:
        return chr(0x10000 + (int(match["high"], 16) - 0xD800 << 10) + int(match["low"], 16) - 0xDC00)
    if match["unit"]:
        unit = int(match["unit"], 16)
        return _REPLACEMENT if 0xD800 <= unit < 0xE000 else chr(unit)
    return _SHORT.get(match["short"], match["short"])


def tokens(text: str) -> Iterator[Token]:
    """The tokens of a text, to its end. NotJson at what is none."""
    offset, end = 0, len(text.rstrip(BLANKS))
    while offset < end:
        match = _TOKEN.match(text, offset)
        if match is None:
            raise NotJson(f"no token at {offset}")
        kind = match.lastgroup
        assert kind is not None
        yield Token(kind, match[kind], match.start(kind))
        offset = match.end()


@frozen
class Document:
    """A whole JSON text: its value, its tokens, and whether every number in it is finite."""

    value: Json
    tokens: tuple[Token, ...]

    def is_finite(self) -> bool:
        """Whether every number is a finite double."""
        return all(math.isfinite(float(token.text)) for token in self.tokens if token.kind == "number")


def parse(text: str, max_depth: int | None = None) -> Document:
    """The one JSON value that is all of `text`. NotJson; TooDeep when more than `max_depth` are open."""
    builder = _Builder(max_depth)
    seen = []
    for token in tokens(text):
        seen.append(token)
        builder.take(token)
    return Document(builder.result(), tuple(seen))


class _Builder:
    """Takes tokens and builds the value; knows at each moment which tokens may come."""

    def __init__(self, max_depth: int | None) -> None:
        self._max_depth = max_depth
        self._open: list[tuple[list[Json] | dict[str, Json], str]] = []  # each with the key that it itself stands under
        self._key = ""
        self._root: list[Json] = []
        self._may_come = self._value

    def take(self, token: Token) -> None:
        """The next token."""
        self._may_come(token)

    def result(self) -> Json:
        """The value, once it is whole."""
        if self._open or not self._root:
            raise NotJson("cut short")
        return self._root[0]

    def _value(self, token: Token) -> None:
        if token.text == "[" or token.text == "{":
            if self._max_depth is not None and len(self._open) >= self._max_depth:
                raise TooDeep(f"more than {self._max_depth} levels")
            self._open.append(([] if token.text == "[" else {}, self._key))
            self._may_come = self._first_item if token.text == "[" else self._first_key
        elif token.kind == "mark":
            raise NotJson(f"{token.text} where a value should stand")
        else:
            self._place(token.value())

    def _first_item(self, token: Token) -> None:
        if token.text == "]":
            self._close()
        else:
            self._value(token)

    def _first_key(self, token: Token) -> None:
        if token.text == "}":
            self._close()
        else:
            self._name(token)

    def _name(self, token: Token) -> None:
        name = token.value() if token.kind == "string" else None
        if not isinstance(name, str):
            raise NotJson(f"{token.text} where a name should stand")
        self._key = name
        self._may_come = self._colon

    def _colon(self, token: Token) -> None:
        if token.text != ":":
            raise NotJson(f"{token.text} where a colon should stand")
        self._may_come = self._value

    def _next(self, token: Token) -> None:
        inside = self._open[-1][0]
        if token.text == ",":
            self._may_come = self._value if isinstance(inside, list) else self._name
        elif token.text == ("]" if isinstance(inside, list) else "}"):
            self._close()
        else:
            raise NotJson(f"{token.text} after an item")

    def _nothing(self, token: Token) -> None:
        raise NotJson(f"{token.text} after the end")

    def _close(self) -> None:
        closed, self._key = self._open.pop()
        self._place(closed)

    def _place(self, value: Json) -> None:
        if not self._open:
            self._root.append(value)
            self._may_come = self._nothing
            return
        inside = self._open[-1][0]
        if isinstance(inside, list):
            inside.append(value)
        else:
            inside[self._key] = value
        self._may_come = self._next
