"""The rules by which be share vbuckets, switched off, and the tests that must see it."""

from __future__ import annotations

from collections.abc import Sequence

from tests.mutants.mutant import Mutant

_FLEET = "tests.cluster.test_fleet_scripts.AssignmentTests."
_LEASES = "tests.store.redis.test_contract.RedisStoreTests."

FLEET_MUTANTS: Sequence[Mutant] = (
    Mutant(
        "hand_over_written",
        "what is handed over is given away before it is written: the next one folds it again",
        _FLEET + "test_joiner_goes_on_where_others_were",
        (
            (
                "server/leasing.py",
                "            settled = [each for each in leaving if each.settled]\n",
                "            settled = list(leaving)\n",
            ),
        ),
    ),
    Mutant(
        "hand_over_dropped",
        "what was handed over is folded on",
        _FLEET + "test_joiner_goes_on_where_others_were",
        (
            (
                "server/leasing.py",
                "            self._holding.drop(lease.vbucket)\n            self._had.discard(lease.vbucket)\n",
                "            self._had.discard(lease.vbucket)\n",
            ),
        ),
    ),
    Mutant(
        "joiner_gets_a_share",
        "nothing is handed over to who joins",
        _FLEET + "test_joiner_goes_on_where_others_were",
        (("server/membership.py", "        if wanted == self.name or now - ", "        if wanted or now - "),),
    ),
    Mutant(
        "stop_written",
        "a be that stops gives leases back before it has written what it folded",
        _FLEET + "test_who_stops_leaves_all_written",
        (
            (
                "server/backend.py",
                "        self._fire_room()\n        yield gatherResults(self._loops)\n",
                "        yield self.leasing.give([each.lease for each in self.folding.values()])\n"
                "        self._fire_room()\n        yield gatherResults(self._loops)\n",
            ),
        ),
    ),
    Mutant(
        "stop_released",
        "a be that stops lets its leases run out",
        _FLEET + "test_who_stops_leaves_all_written",
        (
            (
                "server/leasing.py",
                "        yield self._give_back(leases)\n\n    @inlineCallbacks\n    def _give_back",
                "        yield self._pauses.sleep(0.0)\n\n    @inlineCallbacks\n    def _give_back",
            ),
        ),
    ),
    Mutant(
        "patience",
        "what prefers another be that lives is taken as soon as it is free: it goes to and fro",
        "tests.server.test_membership.MembershipTests.test_left_to_who_it_prefers",
        (
            (
                "server/membership.py",
                "            if now - since < PATIENCE_SECONDS:\n                return False\n",
                "",
            ),
        ),
    ),
    Mutant(
        "lease_granted_once",
        "a lease that somebody holds is granted to another be",
        _LEASES + "test_held_lease_is_not_granted_to_another",
        (
            (
                "testing/redis/library.py",
                'not marker.startswith(b"I:") and (lease is None or lease.rpartition(b":")[0] == owner):',
                'not marker.startswith(b"I:"):',
            ),
        ),
    ),
    Mutant(
        "dead_are_forgotten",
        "what a be published counts for ever: what a dead one had is believed to be with it",
        _FLEET + "test_takeover_after_a_kill",
        (
            (
                "store/redis/members.lua",
                "  return left > 0 and left <= tonumber(milliseconds) / 100\n",
                "  return true\n",
            ),
            (
                "testing/redis/library_members.py",
                "    return 0 < float(expires) - now <= int(milliseconds) / 100\n",
                "    return True\n",
            ),
        ),
    ),
)
