"""What a call comes to, in a form in which the twin's answer and the native core's compare."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs


def plain(answer: Any) -> Any:
    """An answer without its classes: values of both sides with the same parts are equal."""
    if attrs.has(type(answer)):
        return tuple(plain(part) for part in attrs.astuple(answer, recurse=False))
    if isinstance(answer, Mapping):
        return {key: plain(part) for key, part in answer.items()}
    if isinstance(answer, list | tuple):
        return [plain(part) for part in answer]
    if isinstance(answer, float):
        return answer.hex()  # so that zeros of both signs differ
    return answer


def verdict(call: Callable[..., Any], *arguments: Any) -> tuple[str, Any]:
    """`("", answer)`, or the name of the error and the line that it names."""
    try:
        return "", plain(call(*arguments))
    except Exception as error:
        return type(error).__name__, getattr(error, "line", None)
