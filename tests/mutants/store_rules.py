"""The rules of store and be that exactly once rests on, switched off, and the tests that must see it."""

from __future__ import annotations

from collections.abc import Sequence

from tests.mutants.mutant import Mutant

_SCRIPTS = "tests.cluster.test_scripts."
_JUDGE = "tests.store.test_judge."
_STORE = "tests.store.test_contract.SimulatedEmbeddedStoreTests."
_OPERATIONS = "tests.server.test_operating.OperationTests."

STORE_MUTANTS: Sequence[Mutant] = (
    Mutant(
        "gap",
        "the store appends over a gap",
        _SCRIPTS + "LaneTests.test_gap_is_filled",
        (("store/judge.py", "    if batch.after > last:\n", "    if False:\n"),),
    ),
    Mutant(
        "dedup",
        "the store appends a number that it has",
        _SCRIPTS + "LaneTests.test_old_requests",
        (("store/judge.py", "    if row and batch.seq <= last:\n", "    if False:\n"),),
    ),
    Mutant(
        "dedup_with_log",
        "dedup row and log are written by two transactions",
        "tests.store.test_embedded.FullDiskTests.test_full_disk",
        (
            (
                "store/log_rows.py",
                "    return judged.outcomes, _add_entries(database, judged.appended, now)\n",
                "    database.execute('COMMIT')\n"
                "    database.execute('BEGIN IMMEDIATE')\n"
                "    return judged.outcomes, _add_entries(database, judged.appended, now)\n",
            ),
        ),
    ),
    Mutant(
        "too_old",
        "batches older than the dedup rows are taken",
        _SCRIPTS + "SealingTests.test_commit_time_as_seal_time",
        (("store/judge.py", "    if now - batch.sealed > dedup_seconds - DAY:\n", "    if False:\n"),),
    ),
    Mutant(
        "too_old_after_dedup",
        "a batch is refused as too old before the store looked whether it has it",
        _JUDGE + "DuplicateTests.test_duplicate_before_too_old",
        (
            (
                "store/judge.py",
                "    if row and batch.seq <= last:\n",
                "    if now - batch.sealed > dedup_seconds - DAY:\n"
                "        return Judgement(Verdict.REFUSED, TOO_OLD)\n"
                "    if row and batch.seq <= last:\n",
            ),
        ),
    ),
    Mutant(
        "lease",
        "be checkpoints without a lease",
        _STORE + "test_deposed_owner_is_fenced",
        (
            ("store/judge.py", "    if not held:\n        return Written.FENCED\n", ""),
            ("store/checkpoint_rows.py", "        if not held:\n            return Written.FENCED\n", ""),
        ),
    ),
    Mutant(
        "compare_and_set",
        "a checkpoint is written whatever the position is",
        _STORE + "test_position_that_moved_is_stale",
        (
            (
                "store/judge.py",
                "    if (checkpoint.lineage, checkpoint.expected) != (lineage, position) or",
                "    if checkpoint.lineage != lineage or",
            ),
        ),
    ),
    Mutant(
        "commit_count",
        "a checkpoint that folds nothing leaves the position as it was",
        _STORE + "test_checkpoint_that_does_not_count_is_a_defect",
        (
            (
                "store/judge.py",
                "    if checkpoint.position.commits <= checkpoint.expected.commits:\n",
                "    if checkpoint.position.commits < checkpoint.expected.commits:\n",
            ),
        ),
    ),
    Mutant(
        "lineage",
        "a checkpoint is written after a rollback that its be has not heard of",
        _STORE + "test_other_lineage_is_stale",
        (
            (
                "store/judge.py",
                "    if (checkpoint.lineage, checkpoint.expected) != (lineage, position) or",
                "    if checkpoint.expected != position or",
            ),
        ),
    ),
    Mutant(
        "operations_after_events",
        "be carries out the operations of a batch before it folds the events that came with them",
        _OPERATIONS + "test_events_of_the_batch_go_first",
        (
            (
                "server/folding.py",
                "        self.folded = entry.id\n        generation = self.generation\n",
                "        self.folded = entry.id\n"
                "        operations = [each for tab, _, type, _, partial, *_ in native.batch_partials(entry.body)\n"
                "                      if type in TYPES for each in parse(type, tab, partial)]\n"
                "        if operations:\n            self._seal(operations, entry)\n"
                "            self.sealed[-1].end -= 1\n"
                "        generation = self.generation\n",
            ),
            ("server/folding.py", "                operations += parse(type, tab, partial)\n", ""),
        ),
    ),
    Mutant(
        "sealed_generation",
        "be folds what follows an operation in the log into the tab that was there before it",
        _OPERATIONS + "test_events_after_it_are_new",
        (
            (
                "server/folding.py",
                "        generation, self.generation = self.generation, Generation()\n        generation.carried",
                "        generation = self.generation\n        generation.carried",
            ),
            ("server/folding.py", "        self.sealed.append(generation)\n", ""),
            (
                "server/folding.py",
                "self.closed_at, self.generation = self.generation, self.folded, Generation()\n",
                "self.closed_at, self.generation = self.generation, self.folded, Generation()\n"
                "            self.closed.types.update({tab: self.types[tab] for tab, _ in self.closed.pending\n"
                "                                      if tab in self.types and tab not in self.closed.types})\n",
            ),
        ),
    ),
    Mutant(
        "restored_once",
        "a State that was merged back into its tab stays in the grave, and is merged again",
        _OPERATIONS + "test_brought_back_once",
        (("server/chores.py", "        change.states[grave, client] = None\n", ""),),
    ),
    Mutant(
        "aggregate_with_states",
        "States that are merged back do not go into the Aggregate",
        _OPERATIONS + "test_brought_back_once",
        (("server/chores.py", "            moved.append(upgraded)\n", ""),),
    ),
    Mutant(
        "retired_stays",
        "the GC forgets what it prunes",
        _OPERATIONS + "test_pruned_counts",
        (
            (
                "server/chores.py",
                "            change.states[tab, RETIRED] = handler.reduce([handler.upgrade(each) for each in parts])\n",
                "            pass\n",
            ),
        ),
    ),
    Mutant(
        "chore_alone",
        "maintenance writes what it read before operations came",
        _OPERATIONS + "test_operation_between_reading_and_writing",
        (("server/folding.py", "        if self.sealed:\n            return None\n", ""),),
    ),
    Mutant(
        "atomic_commit",
        "States are written before the position",
        "tests.mutants.test_whole_checkpoint.WholeCheckpointTests.test_states_are_not_written_without_their_position",
        (
            (
                "store/checkpoint_rows.py",
                "            self._write_position(checkpoint, last_id)\n",
                "            self._database.execute('COMMIT')\n"
                "            self._database.execute('BEGIN IMMEDIATE')\n"
                "            self._write_position(checkpoint, last_id)\n",
            ),
        ),
    ),
)
