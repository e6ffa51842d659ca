"""JSON as a tree that knows where each value stands in its text, for what is kept as it was sent."""

from __future__ import annotations

from attrs import Factory, define

from tests.twin import json_text
from tests.twin.json_text import Json, Token

DEEPEST = 1024  # arrays and objects within each other


@define
class Node:
    """A value: `kind` is "array", "object", "string", "number" or "word"; `start` and `end` bound its text."""

    kind: str
    start: int
    end: int = 0
    value: Json = None
    text: str = ""
    """Of a scalar."""
    items: list[Node] = Factory(list)
    """Of an array its elements, of an object its members' values;"""
    names: list[str] = Factory(list)
    """and their names."""


def read(text: str) -> Node:
    """The one value that is all of `text`. NotJson; TooDeep beyond DEEPEST."""
    tokens = json_text.parse(text, DEEPEST).tokens
    outside = Node("array", 0)
    open_nodes = [outside]
    for i, token in enumerate(tokens):
        inside = open_nodes[-1]
        if token.text in "[{" and token.kind == "mark":
            node = Node("array" if token.text == "[" else "object", token.offset)
            inside.items.append(node)
            open_nodes.append(node)
        elif token.text in "]}" and token.kind == "mark":
            open_nodes.pop().end = token.offset + 1
        elif token.kind != "mark":
            _place(inside, token, is_name=i + 1 < len(tokens) and tokens[i + 1].text == ":")
    return outside.items[0]


def _place(inside: Node, token: Token, is_name: bool) -> None:
    value = token.value()
    if is_name and inside.kind == "object":
        assert isinstance(value, str)
        inside.names.append(value)
    else:
        inside.items.append(Node(token.kind, token.offset, token.offset + len(token.text), value, token.text))
