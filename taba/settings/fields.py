"""How a field of a settings class says what it is: its key in files, what it means, its unit, its range."""

from __future__ import annotations

from typing import Any

import attrs
from attrs import field

MIB = 1 << 20
MOST = 1e18
"""No number of a setting is above this."""

SECONDS, MILLISECONDS, DAYS, HOURS, BYTES = "seconds", "milliseconds", "days", "hours", "bytes"

LISTEN_MEANING = "Twisted endpoint strings to listen on, in place of {0} and {1}: a list."
TOKEN_MEANING = "File of the token that clients, agents and servers share; null for none."
HANDLERS_MEANING = (
    "Type -> `package.module:Class` (or module.Class): Handlers beside those that are installed, or in their place."
)
LOG_MEANING = "How the log is written: text, or json, an object per line."
DEBUG_MEANING = "Write what only somebody who looks for a mistake wants to know to the log, too."
STOP_MEANING = (
    "How long a process that is told to end may take to bring everything to rest; then it ends all the same. Less than"
    " TimeoutStopSec of its unit."
)
INSECURE_MEANING = "Listen on other addresses than loopback without a token or TLS: for everybody."
QUEUES_MEANING = "Requests under way at a time to one server."
FLUSH_MEANING = "How often batches are sealed and sent."

LISTEN_EXAMPLE = ["ssl:8300:privateKey=key.pem:certKey=cert.pem", "unix:/run/taba.sock"]
HANDLERS_EXAMPLE = {"Histogram": "example.handlers:Histogram"}
SERVERS_EXAMPLE = ["https://taba-1.example:8300", {"host": "10.0.0.2", "port": 8300}]


def setting(
    key: str,
    meaning: str,
    default: Any,
    *,
    least: float | None = None,
    most: float = MOST,
    unit: str = "",
    empty: bool = False,
    among: tuple[str, ...] = (),
    secret: bool = False,
    example: Any = None,
    nullable: bool = False,
    one: bool = False,
) -> Any:
    """A field of a settings class; `least` and `most` are the lowest and the highest number allowed, `among` the only
    texts. Texts may not be empty, unless told; one that may be missing has the default None, or is `nullable`. What is
    `secret` is never shown. `example` is a value as JSON has it, for the reference page. A list that may be given as
    its only element is `one`.
    """
    validators: list[Any] = [] if least is None else [attrs.validators.ge(least), attrs.validators.le(most)]
    if isinstance(default, str) and not empty:
        validators.append(attrs.validators.min_len(1))
    if default is None or nullable:
        validators = [attrs.validators.optional(each) for each in validators or [attrs.validators.min_len(1)]]
    if among:
        validators.append(attrs.validators.in_(among))
    metadata = {
        "key": key, "meaning": meaning, "unit": unit, "least": least, "most": most, "among": among, "secret": secret,
        "example": example, "one": one,
    }  # fmt: skip
    if callable(default):
        return field(factory=default, validator=validators or None, metadata=metadata)
    return field(default=default, validator=validators or None, metadata=metadata)


def section(key: str, meaning: str, default: Any) -> Any:
    """A field that is a settings class of its own. `default` is that class, or None where the section may be missing:
    then it is there as soon as one of its keys is given.
    """
    metadata = {"key": key, "meaning": meaning, "section": True}
    if default is None:
        return field(default=None, metadata=metadata)
    return field(factory=default, metadata=metadata)


def key_of(attribute: Any) -> str:
    """What a file calls a field: its key, or, in an element of a list, its name."""
    return str(attribute.metadata.get("key", attribute.name))
