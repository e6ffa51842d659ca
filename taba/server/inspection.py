"""What can be asked of a server beside the tabs: ids, servers, latencies, graves, the ledger, where events are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.web.resource import Resource
from twisted.web.server import Request

from taba import native
from taba.errors import CodecError
from taba.handlers.registry import Registry
from taba.interfaces import IStore, SetAside, Style
from taba.server.admin import ASIDE_LIMIT, chosen_aside, iso
from taba.server.answering import PacedAnswer
from taba.server.asking import refusing, style_of, values_in
from taba.server.latency import Latencies
from taba.server.notes import graves
from taba.server.operations import vbucket_of
from taba.server.parameters import ParameterError, Parameters
from taba.server.publishing import Publishing
from taba.server.query import Query
from taba.web.answers import JSON, TEXT, Leaf, write_json, write_text

READ_BYTES = 4 << 20
"""What one read of a log asks for."""


def id_of(name: str) -> int:
    """The id of a name: 53 bits that follow from it, the same on every server and in every store."""
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "big") >> 11


class InspectionResources:
    """The endpoints over one store. `undo_seconds` is for how long a deletion can be undone."""

    def __init__(
        self,
        store: IStore,
        query: Query,
        registry: Registry,
        publishing: Publishing,
        clock: IReactorTime,
        undo_seconds: float = 86_400.0,
    ) -> None:
        self._store = store
        self._query = query
        self._registry = registry
        self._publishing = publishing
        self._clock = clock
        self._undo_seconds = undo_seconds

    def leaves(self) -> dict[str, Resource]:
        """Path -> resource."""
        answers = {
            "ids": self.ids,
            "servers": self.servers,
            "latency": self.latency,
            "deleted": self.deleted,
            "aside": self.aside,
            "where": self.where,
            "ledger": self.ledger,
        }
        return {path: Leaf(get=refusing(answer), post=refusing(answer)) for path, answer in answers.items()}

    # ------------------------------------------------------------------------------------------ as the original

    async def ids(self, request: Request) -> None:
        """`Names:`, a line `  NAME: ID` for each, `Clients:`, the same; or an object of both."""
        values_in(request, ())
        style = style_of(request)
        everything = Parameters()
        if style is Style.TEXT:
            answer = PacedAnswer(request, TEXT, self._clock)
            answer.write("Names:\n")
            await self._query.names(everything, lambda name: answer.write(f"  {name}: {id_of(name)}\n"))
            answer.write("Clients:\n")
            await self._query.clients(everything, lambda name: answer.write(f"  {name}: {id_of(name)}\n"))
            answer.end()
            return
        answer = PacedAnswer(request, JSON, self._clock)
        ids = _Objects(answer)
        ids.begin('{"names": {')
        await self._query.names(everything, ids.add)
        ids.begin('}, "clients": {')
        await self._query.clients(everything, ids.add)
        answer.end("}}")

    async def servers(self, request: Request) -> None:
        """`NAME: ['be', 'fe']` per line, or an object of lists."""
        values_in(request, ())
        members = await self._publishing.members()
        roles = {name: [str(role) for role in facts.get("roles", ())] for name, facts in members.items()}
        if style_of(request) is Style.TEXT:
            write_text(request, "".join(f"{name}: {each}\n" for name, each in roles.items()))
        else:
            write_json(request, roles)

    async def latency(self, request: Request) -> None:
        """`cluster_aggregate`, `enqueue_avg` and `processed_avg`, in seconds."""
        values_in(request, ())
        means = Latencies.of((await self._publishing.members()).values())
        shown = {
            "cluster_aggregate": means.cluster,
            "enqueue_avg": means.enqueue,
            "processed_avg": means.processed,
        }
        if style_of(request) is Style.TEXT:
            write_text(request, "".join(f"{name}: {seconds}\n" for name, seconds in shown.items()))
        else:
            write_json(request, shown)

    # ------------------------------------------------------------------------------------------ operations

    async def deleted(self, request: Request) -> None:
        """`NAME: deleted TIME, can be undone until TIME` per deletion; or {"NAME": [seconds, ...]}."""
        values = values_in(request, ("name", "re"))
        choice = Parameters(name=values.get("name"), regular="re" in values).tabs()
        found = {
            tab: [milliseconds / 1e3 for milliseconds in times]
            for tab, times in graves(await self._store.tabs()).items()
            if choice is None or choice.takes(tab)
        }
        if style_of(request) is Style.TEXT:
            lines = [
                f"{tab}: deleted {iso(seconds)}, can be undone until {iso(seconds + self._undo_seconds)}\n"
                for tab, times in found.items()
                for seconds in times
            ]
            write_text(request, "".join(lines))
        else:
            write_json(request, found)

    async def aside(self, request: Request) -> None:
        """`ID: REASON, tab TAB, client CLIENT, Type TYPE, N events, N bytes` per line, the newest first; or a list."""
        values = values_in(request, ("reason", "type", "tab"))
        found = chosen_aside(await self._store.aside(ASIDE_LIMIT), values)
        if style_of(request) is Style.TEXT:
            write_text(request, "".join(f"{_described(each)}\n" for each in found))
        else:
            write_json(request, [_listed(each) for each in found])

    async def ledger(self, request: Request) -> None:
        """`LINE: COUNT` per line, or an object."""
        values_in(request, ())
        ledger: Mapping[str, int] = await self._store.ledger()
        if style_of(request) is Style.TEXT:
            write_text(request, "".join(f"{line}: {ledger[line]}\n" for line in sorted(ledger)))
        else:
            write_json(request, {line: ledger[line] for line in sorted(ledger)})

    # ------------------------------------------------------------------------------------------ /where

    async def where(self, request: Request) -> None:
        """The newest event of a client in a tab: in its State, and in what waits in the log."""
        values = values_in(request, ("name", "client"))
        tab, client = values.get("name"), values.get("client")
        if not tab or not client:
            raise ParameterError("Which events? Ask for /where?name=TAB&client=CLIENT.")
        vbucket = vbucket_of(tab, self._store.cluster.vbuckets)
        found = {
            "name": tab,
            "client": client,
            "state": await self._newest_in_state(vbucket, tab, client),
            "log": await self._newest_in_log(vbucket, tab, client),
            "vbucket": vbucket,
        }
        if style_of(request) is Style.TEXT:
            shown = ((name, "none" if value is None else value) for name, value in found.items())
            write_text(request, "".join(f"{name}: {value}\n" for name, value in shown))
        else:
            write_json(request, found)

    async def _newest_in_state(self, vbucket: int, tab: str, client: str) -> float | None:
        types = await self._store.tabs(frozenset((tab,)))
        handler = self._registry.get(types.get(tab, ""))
        state = (await self._store.states(vbucket, [(tab, client)])).get((tab, client))
        if handler is None or not state:
            return None
        try:
            return handler.newest(state)
        except CodecError:
            return None

    async def _newest_in_log(self, vbucket: int, tab: str, client: str) -> float | None:
        after, newest = 0, None
        while entries := await self._store.read({vbucket: after}, READ_BYTES, 0.0):
            for entry in entries:
                after = entry.id
                try:
                    for name, who, _, _, _, first, _, time in native.batch_partials(entry.body):
                        if (name, who) == (tab, client) and first >= 0:
                            newest = time if newest is None else max(newest, time)
                except CodecError:
                    continue
        return newest


class _Objects:
    """The members of objects that follow one another."""

    def __init__(self, answer: PacedAnswer) -> None:
        self._answer = answer
        self._between = ""

    def begin(self, text: str) -> None:
        self._answer.write(text)
        self._between = ""

    def add(self, name: str) -> Any:
        between, self._between = self._between, ", "
        return self._answer.write(f"{between}{json.dumps(name, ensure_ascii=False)}: {id_of(name)}")


def _listed(each: SetAside) -> dict[str, Any]:
    return {
        "id": each.id,
        "vbucket": each.vbucket,
        "reason": each.reason,
        "tab": each.tab,
        "client": each.client,
        "type": each.type,
        "events": each.events,
        "bytes": len(each.partial),
    }


def _described(each: SetAside) -> str:
    where = f"tab {each.tab}, client {each.client}, Type {each.type}" if each.tab else "a whole batch"
    return f"{each.id}: {each.reason}, {where}, {each.events} events, {len(each.partial)} bytes"
