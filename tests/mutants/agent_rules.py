"""The rules of the agent that exactly once rests on, switched off, and the tests that must see it.

copy_of_synced is no rule of the code but a limit that operators have to keep.
"""

from __future__ import annotations

from collections.abc import Sequence

from tests.mutants.mutant import Mutant

_SCRIPTS = "tests.cluster.test_scripts."
_LANE = "tests.agent.test_lane."

_CONFIRMS = "        if self._oks and self._oks[0][1] + self.confirm_seconds <= sent_at:\n"
_LETS_GO = "        while self._oks and self._oks[0][1] + self.confirm_seconds <= sent_at:\n"
_OTHER_EVENTS = "    if batch.seq == row.last and batch.checksum != row.checksum:\n"
_OTHER_LAST = "        if verdict is _CONFLICT or (mine and mine.checksum != outcome.checksum):\n"
_FOLLOWS_OTHER = (
    "    if batch.after == last and batch.previous not in (None, row.checksum if row else None):\n"
)

AGENT_MUTANTS: Sequence[Mutant] = (
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
)
