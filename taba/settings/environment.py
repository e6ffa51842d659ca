"""Settings from `TABA_*` variables of the environment. Pure: the variables are passed in.

TABA_ and a key is that setting, `TABA_DB_SETTINGS__SENTINELS` one in a section. Texts, and the names of files, stand
as they are, an empty one for null where null is allowed, and so does the only element of a list that may be given so;
numbers as in JSON; truth values as true, false, yes, no, on, off, 1 or 0; lists and objects as JSON. A section as a
whole, as JSON, takes the place of what the file says of it.

A variable that begins with TABA_ and is no setting is a mistake, unless it is a setting of the other program, server or
agent (one file of variables may serve both), or belongs to `taba-cli`, to clients or to the tests (`OTHERS`,
`OTHER_PREFIXES`). TABA_TOKEN_FILE means the same to all of them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import attrs

from taba.errors import SettingsError
from taba.settings.fields import key_of
from taba.settings.values import may_be_null, nearest, wanted_of

PREFIX = "TABA_"
BETWEEN = "__"
OF_PROGRAMS = ("SERVER", "AGENT", "CLIENT", "TOKEN", "CA_FILE")
OF_TESTS = (
    "SEED", "SEEDS", "PROFILE", "PREVIOUS", "IMAGES", "KILLS", "MUTANTS",
    "REDIS_SEEDS", "REDIS_KILLS", "REDIS_FAILOVERS",
)  # fmt: skip
OTHERS = frozenset((*OF_PROGRAMS, *OF_TESTS))
"""Names, after TABA_, of variables that other programs of Taba read."""
OTHER_PREFIXES = ("TOKEN_", "CLI_", "TEST_", "SIM_", "REDIS_SIM_", "TAKO_", "BENCH_", "MIXED_")
"""How others of them begin."""
TRUTH = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


def given_by(environment: Mapping[str, str], kind: Any, others: Iterable[Any]) -> Iterator[tuple[str, Any, Any]]:
    """What the environment says: (variable, path of keys, value as JSON has it), sections before their keys.

    `others` are the settings classes of other programs, whose variables are passed over. SettingsError for a name that
    is nobody's, or a value that cannot be read.
    """
    known, elsewhere = variables_of(kind), {name for other in others for name in variables_of(other)}
    for name in sorted(environment):
        if not name.startswith(PREFIX):
            continue
        if name in known:
            path, owner, attribute = known[name]
            yield name, path, _value(owner, attribute, environment[name], name)
        elif name not in elsewhere and not is_other(name.removeprefix(PREFIX)):
            raise SettingsError(
                f"{name} in the environment is no setting here.{_meant(name, known)}"
                " What begins with TABA_ has to be one."
            )


def variables_of(kind: Any) -> dict[str, tuple[tuple[str, ...], Any, Any]]:
    """Variable -> (path of keys, settings class, field), of all that `kind` can be told."""
    found: dict[str, tuple[tuple[str, ...], Any, Any]] = {}
    for each in attrs.fields(kind):
        key = key_of(each)
        found[PREFIX + key] = (key,), kind, each
        if each.metadata.get("section"):
            part = wanted_of(kind, each)
            for inner in attrs.fields(part):
                found[f"{PREFIX}{key}{BETWEEN}{key_of(inner)}"] = (key, key_of(inner)), part, inner
    return found


def is_other(name: str) -> bool:
    """Whether a name, after TABA_, is of a variable that other programs of Taba read."""
    return name in OTHERS or name.startswith(OTHER_PREFIXES)


def _meant(name: str, known: Iterable[str]) -> str:
    """The variable that was perhaps meant, in a sentence; the whole list would help nobody."""
    for each in known:
        if each.endswith(BETWEEN + name.removeprefix(PREFIX)):
            return f" Did you mean {each}?"
    sentence = nearest(name, known)
    return sentence if "Did you mean" in sentence else ""


def _value(kind: Any, attribute: Any, text: str, name: str) -> Any:
    """The value of a variable as JSON would have it."""
    if not text and may_be_null(kind, attribute):
        return None
    wanted = wanted_of(kind, attribute)
    if wanted is str or (attribute.metadata.get("one") and not text.lstrip().startswith("[")):
        return text
    if wanted is bool:
        if text.strip().lower() not in TRUTH:
            raise SettingsError(f"{name} in the environment: {text!r} is neither true nor false.")
        return TRUTH[text.strip().lower()]
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as problem:
        if wanted in (int, float):
            raise SettingsError(f"{name} in the environment: {text!r} is not a number.")
        raise SettingsError(f"{name} in the environment is not JSON, as lists and objects must be: {problem}.")
