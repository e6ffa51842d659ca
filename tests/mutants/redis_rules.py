"""The rules that a fleet on Redis rests on, switched off, and the tests that must see it.

What functions.lua decides is decided a second time in taba/testing/redis/library.py, its twin: the simulation runs the
twin, so both are changed, and the named tests judge the twin. The Lua code is judged by tests/redis, where real servers
are at hand. `again` takes a mutant of rules.py for a schedule in which a failover, not a restored backup, does harm.
"""

from __future__ import annotations

from collections.abc import Sequence

from attrs import evolve

from tests.mutants.mutant import Edit, Mutant
from tests.mutants.rules import MUTANTS

_LUA = "store/redis/functions.lua"
_TWIN = "testing/redis/library.py"
_ANSWERS = "tests.cluster.test_redis_scripts.AnswerTests."
_FAILOVERS = "tests.cluster.test_redis_scripts.FailoverTests."
_MARKERS = "tests.cluster.test_redis_scripts.MarkerTests."
_READS = "tests.cluster.test_redis_scripts.ReaderTests."
_CONTRACT = "tests.store.redis.test_contract.RedisStoreTests."

_TWIN_POSITION = "        elif (present, position) != (lineage, expected) or "
_LUA_POSITION = "    elseif present ~= args[at + 1] or position ~= args[at + 2] then\n"
_GOES_ON = (
    "store/redis/owners.py",
    "        return {vbucket for vbucket in held if self._loaded.get(vbucket, lineage) == lineage}\n",
    "        return held\n",
)
_TWIN_MARKER = '    if _get(call, "GET", marker) != b"A:" + epoch:\n'
_LUA_MARKER = "  if redis.call('GET', marker) ~= 'A:' .. epoch then\n"


def again(rule: str, name: str, test: str, *more: Edit) -> Mutant:
    """The mutant of a rule under another name, to be caught by another test; `more` changes functions.lua likewise."""
    (mutant,) = (each for each in MUTANTS if each.rule == rule)
    return evolve(mutant, rule=name, test=test, edits=(*mutant.edits, *more))


REDIS_MUTANTS: Sequence[Mutant] = (
    # ------------------------------------------------------------------------------------------------------ answers
    Mutant(
        "wait",
        "fe answers a batch before a replica has it",
        _ANSWERS + "test_append_waits_for_replica",
        (
            (
                "store/redis/durability.py",
                "        if self.level is Level.MEMORY:\n            return\n",
                "        if self.level:\n            return\n",
            ),
        ),
    ),
    Mutant(
        "touch",
        "a duplicate writes nothing, so that WAIT on a fresh connection waits for nothing",
        _ANSWERS + "test_duplicate_waits_for_replica",
        (
            (_TWIN, "    if judged.row is not None:\n", "    if judged.row is not None and judged.appended:\n"),
            (
                _LUA,
                "    redis.call('HSET', lanes, incarnation, last .. ':' .. sum .. ':' .. whole(events)",
                "    local _ = (last .. ':' .. sum .. ':' .. whole(events)",
            ),
        ),
    ),
    Mutant(
        "sentinel_majority",
        "fe answers for a master that a minority of the Sentinels names",
        _ANSWERS + "test_sentinel_majority",
        (
            (
                "store/redis/appends.py",
                "        if not link.alive or not self._shard.vouched():\n",
                "        if not link.alive:\n",
            ),
        ),
    ),
    Mutant(
        "marker_epoch",
        "an append does not compare the epoch of the vbucket's marker",
        "tests.store.redis.test_functions.FunctionTests.test_moved",
        (
            (_TWIN, _TWIN_MARKER, '    if not (_get(call, "GET", marker) or b"").startswith(b"A:"):\n'),
            (_LUA, _LUA_MARKER, "  if string.sub(redis.call('GET', marker) or '', 1, 2) ~= 'A:' then\n"),
        ),
    ),
    Mutant(
        "marker_sealed",
        "a sealed vbucket takes appends",
        _MARKERS + "test_sealed",
        (
            (_TWIN, _TWIN_MARKER, '    if _get(call, "GET", marker) not in (b"A:" + epoch, b"S:" + epoch):\n'),
            (_LUA, _LUA_MARKER, "  if not redis.call('GET', marker) then\n"),
        ),
    ),
    # -------------------------------------------------------------------------------------------------- checkpoints
    Mutant(
        "guard_lineage",
        "be writes what it folded from a history that a failover ended; no look at its leases comes before",
        _FAILOVERS + "test_lineage_in_guard",
        (
            _GOES_ON,
            (_TWIN, _TWIN_POSITION, "        elif position != expected or "),
            (_LUA, _LUA_POSITION, "    elseif position ~= args[at + 2] then\n"),
        ),
    ),
    Mutant(
        "guard_position",
        "a checkpoint is written whatever the position is",
        _CONTRACT + "test_position_that_moved_is_stale",
        (
            (_TWIN, _TWIN_POSITION, "        elif present != lineage or "),
            (_LUA, _LUA_POSITION, "    elseif present ~= args[at + 1] then\n"),
        ),
    ),
    Mutant(
        "guard_commits",
        "the guard compares the position without the count of commits",
        _CONTRACT + "test_empty_checkpoint_counts",
        (
            (
                _TWIN,
                _TWIN_POSITION,
                '        elif (present, position.split(b":")[::2]) != (lineage, expected.split(b":")[::2]) or ',
            ),
            (
                _LUA,
                _LUA_POSITION,
                "    elseif present ~= args[at + 1] or split(position)[1] ~= split(args[at + 2])[1] then\n",
            ),
        ),
    ),
    Mutant(
        "renew_lineage",
        "be goes on with what it loaded from a history that a failover ended, as long as nothing comes to be read",
        _FAILOVERS + "test_quiet_vbucket_is_folded_again",
        (_GOES_ON,),
    ),
    Mutant(
        "lease_clock",
        "leases that a wrong clock made long are waited for",
        "tests.cluster.test_redis_scripts.LeaseTests.test_clock_set_back",
        (
            (_TWIN, "            call(\"PEXPIRE\", keys[at + 1], milliseconds)\n", "            pass\n"),
            (_LUA, "      redis.call('PEXPIRE', keys[at + 1], args[2])\n", ""),
        ),
    ),
    Mutant(
        "link_lineage",
        "what was read of a former master is given out as of the present one",
        _READS + "test_entries_of_a_former_master",
        (
            (
                "store/redis/reads.py",
                "                taken.append(entry)\n",
                "                taken.append(__import__('attrs').evolve(entry, lineage=self.shard.lineage))\n",
            ),
            (
                "store/redis/reads.py",
                "        if self._link is not None and not self._link.alive:\n            self.entries.clear()\n",
                "",
            ),
        ),
    ),
    Mutant(
        "reader_lineage",
        "be folds entries of another lineage than it loaded",
        "tests.server.test_backend.BackendTests.test_entries_of_another_lineage",
        (("server/backend.py", "            if entry.lineage != folding.lineage:\n", "            if False:\n"),),
    ),
    # -------------------------------------------------------------------------------------------------------- lanes
    again("retention", "failover_retention", _FAILOVERS + "test_rollback_is_repaired"),
    again("quiet_lanes_look", "failover_quiet_lanes_look", _FAILOVERS + "test_rollback_of_a_quiet_lane"),
    again("look_lineage", "failover_look_lineage", _FAILOVERS + "test_look_lineage"),
    again(
        "gap",
        "failover_gap",
        _FAILOVERS + "test_gap_is_filled",
        (_LUA, "  if follows > behind then\n", "  if false then\n"),
    ),
    Mutant(
        "no_gaps",
        "a store that has gone back says ok to what it lacks, and agents take its word",
        _FAILOVERS + "test_rollback_is_repaired",
        (
            ("store/judge.py", "    if batch.after > last:\n", "    if False:\n"),
            ("store/judge.py", "Judgement(Verdict.OK if batch.seq <= last else Verdict.GAP)", "Judgement(Verdict.OK)"),
            (
                "agent/lane.py",
                "        flight, verdict, last = self._flight, outcome.verdict, outcome.last\n",
                "        flight, verdict, last = self._flight, outcome.verdict, max(outcome.last, outcome.seq)\n",
            ),
            ("agent/lane.py", "        mine = self._held.get(last)\n", "        mine = None\n"),
        ),
    ),
    again(
        "chain",
        "failover_chain",
        _FAILOVERS + "test_chain",
        (_LUA, "  if follows == behind and previous ~= '' and previous ~= sum then\n", "  if false then\n"),
    ),
    again("pass_over", "failover_pass_over", _FAILOVERS + "test_pass_over"),
    again(
        "dedup",
        "failover_dedup",
        _FAILOVERS + "test_old_requests",
        (_LUA, "  if row and seq <= behind then\n", "  if false then\n"),
    ),
)
