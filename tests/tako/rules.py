"""Each rule that the promises of Tako rest on, switched off in the real code, and the test that must see it.

A mutant is one change of text; the old text must occur exactly once, so that a mutant cannot go stale unseen.
"""

from __future__ import annotations

from tests.mutants.mutant import Mutant


def _rule(rule: str, what: str, test: str, file: str, old: str, new: str) -> Mutant:
    return Mutant(rule, what, "tests.tako." + test, ((f"tako/{file}", old, new),))


_REPLICAS = "test_replicas.ReplicaTests."
_CLOCKS = "test_replicas.ClockTests."

RULES = (
    _rule(
        "quorum", "half of the nodes are a quorum", "test_core.LevelTests.test_two_quorums_meet",
        "levels.py", "    return count // 2 + 1\n", "    return max(1, count // 2)\n",
    ),
    _rule(
        "both_majorities", "while keys move, a majority of the active nodes is enough",
        "test_core.LevelTests.test_a_migration_needs_both_majorities",
        "levels.py", "for group in (self.active, self.target)\n", "for group in (self.active,)\n",
    ),
    _rule(
        "older_refused", "a node serves whoever runs on an older configuration",
        "test_mutants.MutantTests.test_nodes_refuse_older_configurations",
        "replica.py", "        if version < own:\n", "        if version < 0:\n",
    ),
    _rule(
        "configuration_on_disk", "a configuration is in force without being on the disk",
        "test_cluster.ConfigurationTests.test_a_restart_does_not_go_back",
        "source.py",
        "            await self.worker(write_copy, self.folder, CACHE, configuration)\n",
        "            pass\n",
    ),
    _rule(
        "answer_after_commit", "a write is answered before its commit",
        "test_storage.MemoryStorageTests.test_an_answer_means_that_it_is_on_the_disk",
        "storage.py",
        "        return stored.addCallbacks(self._stored,",
        "        return succeed(version) if self.running else stored.addCallbacks(self._stored,",
    ),
    _rule(
        "commit_synced", "a commit is not synced", "test_storage.FolderStorageTests.test_commits_are_synced",
        "tables.py", "PRAGMA synchronous=FULL", "PRAGMA synchronous=OFF",
    ),
    _rule(
        "ties", "versions are ordered by stamp alone",
        "test_core.VersionTests.test_every_order_of_arrival_leaves_the_same",
        "records.py", "        return (self.stamp, self.tombstone, self.checksum, self.size)\n",
        '        return (self.stamp, False, "", 0)\n',
    ),
    _rule(
        "clock_refused", "a stamp far ahead is accepted",
        _CLOCKS + "test_a_clock_far_ahead_is_refused_and_counted",
        "clock.py", "        if stamp > self.limit():\n", "        if stamp > MAX_STAMP:\n",
    ),
    _rule(
        "stamped_again", "a write that meets a newer version keeps its stamp",
        _CLOCKS + "test_a_slow_clock_loses_no_write",
        "rounds.py", "        if self.newer is not None and not self.may_lose:\n",
        "        if self.newer is not None and not self.newer:\n",
    ),
    _rule(
        "two_clocks", "one clock alone says what is from the future",
        "test_storage.MemoryStorageTests.test_what_a_wrong_clock_stamped_gives_way",
        "storage.py", "max(self._limit(), write.limit)", "self._limit()",
    ),
    _rule(
        "own_node_last", "a node stores what it stamped before another one took it",
        _CLOCKS + "test_a_nodes_clock_far_ahead_hides_nothing",
        "offering.py", "        if not others:\n", "        if True:\n",
    ),
    _rule(
        "hints", "what was noted for a node is not sent",
        "test_replicas.HintTests.test_a_node_that_was_down_gets_what_it_missed",
        "notes.py", "                    await self._copy(key, self.peers.get(node))\n", "                    pass\n",
    ),
    _rule(
        "late_hints", "a note that comes while its key is sent is forgotten with it",
        "test_notes.NotesTests.test_a_key_that_is_noted_again_is_sent_again",
        "notes.py", "[key for key in keys if key not in came]", "keys",
    ),
    _rule(
        "confirmed_before_removed", "a value leaves a node before its owners have it",
        "test_cli.MigrationTests.test_what_is_not_confirmed_is_not_removed",
        "healing.py", "        for owner in placement.replicas(slot_of(key)).nodes:\n", "        for owner in ():\n",
    ),
    _rule(
        "tombstones_live", "tombstones go as soon as every holder has them",
        "test_replicas.TombstoneTests.test_they_outlive_the_longest_partition_and_then_go",
        "healing.py",
        "return version.tombstone and version.stamp < ",
        "return version.tombstone and 0 < ",
    ),
    _rule(
        "tombstones_confirmed", "old tombstones go without a look at the other holders",
        "test_replicas.TombstoneTests.test_they_outlive_the_longest_partition_and_then_go",
        "healing.py", "            if holder != self.node:\n", "            if False:\n",
    ),
    _rule(
        "damaged_stay", "a damaged record is dropped before a replica has given it",
        _REPLICAS + "test_a_damaged_value_stays_while_nobody_has_it",
        "healing.py", "        self.progress.damaged += 1\n",
        "        self.progress.damaged += 1\n        await self.records.drop(row.key, row.version)\n",
    ),
    _rule(
        "equal_before_promoted", "a target is promoted before all trees were equal",
        "test_cli.OperatorTests.test_no_promotion_without_proof",
        "migration.py", "        return not self.problems and self.proved == SLOTS\n",
        "        return not self.problems\n",
    ),
)  # fmt: skip
