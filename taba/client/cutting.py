"""Takes recorded events out of the lists that they were recorded to, as Blocks; and says what room they took.

A list is cut from its front, in place, by as much as was read from it in one step: what other threads add meanwhile
stays for the next time. Tabs with few events each, as a flush of many tabs has them, become columns together, which
costs a third of doing it for each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any

from taba.client.drops import VALUE, Drops
from taba.client.encoding import Block, encode_numbers, encode_payloads, encode_small

EVENT_BYTES = 72  # two places in a list and the boxes of two numbers
PAYLOAD_BYTES = EVENT_BYTES + 49  # and the head of a string, before the payload itself
TAB_BYTES = 300  # an empty list, its entry in a dict, the head of its name
BLOCK_BYTES = 260  # the objects around the columns of an encoded Block

FEW = 1000  # places in the list of a tab that is encoded with others
TOGETHER = 20_000  # places that make a round

Log = list[Any]  # time, value, time, value, ...
Cut = Callable[[str, str, Log, list[Block]], int]
"""Takes the events of a tab and adds their Blocks; the room that the events used up."""


class Cutting:
    """For the one engine. What cannot be sent is counted in `drops`."""

    __slots__ = ("_drops",)

    def __init__(self, drops: Drops) -> None:
        self._drops = drops

    def numbers(self, tab: str, type_name: str, log: Log, blocks: list[Block]) -> int:
        """A Cut of plain numbers."""
        encoded, events, left_out = encode_numbers(tab, type_name, log)
        del log[: 2 * events]
        if left_out:
            self._leave_out(tab, left_out)
        blocks += encoded
        return events * EVENT_BYTES

    def payloads(self, tab: str, type_name: str, log: Log, blocks: list[Block]) -> int:
        """A Cut of encoded payloads."""
        part = log[:]
        del log[: len(part)]
        blocks += encode_payloads(tab, type_name, part)
        return len(part) // 2 * PAYLOAD_BYTES + sum(map(len, part[1::2]))

    def all_numbers(self, type_name: str, logs: dict[str, Log], blocks: list[Block], used: set[int]) -> int:
        """Cut the numbers of all tabs of a Type; the room that they used up. The `id` of each list that had events is
        added to `used`.
        """
        freed = 0
        tabs: list[str] = []
        ends: list[int] = []
        together: Log = []
        for tab, log in list(logs.items()):  # others may add tabs
            if not log:
                continue
            used.add(id(log))
            part = log[:] if len(log) <= FEW else log
            if len(part) > FEW:  # a long list, or others have just added so much to it
                freed += self.numbers(tab, type_name, log, blocks)
                continue
            del log[: len(part)]
            together += part
            tabs.append(tab)
            ends.append(len(together))
            if len(together) > TOGETHER:
                freed += self._small(tabs, type_name, together, ends, blocks)
                tabs, ends, together = [], [], []
        return freed + self._small(tabs, type_name, together, ends, blocks)

    def all_payloads(self, type_name: str, logs: dict[str, Log], blocks: list[Block], used: set[int]) -> int:
        """The same for encoded payloads."""
        freed = 0
        for tab, log in list(logs.items()):
            if log:
                used.add(id(log))
                freed += self.payloads(tab, type_name, log, blocks)
        return freed

    def _small(self, tabs: list[str], type_name: str, together: Log, ends: list[int], blocks: list[Block]) -> int:
        encoded, left_out = encode_small(tabs, type_name, together, ends)
        for tab, events in left_out:
            self._leave_out(tab, events)
        blocks += encoded
        return len(together) // 2 * EVENT_BYTES

    def _leave_out(self, tab: str, events: int) -> None:
        self._drops.count(tab, VALUE, events, f"dropped: a value of {tab} is not finite")


def room_of(blocks: Sequence[Block]) -> int:
    """The room that Blocks use up."""
    sizes: int = sum(map(attrgetter("size"), blocks))
    return BLOCK_BYTES * len(blocks) + sizes
