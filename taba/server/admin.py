"""What changes a store at an operator's word: deleting and bringing back, pruning, checking, dropping, folding again.

POST only; with ADMIN_GET a GET from this host does the same, as it did in the original. Where nobody is asked for a
token (`open`) it is taken from this host only; what a proxy on this host brings counts as from where `forwarded` says.
Who asked is logged.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from attrs import asdict, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.web.resource import Resource
from twisted.web.server import Request

from taba.errors import LocalProtocolError
from taba.interfaces import IStore, SetAside, Style
from taba.server.answering import Items, PacedAnswer
from taba.server.asking import asker_of, refusing, style_of, values_in
from taba.server.checking import Checking, Finding
from taba.server.notes import cannot_return, graves, is_note
from taba.server.operations import DELETE, REBUILD, REFOLD, UNDELETE, UPGRADE, Operations, carrier
from taba.server.operations import Request as Wanted
from taba.server.parameters import ParameterError, Parameters
from taba.server.publishing import Publishing
from taba.server.status import ServerStatus
from taba.web.answers import JSON, TEXT, Leaf, Refusal, write_json, write_text
from taba.web.forwarded import NO_PROXIES, TrustedProxies

ASIDE_LIMIT = 10_000
"""So many of what was set aside are looked at in one request, the newest."""
DELETED_SECONDS = 30.0
"""How long after it was asked for a deletion may not have been carried out yet."""
REFOLDED_AT_A_TIME = 500
"""How many one operation names."""


@frozen
class Administered:
    """What the endpoints work on. `publishing` lets all servers do something."""

    store: IStore
    status: ServerStatus
    operations: Operations
    checking: Checking
    publishing: Publishing
    clock: IReactorTime
    wall: Callable[[], float]
    undo_seconds: float = 86_400.0


def iso(seconds: float) -> str:
    """A wall time for people, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class AdminResources:
    """The endpoints over what they administer."""

    _log = Logger()

    def __init__(
        self,
        administered: Administered,
        *,
        open: bool = True,
        get: bool = False,
        trusted: TrustedProxies = NO_PROXIES,
    ) -> None:
        """`open`: no token is asked for. `get`: ADMIN_GET. `trusted`: TRUSTED_PROXIES."""
        self._over = administered
        self.trusted = trusted
        self._open = open
        self._get = get
        self._deleted: dict[str, float] = {}
        """The tabs whose deletion was asked for here within DELETED_SECONDS, and when, by the reactor's clock."""

    def leaves(self) -> dict[str, Resource]:
        """Path -> resource."""
        answers = self.answers()
        leaves: dict[str, Resource] = {
            path: Leaf(get=answer, post=answer) if self._get else Leaf(post=answer) for path, answer in answers.items()
        }
        leaves["check"] = Leaf(get=refusing(self.check), post=answers["check"])
        return leaves

    def answers(self) -> dict[str, Callable[[Request], Deferred[None]]]:
        """Path -> what answers it to who may ask."""
        answers = {
            "accept_loss": self.accept_loss,
            "delete": self.delete,
            "undelete": self.undelete,
            "upgrade": self.upgrade,
            "gc": self.gc,
            "recompute": self.recompute,
            "flush_all": self.flush_all,
            "refold": self.refold,
            "check": self.check,
        }
        return {path: refusing(self._guarded(answer)) for path, answer in answers.items()}

    def _guarded(self, answer: Callable[[Request], Awaitable[None]]) -> Callable[[Request], Awaitable[None]]:
        async def guarded(request: Request) -> None:
            self._may(request)
            await answer(request)

        return guarded

    def _may(self, request: Request) -> None:
        """Refusal for who may not ask this; who may is logged."""
        who = asker_of(request, self.trusted)
        path = request.path.decode("latin-1")
        if self._open and not who.local:
            raise Refusal(403, "Without a token (TOKEN_FILE) this may be asked from the server's own host only.")
        if request.method != b"POST" and not who.local:
            raise Refusal(405, "This path takes POST; a GET only from the server's own host.", Allow="POST")
        asked = request.uri.partition(b"?")[2].decode("latin-1")
        self._log.warn("{who} asks for {path} {asked}", who=str(who), path=path, asked=asked)

    # ------------------------------------------------------------------------------------------ tabs

    async def _chosen(self, values: Mapping[str, str], *, required: bool) -> dict[str, str]:
        """The tabs that parameters choose, with their Types, ascending."""
        asked = Parameters(name=values.get("name"), regular="re" in values)
        if required and not asked.name:
            raise ParameterError("Which tabs? Name them: name=a,b or, with re=1, name=PATTERN.")
        choice = asked.tabs()
        types = await self._over.store.tabs(None if choice is None else choice.listed)
        return {
            tab: types[tab]
            for tab in sorted(types)
            if not is_note(tab) and (choice is None or choice.takes(tab))
        }  # fmt: skip

    async def _send(self, requests: Sequence[Wanted], request: Request, time: float | None = None) -> None:
        await self._over.operations.send_all(requests, self._who(request), time)

    def _who(self, request: Request) -> str:
        return str(asker_of(request, self.trusted))

    async def delete(self, request: Request) -> None:
        """`NAME: deleted, can be undone until TIME` per line, or {"deleted": [NAME, ...], "undo_until": seconds}."""
        tabs = await self._chosen(values_in(request, ("name", "re")), required=True)
        now = self._over.wall()
        await self._send([Wanted(DELETE, tab) for tab in tabs], request, now)
        seconds = self._over.clock.seconds()
        recent = {tab: then for tab, then in self._deleted.items() if seconds - then < DELETED_SECONDS}
        self._deleted = {**recent, **dict.fromkeys(tabs, seconds)}
        until = now + self._over.undo_seconds
        if style_of(request) is Style.TEXT:
            write_text(request, "".join(f"{tab}: deleted, can be undone until {iso(until)}\n" for tab in tabs))
        else:
            write_json(request, {"deleted": list(tabs), "undo_until": until})

    async def undelete(self, request: Request) -> None:
        """`NAME: is being brought back`, or `NAME: not brought back: REASON`, per line; or {"undeleted": [NAME, ...],
        "refused": {NAME: REASON, ...}}.
        """
        values = values_in(request, ("name", "re", "deleted"))
        asked = Parameters(name=values.get("name"), regular="re" in values)
        choice = asked.tabs()
        if not asked.name or choice is None:
            raise ParameterError("Which tabs? Name them: name=a,b or, with re=1, name=PATTERN.")
        deleted = _milliseconds(values["deleted"]) if "deleted" in values else None
        types = await self._over.store.tabs()
        named = [] if choice.listed is None else [tab for tab in choice.listed if not is_note(tab)]
        wanted = sorted({*(tab for tab in graves(types) if choice.takes(tab)), *named})
        now = self._over.clock.seconds()
        recent = {tab for tab, then in self._deleted.items() if now - then < DELETED_SECONDS}
        refused = {tab: why for tab in wanted if (why := cannot_return(tab, types, deleted, tab in recent))}
        tabs = [tab for tab in wanted if tab not in refused]
        more = {} if deleted is None else {"deleted": deleted}
        await self._send([Wanted(UNDELETE, tab, more) for tab in tabs], request)
        if style_of(request) is Style.TEXT:
            lines = [f"{tab}: is being brought back\n" for tab in tabs]
            lines += [f"{tab}: not brought back: {reason}\n" for tab, reason in refused.items()]
            write_text(request, "".join(lines) or "There is nothing to bring back.\n")
        else:
            write_json(request, {"undeleted": tabs, "refused": refused})

    async def upgrade(self, request: Request) -> None:
        """`Started`, or {"started": true, "tabs": n}."""
        tabs = await self._chosen(values_in(request, ("name", "re")), required=False)
        await self._send([Wanted(UPGRADE, tab) for tab in tabs], request)
        self._started(request, tabs=len(tabs))

    # ------------------------------------------------------------------------------------------ the store

    async def gc(self, request: Request) -> None:
        """`Started`, or {"started": true}."""
        values_in(request, ())
        self._over.publishing.collect()
        self._started(request)

    async def recompute(self, request: Request) -> None:
        """`Started`, or {"started": true}: every be looks anew which vbuckets it should have, as in the original. With
        `name` (and `re`) the Aggregates of these tabs are rebuilt from their States: {"started": true, "tabs": n}.
        """
        values = values_in(request, ("name", "re"))
        if "name" not in values:
            self._over.publishing.recompute()
            self._started(request)
            return
        tabs = await self._chosen(values, required=True)
        await self._send([Wanted(REBUILD, tab) for tab in tabs], request)
        self._started(request, tabs=len(tabs))

    def _started(self, request: Request, **more: Any) -> None:
        if style_of(request) is Style.TEXT:
            write_text(request, "Started\n")
        else:
            write_json(request, {"started": True, **more})

    async def flush_all(self, request: Request) -> None:
        """Nothing, or {"flushed": events}: what waits in the logs is dropped, and counted."""
        values_in(request, ())
        flushed = await self._over.store.flush()
        self._log.warn("{n} events that waited in the logs were dropped", n=flushed)
        if style_of(request) is Style.TEXT:
            write_text(request, "")
        else:
            write_json(request, {"flushed": flushed})

    async def refold(self, request: Request) -> None:
        """`Asked: N`, or {"asked": n}: what was set aside is folded, where it can be now."""
        values = values_in(request, ("reason", "type", "tab"))
        by_vbucket: dict[int, list[str]] = {}
        for each in chosen_aside(await self._over.store.aside(ASIDE_LIMIT), values):
            by_vbucket.setdefault(each.vbucket, []).append(each.id)
        vbuckets = self._over.store.cluster.vbuckets
        requests = [
            Wanted(REFOLD, carrier(vbucket, vbuckets), {"ids": ids[start : start + REFOLDED_AT_A_TIME]})
            for vbucket, ids in sorted(by_vbucket.items())
            for start in range(0, len(ids), REFOLDED_AT_A_TIME)
        ]
        await self._send(requests, request)
        asked = sum(map(len, by_vbucket.values()))
        if style_of(request) is Style.TEXT:
            write_text(request, f"Asked: {asked}\n")
        else:
            write_json(request, {"asked": asked})

    async def accept_loss(self, request: Request) -> None:
        """Use a shard that has lost its data again, without it."""
        shard = values_in(request, ("shard",)).get("shard")
        if not shard:
            raise Refusal(400, "Which shard? Ask for /accept_loss?shard=NAME.")
        sharded = self._over.status.sharded
        if sharded is None:
            raise Refusal(400, "The store of this server has no shards that could have lost their data.")
        try:
            anew = await sharded.accept_loss(shard)
        except LocalProtocolError as problem:
            raise Refusal(400, f"{str(problem)[:1].upper()}{str(problem)[1:]}.")
        if style_of(request) is Style.TEXT:
            said = f"{anew} vbuckets begin anew" if anew else "has all its data: nothing was changed"
            write_text(request, f"Shard {shard}: {said}.\n")
        else:
            write_json(request, {"shard": shard, "begin_anew": anew})

    # ------------------------------------------------------------------------------------------ /check

    async def check(self, request: Request) -> None:
        """`Started`, a line per finding, and how many there were; or {"checked": n, "findings": [...]}."""
        values = values_in(request, ("dry", "name", "re"))
        repair = _is_false(values.get("dry", "true"))
        if repair and request.method != b"POST":
            if not self._get:
                raise Refusal(405, "A GET of this path changes nothing: POST with dry=false.", Allow="POST")
            self._may(request)
        tabs = await self._chosen(values, required=False)
        style = style_of(request)
        answer = PacedAnswer(request, TEXT if style is Style.TEXT else JSON, self._over.clock)
        if style is Style.TEXT:
            answer.write("Started\n")
            items = Items(answer)
        else:
            items = Items(answer, f'{{"checked": {len(tabs)}, "findings": [', ", ", "]}")
        found = 0

        async def emit(finding: Finding) -> None:
            nonlocal found
            found += 1
            await _given(items.add(_line(finding) if style is Style.TEXT else _object(finding)))

        await self._over.checking.check(list(tabs.items()), repair, self._who(request), emit)
        if style is Style.TEXT:
            await _given(items.add(f"Checked {len(tabs)} tabs: {found} findings\n"))
        items.end()


def chosen_aside(aside: Collection[SetAside], values: Mapping[str, str]) -> list[SetAside]:
    """What was set aside, as `reason`, `type` and `tab` choose it."""
    wanted = [(name, values[name]) for name in ("reason", "type", "tab") if name in values]
    return [each for each in aside if all(getattr(each, name) == value for name, value in wanted)]


async def _given(waiting: Deferred[None] | None) -> None:
    """Wait until there is room for more."""
    if waiting is not None:
        await waiting


def _line(finding: Finding) -> str:
    where = finding.tab if finding.client is None else f"({finding.tab}, {finding.client})"
    return f"{where}: {finding.problem}{'; is being repaired' if finding.repaired else ''}\n"


def _object(finding: Finding) -> str:
    return json.dumps(asdict(finding), ensure_ascii=False)


def _is_false(text: str) -> bool:
    """Whether `dry` says no."""
    if text.lower() in ("false", "0", "no"):
        return True
    if text.lower() in ("true", "1", "yes", ""):
        return False
    raise ParameterError("dry must be true or false.")


def _milliseconds(text: str) -> int:
    """A time of /deleted."""
    try:
        return round(float(text) * 1e3)
    except (ValueError, OverflowError):
        raise ParameterError("deleted must be a time in seconds since 1970, as /deleted has it.")
