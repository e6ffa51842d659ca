"""Handlers as others write them, sound ones and such that cannot be used; the tests of loading name them by place."""

from __future__ import annotations

import json
import struct
from collections import Counter
from collections.abc import Sequence
from typing import Any

from taba import native
from taba.handlers.counter_group import CounterGroup
from taba.handlers.custom import Event, PythonHandler
from taba.interfaces import Style


class Longest(PythonHandler[tuple[int, str]]):
    """The longest text, the first in alphabetical order of equals, and how many there were."""

    name = "Longest"

    def empty(self) -> tuple[int, str]:
        """None."""
        return 0, ""

    def add(self, value: tuple[int, str], event: Event) -> tuple[int, str]:
        """Any text; TypeError for another value."""
        if not isinstance(event.value, str):
            raise TypeError(f"{event.value!r} is no text")
        return self.join(value, (1, event.value))

    def join(self, one: tuple[int, str], other: tuple[int, str]) -> tuple[int, str]:
        """The longer one."""
        return one[0] + other[0], min(one[1], other[1], key=lambda text: (-len(text), text))

    def encode(self, value: tuple[int, str]) -> bytes:
        """Count and text."""
        return struct.pack("<Q", value[0]) + value[1].encode()

    def decode(self, data: bytes, version: int) -> tuple[int, str]:
        """The same back."""
        return struct.unpack_from("<Q", data)[0], data[8:].decode()

    def show(self, value: tuple[int, str], time: float, style: Style) -> Any:
        """Both."""
        return {"longest": value[1], "of": value[0]} if style is Style.DETAILED else value[1]


class LongestAgain(Longest):
    """Version 2: the text comes first."""

    version = 2

    def encode(self, value: tuple[int, str]) -> bytes:
        """Text and count."""
        return value[1].encode() + struct.pack("<Q", value[0])

    def decode(self, data: bytes, version: int) -> tuple[int, str]:
        """Of both versions."""
        if version == 1:
            return super().decode(data, version)
        return struct.unpack("<Q", data[-8:])[0], data[:-8].decode()


class Latest(PythonHandler[dict[str, Any]]):
    """The latest value for a minute; of several clients the number that shows each: a Type that is not a sum."""

    name = "Latest"
    running_aggregate = False
    shape = native.RAW_NUMBER

    def empty(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def add(self, value: dict[str, Any], event: Event) -> dict[str, Any]:
        """The later one."""
        return self.join(value, {"by": [event.time, event.stamp, event.payload.decode()], "shown": {}})

    def join(self, one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
        """Of one client."""
        return max(one, other, key=lambda each: each.get("by", []))

    def join_clients(self, one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
        """All values of all clients."""
        return {"all": sorted([*self._all(one), *self._all(other)])}

    def _all(self, value: dict[str, Any]) -> list[Any]:
        by = [value["by"]] if "by" in value else []
        return [*value.get("all", []), *by]

    def encode(self, value: dict[str, Any]) -> bytes:
        """Readable."""
        return repr(sorted(value.items())).encode()

    def decode(self, data: bytes, version: int) -> dict[str, Any]:
        """The same back."""
        import ast

        return dict(ast.literal_eval(data.decode()))

    def show(self, value: dict[str, Any], time: float, style: Style) -> Any:
        """The payloads, sorted."""
        return [payload for since, _, payload in self._all(value) if since + 60 > time]

    def is_over(self, value: dict[str, Any], time: float) -> bool:
        """A minute after the last."""
        return not self.show(value, time, Style.TEXT)


class Seen(PythonHandler[Counter[str]]):
    """How often each text came: what was lost or counted twice shows. TypeError for another value."""

    name = "Seen"

    def empty(self) -> Counter[str]:
        """None."""
        return Counter()

    def add(self, value: Counter[str], event: Event) -> Counter[str]:
        """Once more."""
        return value + Counter([event.value + ""])

    def join(self, one: Counter[str], other: Counter[str]) -> Counter[str]:
        """Of both."""
        return one + other

    def encode(self, value: Counter[str]) -> bytes:
        """Sorted."""
        return json.dumps(sorted(value.items())).encode()

    def decode(self, data: bytes, version: int) -> Counter[str]:
        """The same back."""
        return Counter(dict(json.loads(data)))

    def show(self, value: Counter[str], time: float, style: Style) -> Any:
        """All of it."""
        return value


class Better(CounterGroup):
    """In the place of CounterGroup."""


class Renamed(Longest):
    """Says another name than it is looked for under."""

    name = "Other"


class Reserved(Longest):
    """Has a name that is Taba's."""

    name = "taba.delete"


class Choosy(Longest):
    """Cannot be made."""

    name = "Choosy"

    def __init__(self, taste: str) -> None:
        self.taste = taste


class Counting(Longest):
    """Of a kind that agents would not send."""

    name = "Counting"
    kind = native.COUNTER_GROUP


class Shapeless(Longest):
    """Asks for payloads of no shape there is."""

    name = "Shapeless"
    shape = 77


class Undecided(Longest):
    """Neither runs nor does not."""

    name = "Undecided"
    running_aggregate: Any = None


class Unversioned(Longest):
    """Of no version."""

    name = "Unversioned"
    version: Any = "1"


class Halved:
    """Lacks methods and attributes."""

    name = "Halved"
    kind = native.RAW

    def fold(self, state: bytes, partials: Sequence[bytes]) -> bytes:
        """The only one."""
        return state


class Misfit(Longest):
    """A method that cannot be called as it will be, and another that is none."""

    name = "Misfit"

    def merge(self, older: bytes) -> bytes:  # type: ignore[override]
        """One too few."""
        return older


class Mute(Longest):
    """A method that is none."""

    name = "Mute"
    newest: Any = 5


NO_CLASS = Longest()
