"""What be writes to one shard: checkpoints, as many in one guarded transaction as leave it small.

The keys that decide are watched; taba_guard judges each checkpoint, and says what is there of the States it changes;
only when that was answered does the transaction go out. When somebody changed a watched key meanwhile, nothing of it
happens, and each checkpoint is tried again by itself, so that one bad vbucket does not keep the others from being
written.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

from attrs import define, field
from twisted.internet.defer import DeferredLock

from taba.errors import LocalProtocolError
from taba.interfaces import Checkpoint, Written
from taba.store.judge import name_taken, names_to_be_free, own_ledger
from taba.store.limits import Limits
from taba.store.redis import rows
from taba.store.redis.aside import set_aside_commands
from taba.store.redis.asking import Command, ask_all, unavailable
from taba.store.redis.keys import (
    AGGREGATES,
    CLIENTS,
    ENTRIES,
    LEASE,
    LEDGER,
    LOG,
    MARKERS,
    POSITION,
    TYPES,
    Keys,
)
from taba.store.redis.link import Link, RedisRefused
from taba.store.redis.shard import Shard

FIELDS_PER_COMMAND = 1000
NAMES_PER_CALL = 2000
"""How many States one call asks for."""
TRANSACTION_BYTES = 8 << 20
"""About how many bytes of values one transaction writes, or those of one checkpoint: it has to be answered in the time
of one call.
"""
KNOWN_NAMES = 250_000
"""How many States and tabs of one shard are known to be there, at most; each takes some 100 bytes of memory."""

Present = Mapping[tuple[str, str], bool]
"""(tab, client) -> whether there is a State."""


@define(eq=False)
class Known:
    """The States and tabs of a vbucket that are known to be in the store, so that nobody has to ask again whether a
    checkpoint makes them. Hashes, not names: a State more or less in the count of a client's tabs, once in 2**40 of
    them, is worth the room.
    """

    states: set[int] = field(factory=set)
    tabs: set[str] = field(factory=set)

    @property
    def names(self) -> int:
        """How much it is."""
        return len(self.states) + len(self.tabs)


@define(eq=False)
class _Looked:
    """What is there before some checkpoints are written; by the id() of each of them."""

    answers: list[Written]
    """Of taba_guard, in order."""
    present: dict[int, dict[tuple[str, str], bool]] = field(factory=dict)
    """(tab, client) -> whether there is a State, of those of which that was not known."""
    taken: dict[int, list[str]] = field(factory=dict)
    """The names that are to be given to tabs, and are not free."""


@define(eq=False)
class Checkpoints:
    """The checkpoints of one process on one shard."""

    _shard: Shard
    _keys: Keys
    _limits: Limits
    _ttl: Mapping[int, float]
    """The seconds that a written checkpoint prolongs the lease of its vbucket by."""
    _known_names: int = field(default=KNOWN_NAMES, kw_only=True)
    _known: dict[int, Known] = field(factory=dict, init=False)
    """By vbucket; those that were written last are at the end."""
    _lock: DeferredLock = field(factory=DeferredLock, init=False)
    """WATCH is of the connection: transactions must not mix."""

    def forget(self, vbucket: int) -> None:
        """Somebody else may have written this vbucket, or will."""
        self._known.pop(vbucket, None)

    async def write(self, checkpoints: Sequence[Checkpoint]) -> list[Written]:
        """See `IStore.checkpoint`."""
        await self._lock.acquire()
        try:
            return await self._write(checkpoints)
        except BaseException:
            for each in checkpoints:
                self.forget(each.lease.vbucket)
            raise
        finally:
            self._lock.release()

    async def _write(self, checkpoints: Sequence[Checkpoint]) -> list[Written]:
        written: list[Written] = []
        for together in _transactions(checkpoints):
            answers = await self._try(together)
            written += [
                answer or (await self._try([each]))[0] or Written.STALE
                for each, answer in zip(together, answers, strict=True)
            ]
        return written

    async def _try(self, checkpoints: Sequence[Checkpoint]) -> list[Written | None]:
        """Write what may be written in one transaction; None for what a watched key that changed kept from it."""
        link = self._shard.link("be")
        looked = await self._look(link, checkpoints)
        answers: list[Written | None] = list(looked.answers)
        good = [each for each, answer in zip(checkpoints, answers, strict=True) if answer is Written.DONE]
        for each, answer in zip(checkpoints, answers, strict=True):
            if answer is not Written.DONE:
                self.forget(each.lease.vbucket)
        taken = [name for each in good for name in looked.taken.get(id(each), ())]
        if taken or not good:
            await ask_all(self._shard, link, [("UNWATCH",)])
        if taken:
            raise LocalProtocolError(name_taken(taken[0]))
        if not good:
            return answers
        commands = [command for each in good for command in self._commands(each, looked.present.get(id(each), {}))]
        if not await self._execute(link, commands):
            return [None if answer is Written.DONE else answer for answer in answers]
        for each in good:
            self._learn(each)
        return answers

    async def _look(self, link: Link, checkpoints: Sequence[Checkpoint]) -> _Looked:
        """Watch the keys that decide, and see what may be written, and what is there of it."""
        unsure = [(each, self._unsure(each)) for each in checkpoints]
        asked = [(each, part) for each, names in unsure for part in _by_tab(names, NAMES_PER_CALL)]
        renaming = [(each, names_to_be_free(each.renames)) for each in checkpoints if each.renames]
        watched = [self._keys.of(letter, v) for v in _vbuckets(checkpoints) for letter in (MARKERS, LEASE, POSITION)]
        commands = [
            ("WATCH", *watched),
            self._guard(checkpoints),
            *(self._present(each, part) for each, part in asked),
            # T lists every tab that there is.
            *(("HMGET", self._keys.of(TYPES, each.lease.vbucket), *names) for each, names in renaming),
        ]
        _, answers, *found = await ask_all(self._shard, link, commands)
        looked = _Looked([Written(answer.decode()) for answer in answers])
        for (each, part), digits in zip(asked, found[: len(asked)], strict=True):
            names = [(tab, client) for tab, clients in part.items() for client in clients]
            present = looked.present.setdefault(id(each), {})
            present.update(zip(names, (digit == ord("1") for digit in digits), strict=True))
        for (each, free), types in zip(renaming, found[len(asked) :], strict=True):
            looked.taken[id(each)] = [tab for tab, name in zip(free, types, strict=True) if name is not None]
        return looked

    async def _execute(self, link: Link, commands: Sequence[Command]) -> bool:
        """Whether the transaction was done."""
        *_, replies = await ask_all(self._shard, link, [("MULTI",), *commands, ("EXEC",)])
        for reply in replies or ():
            if isinstance(reply, RedisRefused):  # the rest of the transaction was done: it must be loaded again
                raise unavailable(self._shard, link, reply)
        return replies is not None

    # ------------------------------------------------------------------------------------------ what is asked first

    def _guard(self, checkpoints: Sequence[Checkpoint]) -> Command:
        of = self._keys.of
        keys = [of(letter, v) for v in _vbuckets(checkpoints) for letter in (MARKERS, LEASE, POSITION, ENTRIES)]
        arguments = [
            argument
            for each in checkpoints
            for argument in (
                rows.lease_value(each.lease),
                each.lineage,
                rows.position_value(each.expected, each.lease.epoch),
                each.position.folded,
            )
        ]
        return "FCALL", "taba_guard", len(keys), *keys, *arguments

    def _unsure(self, checkpoint: Checkpoint) -> list[tuple[str, str]]:
        """The names of those States of which it matters, and is not known, whether they are there."""
        known = self._known.get(checkpoint.lease.vbucket)
        seen = known.states if known is not None else ()
        return [name for name, state in checkpoint.states.items() if state is None or hash(name) not in seen]

    def _present(self, checkpoint: Checkpoint, names: Mapping[str, Sequence[str]]) -> Command:
        keys = [self._keys.states(checkpoint.lease.vbucket, tab) for tab in names]
        arguments = [argument for clients in names.values() for argument in (len(clients), *clients)]
        return "FCALL", "taba_present", len(keys), *keys, *arguments

    def _learn(self, checkpoint: Checkpoint) -> None:
        vbucket = checkpoint.lease.vbucket
        if checkpoint.renames:  # States that were known by their names have others now
            self.forget(vbucket)
            return
        known = self._known[vbucket] = self._known.pop(vbucket) if vbucket in self._known else Known()
        known.states.update(hash(name) for name, state in checkpoint.states.items() if state is not None)
        known.states.difference_update(hash(name) for name, state in checkpoint.states.items() if state is None)
        known.tabs.update(_tabs(checkpoint))
        known.tabs.difference_update(_shrunk(checkpoint))
        while sum(each.names for each in self._known.values()) > self._known_names:
            self.forget(next(iter(self._known)))

    # ------------------------------------------------------------------------------------------- what is written then

    def _commands(self, checkpoint: Checkpoint, present: Present) -> list[Command]:
        """All of one checkpoint."""
        vbucket = checkpoint.lease.vbucket
        commands = [
            *self._states(vbucket, checkpoint.states),
            *self._known_states(vbucket, checkpoint.known),
            *_set_and_delete(self._keys.of(AGGREGATES, vbucket), checkpoint.aggregates),
            *self._types(checkpoint),
            *self._clients(vbucket, checkpoint.states, present),
            *self._tidy(checkpoint),
            *self._renames(checkpoint),
            *set_aside_commands(self._keys, checkpoint, self._limits),
        ]
        return commands + self._position(checkpoint)

    def _states(self, vbucket: int, states: Mapping[tuple[str, str], bytes | None]) -> list[Command]:
        by_tab: dict[str, dict[str, bytes | None]] = {}
        for (tab, client), state in states.items():
            by_tab.setdefault(tab, {})[client] = state
        return [
            command
            for tab, clients in by_tab.items()
            for command in _set_and_delete(self._keys.states(vbucket, tab), clients)
        ]

    def _known_states(self, vbucket: int, known: Sequence[tuple[str, Sequence[tuple[str, bytes]]]]) -> list[Command]:
        """HSET, some fields at a time."""
        commands: list[Command] = []
        for tab, states in known:
            key = self._keys.states(vbucket, tab)
            for start in range(0, len(states), FIELDS_PER_COMMAND):
                commands.append(("HSET", key, *chain.from_iterable(states[start : start + FIELDS_PER_COMMAND])))
        return commands

    def _types(self, checkpoint: Checkpoint) -> list[Command]:
        """Types, and a row without Type for tabs that have none."""
        vbucket = checkpoint.lease.vbucket
        key = self._keys.of(TYPES, vbucket)
        named = {tab: name.encode() for tab, name in checkpoint.types.items() if name is not None}
        known = self._known.get(vbucket)
        seen = known.tabs if known is not None else ()
        bare = [tab for tab in _tabs(checkpoint) if tab not in named and tab not in seen]
        return [*_set_and_delete(key, named), *(("HSETNX", key, tab, b"") for tab in bare)]

    def _clients(
        self, vbucket: int, states: Mapping[tuple[str, str], bytes | None], present: Present
    ) -> list[Command]:
        """How many States more or less each client has."""
        change: Counter[str] = Counter()
        for (tab, client), state in states.items():
            if state is None:
                change[client] -= present[tab, client]
            elif not present.get((tab, client), True):
                change[client] += 1
        arguments = [argument for client, more in change.items() if more for argument in (client, more)]
        if not arguments:
            return []
        return [("FCALL", "taba_count_clients", 1, self._keys.of(CLIENTS, vbucket), *arguments)]

    def _tidy(self, checkpoint: Checkpoint) -> list[Command]:
        """Tabs of which something went may have nothing left."""
        vbucket = checkpoint.lease.vbucket
        gone = {tab for tab, name in checkpoint.types.items() if name is None}
        tabs = list(_shrunk(checkpoint))
        if not tabs:
            return []
        keys = [self._keys.of(TYPES, vbucket), self._keys.of(AGGREGATES, vbucket)]
        keys += [self._keys.states(vbucket, tab) for tab in tabs]
        arguments = [argument for tab in tabs for argument in (tab, int(tab in gone))]
        return [("FCALL", "taba_tidy", len(keys), *keys, *arguments)]

    def _renames(self, checkpoint: Checkpoint) -> list[Command]:
        """One call for each; by now the names are known to be free."""
        vbucket, keys = checkpoint.lease.vbucket, self._keys
        first = keys.of(TYPES, vbucket), keys.of(AGGREGATES, vbucket)
        return [
            ("FCALL", "taba_rename", 4, *first, keys.states(vbucket, old), keys.states(vbucket, new), old, new)
            for old, new in checkpoint.renames.items()
        ]

    def _position(self, checkpoint: Checkpoint) -> list[Command]:
        """Position, ledger, lease; and the log without what is folded."""
        lease, of = checkpoint.lease, self._keys.of
        commands: list[Command] = [
            ("SET", of(POSITION, lease.vbucket), rows.position_value(checkpoint.position, lease.epoch)),
            ("HSET", of(LEDGER, lease.vbucket), "row", rows.ledger_value(own_ledger(checkpoint))),
            ("PEXPIRE", of(LEASE, lease.vbucket), max(1, round(self._ttl.get(lease.vbucket, 2.0) * 1000))),
        ]
        folded = checkpoint.position.folded
        if folded > checkpoint.expected.folded:
            commands.append(("XTRIM", of(LOG, lease.vbucket), "MINID", rows.log_id(folded + 1)))
            commands.append(("LTRIM", of(ENTRIES, lease.vbucket), folded - checkpoint.expected.folded, -1))
        return commands


def _transactions(checkpoints: Sequence[Checkpoint]) -> list[list[Checkpoint]]:
    """Checkpoints, in their order, in runs that one transaction writes: about TRANSACTION_BYTES, and each vbucket once,
    because one checkpoint of a vbucket stands on top of another.
    """
    runs: list[list[Checkpoint]] = []
    size = 0
    seen: set[int] = set()
    for each in checkpoints:
        values = (*each.states.values(), *each.aggregates.values(), *(aside.partial for aside in each.set_aside))
        length = sum(len(value) for value in values if value is not None)
        length += sum(len(state) for _, states in each.known for _, state in states)
        if not runs or size + length > TRANSACTION_BYTES or each.lease.vbucket in seen:
            runs.append([])
            size = 0
            seen.clear()
        runs[-1].append(each)
        size += length
        seen.add(each.lease.vbucket)
    return runs


def _vbuckets(checkpoints: Sequence[Checkpoint]) -> list[int]:
    return [each.lease.vbucket for each in checkpoints]


def _tabs(checkpoint: Checkpoint) -> dict[str, None]:
    """The tabs that have something after a checkpoint, in its order."""
    kept = [tab for (tab, _), state in checkpoint.states.items() if state is not None]
    kept += [tab for tab, aggregate in checkpoint.aggregates.items() if aggregate is not None]
    return dict.fromkeys(kept + [tab for tab, name in checkpoint.types.items() if name is not None])


def _shrunk(checkpoint: Checkpoint) -> dict[str, None]:
    """The tabs of which a checkpoint deletes something, in its order."""
    gone = [tab for (tab, _), state in checkpoint.states.items() if state is None]
    gone += [tab for tab, aggregate in checkpoint.aggregates.items() if aggregate is None]
    return dict.fromkeys(gone + [tab for tab, name in checkpoint.types.items() if name is None])


def _set_and_delete(key: bytes, values: Mapping[str, bytes | None]) -> list[Command]:
    """HSET and HDEL, some fields at a time."""
    kept = [(field_name, value) for field_name, value in values.items() if value is not None]
    gone = [field_name for field_name, value in values.items() if value is None]
    commands: list[Command] = []
    for start in range(0, len(kept), FIELDS_PER_COMMAND):
        flat: list[Any] = [each for pair in kept[start : start + FIELDS_PER_COMMAND] for each in pair]
        commands.append(("HSET", key, *flat))
    for start in range(0, len(gone), FIELDS_PER_COMMAND):
        commands.append(("HDEL", key, *gone[start : start + FIELDS_PER_COMMAND]))
    return commands


def _by_tab(names: Iterable[tuple[str, str]], size: int) -> list[dict[str, list[str]]]:
    """Names in runs of `size`, by tab."""
    parts: list[dict[str, list[str]]] = []
    count = size
    for tab, client in names:
        if count >= size:
            parts.append({})
            count = 0
        parts[-1].setdefault(tab, []).append(client)
        count += 1
    return parts
