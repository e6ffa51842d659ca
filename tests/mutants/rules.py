"""Each rule that exactly once rests on, switched off in the real code, and the test that must see it.

A mutant is one change of text, or a few that belong together; each old text must occur exactly once, so that a mutant
cannot go stale unseen. The names are those of the executable model of the protocol. Those that need
Redis are in redis_rules.py, and so are those of moves. copy_of_synced is no rule of the code but a
limit that operators have to keep.
"""

from __future__ import annotations

from attrs import field, frozen

Edit = tuple[str, str, str]
"""(file below the package, old text, new text)."""


@frozen
class Mutant:
    """One rule switched off."""

    rule: str
    what: str
    """What the code does without the rule."""
    test: str
    """The trial name of the test that must fail then."""
    edits: tuple[Edit, ...] = field(repr=False)


_SCRIPTS = "tests.cluster.test_scripts."
_CLIENT = "tests.client.test_exactly_once.RuleTests."
_LANE = "tests.agent.test_lane."
_JUDGE = "tests.store.test_judge."
_STORE = "tests.store.test_contract.SimulatedEmbeddedStoreTests."

_OPERATIONS = "tests.server.test_operating.OperationTests."

_CONFIRMS = "        if self._oks and self._oks[0][1] + self.confirm_seconds <= sent_at:\n"
_LETS_GO = "        while self._oks and self._oks[0][1] + self.confirm_seconds <= sent_at:\n"
_OTHER_EVENTS = "    if batch.seq == row.last and batch.checksum != row.checksum:\n"
_OTHER_LAST = "        if verdict is _CONFLICT or (mine and mine.checksum != outcome.checksum):\n"
_FOLLOWS_OTHER = (
    "    if batch.after == last and batch.previous not in (None, row.checksum if row else None):\n"
)

MUTANTS = (
    # ------------------------------------------------------------------------------------------------------ client
    Mutant(
        "sent_is_unknown",
        "after 409 a batch sent once is sent again under the new instance",
        _SCRIPTS + "ClientTests.test_sent_is_unknown",
        (
            (
                "client/sender.py",
                "        self._failures += 1\n        self._count_unknown(batch)\n",
                "        self._failures += 1\n        batch.number = None\n",
            ),
            ("client/exchange.py", "        self.blocks = ()\n", ""),
        ),
    ),
    Mutant(
        "fork_starts_empty",
        "a forked client keeps the instance and the numbers of its parent",
        _CLIENT + "test_fork_starts_empty",
        (
            (
                "client/sender.py",
                "        self._instance: str | None = None\n        self._number = 0  # the last one",
                "        self._instance: str | None = getattr(self, '_instance', None)\n"
                "        self._number = getattr(self, '_number', 0)  # the last one",
            ),
        ),
    ),
    Mutant(
        "numbers_not_reused",
        "a batch that is repeated takes along what was recorded meanwhile, under its old number",
        _CLIENT + "test_numbers_not_reused",
        (
            (
                "client/sender.py",
                "        if batch.number is None:\n            self._number += 1\n",
                "        if batch.number is None:\n"
                "            self._kept = list(batch.blocks)\n"
                "        else:\n"
                "            from taba.client.encoding import encode_frame\n"
                "            more = self._recorder.collect()\n"
                "            self._kept += more\n"
                "            batch.events += sum(block.events for block in more)\n"
                "            batch.body = encode_frame(self._client_id, batch.instance, batch.number, self._kept)\n"
                "        if batch.number is None:\n            self._number += 1\n",
            ),
        ),
    ),
    Mutant(
        "two_protocols_one_number",
        "an agent that does not know protocol 2 gets a batch that was sent as columns under another number",
        _CLIENT + "test_two_protocols_one_number",
        (
            ("client/sender.py", "        batch.fall_back()\n", "        batch.number = None\n"),
            ("client/exchange.py", "        self.blocks = ()\n", ""),
        ),
    ),
    Mutant(
        "agent_names_instance",
        "the client draws the name of its instance",
        _CLIENT + "test_agent_names_instance",
        (
            (
                "client/exchange.py",
                "        return dict(FRAME), encode_frame(client_id, None, 0)\n",
                "        return {'Taba-Batch': 'c' * 32 + '/0'}, b''\n",
            ),
        ),
    ),
    # ------------------------------------------------------------------------------------------------------- agent
    Mutant(
        "one_step_merge",
        "the agent looks at the number, and merges some turns later",
        _SCRIPTS + "IntakeTests.test_one_step_merge",
        (
            (
                "agent/http.py",
                "            receipt = self._agent.apply(scratch, batch, dropped)\n",
                "            known = self._agent.intake.instances.get(batch.instance or '') if batch else None\n"
                "            new = known is not None and batch.number > known.last\n"
                "            from twisted.internet.task import deferLater\n"
                "            yield deferLater(self._agent._clock, 0.05)\n"
                "            if new:\n"
                "                self._agent.intake.instances[batch.instance].last = batch.number - 1\n"
                "            receipt = self._agent.apply(scratch, batch, dropped)\n",
            ),
        ),
    ),
    Mutant(
        "number_with_data",
        "the spool notes the number of a batch one commit after its events",
        _SCRIPTS + "IntakeTests.test_number_with_data",
        (
            (
                "agent/intake.py",
                "        self.open = OpenCommit(closed.number + 1)\n",
                "        self.open = OpenCommit(closed.number + 1)\n"
                "        self.open.instances, closed.instances = closed.instances, {}\n",
            ),
        ),
    ),
    Mutant(
        "answer_after_sync",
        "the agent answers a batch before its commit is synced",
        _SCRIPTS + "IntakeTests.test_answer_after_sync",
        (("agent/http.py", "            yield self._agent.durable(receipt.commit)\n", "            yield None\n"),),
    ),
    Mutant(
        "duplicate_after_commit",
        "the agent answers a duplicate before the commit that holds the first one is synced",
        _SCRIPTS + "IntakeTests.test_duplicate_after_commit",
        (
            (
                "agent/intake.py",
                "                return Receipt(Applied.DUPLICATE, known.commit)\n",
                "                return Receipt(Applied.DUPLICATE, 0)\n",
            ),
        ),
    ),
    Mutant(
        "seal_before_send",
        "the agent sends a batch before its seal is synced",
        _SCRIPTS + "SealingTests.test_seal_before_send",
        (
            (
                "agent/committer.py",
                "        records += [each.seal for each in sealed]\n",
                "        records += [each.seal for each in sealed]\n"
                "        self._publish(None, [], sealed)\n        sealed = []\n",
            ),
        ),
    ),
    Mutant(
        "snapshot_between_commits",
        "a snapshot notes numbers whose events are not committed yet",
        _SCRIPTS + "SealingTests.test_snapshot_between_commits",
        (
            (
                "agent/committer.py",
                "        return self._prune(evolve(snapshot, incarnation=self.incarnation))\n",
                "        noted = {name: (each.last, each.used) for name, each in self.intake.instances.items()}\n"
                "        return self._prune(evolve(snapshot, incarnation=self.incarnation, instances=noted))\n",
            ),
            (
                "agent/numbers.py",
                "            if self.instances.get(instance, (-1, 0.0))[0] != number:\n",
                "            if False:\n",
            ),
        ),
    ),
    Mutant(
        "snapshot_before_drop",
        "what a new segment opens with is not synced before it takes its place and older segments go",
        "tests.agent.test_crash_images.CrashImageTests.test_rotations",
        (
            (
                "agent/segment_files.py",
                "            file.write(content)\n            file.sync()\n",
                "            file.write(content)\n",
            ),
        ),
    ),
    Mutant(
        "commit_once",
        "recovery reads all of a segment whose sync failed, and takes a commit again that is in the next one, too",
        "tests.agent.test_crash_images.CrashImageTests.test_failures",
        (
            (
                "agent/recovery.py",
                "            found.end_at(opening.previous_end)\n",
                "            found.cut()\n",
            ),
            (
                "agent/replay.py",
                "        if commit.number < self.position.commit:\n            return  #",
                "        if False:\n            return  #",
            ),
        ),
    ),
    Mutant(
        "new_incarnation",
        "the agent keeps its incarnation over restarts",
        _SCRIPTS + "SealingTests.test_new_incarnation",
        (
            (
                "agent/service.py",
                "        self._renew()\n        self.types.remember(snapshot.types)\n",
                "        self._renew()\n        committer.incarnation = snapshot.incarnation or committer.incarnation\n"
                "        self.types.remember(snapshot.types)\n",
            ),
        ),
    ),
    Mutant(
        "old_lane_for_unsealed",
        "recovery seals the committed rest under the new incarnation",
        _SCRIPTS + "SealingTests.test_old_lane_for_unsealed",
        (
            (
                "agent/service.py",
                "        self._renew()\n        self.types.remember(snapshot.types)\n",
                "        self._renew()\n"
                "        sealing = committer.sealing\n"
                "        if sealing.undivided:\n"
                "            sealing.undivided = {committer.incarnation: [\n"
                "                piece for pieces in sealing.undivided.values() for piece in pieces]}\n"
                "        committer.holdings._undivided = {committer.incarnation: [\n"
                "            commit for commits in committer.holdings._undivided.values() for commit in commits]}\n"
                "        self.types.remember(snapshot.types)\n",
            ),
        ),
    ),
    Mutant(
        "commit_time_as_seal_time",
        "recovery stamps the committed rest with the time of recovery",
        _SCRIPTS + "SealingTests.test_commit_time_as_seal_time",
        (
            (
                "agent/service.py",
                "        committer.sealing.recover(recovered)\n",
                "        committer.sealing.recover(recovered)\n"
                "        for piece in [each for pieces in committer.sealing.undivided.values() for each in pieces]:\n"
                "            piece.time = self._wall()\n",
            ),
        ),
    ),
    Mutant(
        "second_look",
        "the time of the answer counts, not that of the question",
        _LANE + "RetentionTests.test_when_the_request_was_sent_counts",
        (
            ("agent/lane.py", _CONFIRMS, _CONFIRMS.replace("sent_at", "now")),
            (
                "agent/lane.py",
                "            actions.append(self._confirm(sent_at))\n",
                "            actions.append(self._confirm(now))\n",
            ),
        ),
    ),
    Mutant(
        "retention",
        "the agent lets go of a batch at its first ok",
        _SCRIPTS + "LaneTests.test_retention",
        (
            ("agent/lane.py", _CONFIRMS, "        if self._oks:\n"),
            ("agent/lane.py", _LETS_GO, "        while self._oks:\n"),
        ),
    ),
    Mutant(
        "look_lineage",
        "an ok under one lineage and a second look under another confirm a batch",
        _SCRIPTS + "LaneTests.test_look_lineage",
        (
            (
                "agent/lane.py",
                "        if lineage != self.lineage:\n            oks.clear()\n",
                "        if lineage != self.lineage:\n",
            ),
        ),
    ),
    Mutant(
        "quiet_lanes_look",
        "a lane that has nothing to send does not look",
        _SCRIPTS + "LaneTests.test_rollback_of_a_quiet_lane",
        (
            (
                "agent/lane.py",
                "            self.state, self.due = LaneState.QUIET, max(earliest, fallen)\n",
                "            self.state, self.due = LaneState.QUIET, NEVER\n",
            ),
        ),
    ),
    Mutant(
        "checksum",
        "nobody compares the checksum of the last number",
        _SCRIPTS + "LaneTests.test_checksum",
        (
            ("store/judge.py", _OTHER_EVENTS, "    if False:\n"),
            ("agent/lane.py", _OTHER_LAST, "        if verdict is _CONFLICT:\n"),
        ),
    ),
    Mutant(
        "chain",
        "the store does not compare the checksum of the batch that another follows",
        _SCRIPTS + "LaneTests.test_chain",
        (("store/judge.py", _FOLLOWS_OTHER, "    if False:\n"),),
    ),
    Mutant(
        "gap_stands",
        "a gap that cannot be filled is believed at once",
        _LANE + "GapTests.test_gap_is_asked_again",
        (
            (
                "agent/lane.py",
                "        if sent_at < self._gap[1] + self.confirm_seconds:\n            return []\n",
                "",
            ),
        ),
    ),
    Mutant(
        "pass_over",
        "the next batch names the lost number for ever",
        _SCRIPTS + "LaneTests.test_pass_over",
        (("agent/lane.py", "        self._held[batch.seq] = evolve(batch, after=last)\n", ""),),
    ),
    # ------------------------------------------------------------------------------------------------- store and be
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
