"""Reads a settings file: JSON as the original's, or TOML where the name ends in `.toml`."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from taba.errors import SettingsError


def read_file(path: str) -> Mapping[str, Any]:
    """The object that a settings file holds. SettingsError says what is wrong with it."""
    try:
        content = Path(path).read_bytes()
    except OSError as problem:
        raise SettingsError(f"The settings file {path} cannot be read: {problem.strerror}.")
    toml = path.lower().endswith(".toml")
    try:
        text = content.decode("utf-8-sig")
        given = tomllib.loads(text) if toml else json.loads(text, object_pairs_hook=_once)
    except UnicodeDecodeError as problem:
        raise SettingsError(f"{path} is not text in UTF-8: byte {problem.start} is not.")
    except _Twice as problem:
        raise SettingsError(f"{path}: {problem}")
    except (ValueError, RecursionError) as problem:
        raise SettingsError(f"{path} is not {'TOML' if toml else 'JSON'}: {problem}.")
    if not isinstance(given, dict):
        raise SettingsError(f"{path} must hold a JSON object.")
    return given


class _Twice(Exception):
    """A key stands twice in an object: one of both would be lost without a word."""


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise _Twice(f"{key} is given twice.")
        found[key] = value
    return found
