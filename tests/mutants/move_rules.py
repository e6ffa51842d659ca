"""The rules by which vbuckets move between shards, switched off, and the tests that must see it.

As in redis_rules.py, what moving.lua decides is changed in its twin, too, and the named tests judge the twin.
"""

from __future__ import annotations

from collections.abc import Sequence

from tests.mutants.mutant import Mutant

_MOVES = "tests.cluster.test_redis_moves.MoveTests."
_COPIES = "tests.store.redis.test_resharding."
_LUA_MOVING = "store/redis/moving.lua"
_TWIN_MOVING = "testing/redis/library_moving.py"
_SEAL_THEN_COPY = (
    "        entries = await self._seal()\n"
    "        await together([self._settling.settle(self._source), self._import_rest(entries)])\n"
)
_STUCK = "tests.store.redis.test_stuck_moves.StuckMovesTests."

MOVE_MUTANTS: Sequence[Mutant] = (
    Mutant(
        "move_seal",
        "the source is sealed when the last of it was copied",
        _COPIES + "BetweenTests.test_batch_before_the_seal",
        (
            (
                "store/redis/vbucket_copy.py",
                _SEAL_THEN_COPY,
                "        await self._import_rest(self._logged)\n        await self._seal()\n",
            ),
        ),
    ),
    Mutant(
        "move_lanes",
        "the lanes' rows are copied before the source is sealed, and not again",
        _COPIES + "BetweenTests.test_batch_before_the_seal",
        (
            (
                "store/redis/vbucket_copy.py",
                "        await together([self._import_lanes(), self._import_hashes(self._of(LEDGER))])\n",
                "        await self._import_hashes(self._of(LEDGER))\n",
            ),
        ),
    ),
    Mutant(
        "move_position",
        "the source is sealed whoever has written it since its States were copied",
        _COPIES + "BetweenTests.test_checkpoint_before_the_seal",
        (
            (
                _TWIN_MOVING,
                '    if lineage(call) != expected or get(call, "GET", position) != folded:\n',
                "    if lineage(call) != expected:\n",
            ),
            (
                _TWIN_MOVING,
                '    present = get(call, "GET", keys[1])\n',
                "    present = position\n",
            ),
            (
                _LUA_MOVING,
                "  if lineage() ~= args[5] or redis.call('GET', keys[2]) ~= args[6] then\n",
                "  if lineage() ~= args[5] then\n",
            ),
        ),
    ),
    Mutant(
        "move_wait",
        "the target is active before its replica has what it was given",
        _MOVES + "test_waits_for_the_target",
        (
            (
                "store/redis/vbucket_copy.py",
                "        await self._settling.settle(self._target)\n        await self._check_frozen()\n",
                "        await self._check_frozen()\n",
            ),
        ),
    ),
    Mutant(
        "move_second_look",
        "the source's copy goes as soon as the target is active",
        _MOVES + "test_target_forgets",
        (
            (
                "store/redis/move_steps.py",
                "        return Step.RETIRE if confirmation.holds(vbucket, facts, now) else Step.WAIT\n",
                "        return Step.RETIRE if confirmation.holds(vbucket, facts, now) or facts else Step.WAIT\n",
            ),
        ),
    ),
    Mutant(
        "map_age",
        "fe answers, however long ago it has seen where vbuckets are that are being moved",
        _MOVES + "test_source_forgets",
        (
            (
                "store/redis/whereabouts.py",
                "        return self.looks.fresh({self.map.shard_of(vbucket), *self._dependence(vbucket)})\n",
                "        return vbucket >= 0\n",
            ),
        ),
    ),
    Mutant(
        "move_token",
        "of two movers that begin alike, one writes into what the other imports",
        "tests.store.redis.test_functions.MovingFunctionTests.test_import_refused",
        (
            (
                _TWIN_MOVING,
                '    own = get(call, "HGET", keys[1], vbucket) == token\n',
                "    own = bool(vbucket or token)\n",
            ),
            (
                _LUA_MOVING,
                "'I:' .. args[2] and redis.call('HGET', keys[2], args[1]) == args[3]\n",
                "'I:' .. args[2]\n",
            ),
        ),
    ),
    Mutant(
        "free_after_grace",
        "servers go on with a vbucket as soon as it is sealed, while its mover is at work",
        _STUCK + "test_sealed",
        (
            (
                "store/redis/stuck_moves.py",
                "                if now - since >= self.grace:\n",
                "                if now >= since:\n",
            ),
        ),
    ),
    Mutant(
        "free_when_unchanged",
        "what a mover does meanwhile gives it no more time: a slow one is taken for dead",
        _STUCK + "test_mover_lives",
        (
            (
                "store/redis/stuck_moves.py",
                "                since = since if known == now_so else now\n",
                "                since = since if known else now\n",
            ),
        ),
    ),
    Mutant(
        "free_what_is_sealed",
        "servers go on with a vbucket that takes something: what its new shard took meanwhile would be lost",
        _STUCK + "test_takes_something",
        (
            (
                "store/redis/stuck_moves.py",
                "                if there is not None and there.letter == ACTIVE and there.epoch > marker.epoch:\n",
                "                if there is not None and there.epoch < marker.epoch:\n",
            ),
        ),
    ),
    Mutant(
        "free_as_it_goes",
        "servers let a vbucket arrive whose move is being undone",
        _MOVES + "test_servers_unseal_when_it_was_undone",
        (
            (
                "store/redis/resharding.py",
                "self._step(move, pair, pair.stage == UNDOING, self._process",
                "self._step(move, pair, pair.stage == GONE, self._process",
            ),
        ),
    ),
    Mutant(
        "freed_by_servers",
        "a vbucket that a dead mover left sealed takes nothing until somebody starts another mover",
        _MOVES + "test_servers_go_on_when_it_is_sealed",
        (
            (
                "store/redis/freeing.py",
                "        if stuck and self._under_way is None:\n",
                "        if stuck and self._under_way is not None:\n",
            ),
        ),
    ),
)
