"""`reshard` as a user meets it, but for the moves themselves: tests/store/redis and tests/redis have those."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from taba.cli import resharding
from taba.errors import StartError
from taba.store.redis.mover import Task
from taba.store.redis.resharding import Figures, Move, Progress
from tests.cli.cli_case import AnswersCase

SHARDS = [{"shard_name": "one", "vbuckets": [0, 3]}, {"shard_name": "two", "vbuckets": [4, 7]}]
MOVES = [Move(3, "one", "two", True), Move(2, "one", "two"), Move(7, "two", "three")]


class ReshardTests(AnswersCase):
    def setUp(self) -> None:
        super().setUp()
        self.settings = Path(self.mktemp()).absolute()
        self.write(NUM_VBUCKETS=8, SENTINELS=[["localhost", 1]], SHARDS=SHARDS)
        self.moves: list[Move] = MOVES
        self.tasks: list[Task] = []
        self.figures = Figures(3, 1, [], [0.002, 0.004, 0.009], [0.1, 0.25, 0.05], 123_456)
        self.problem: Exception | None = None
        self.patch(resharding, "with_shards", self.on_shards)

    def write(self, **database: Any) -> None:
        self.settings.write_text(json.dumps({"DB_SETTINGS": database}))

    def on_shards(
        self, session: Any, database: Any, task: Task, agreed: Callable[[Sequence[Move]], bool], seconds: float
    ) -> Figures | None:
        """Stands in for Redis."""
        if self.problem is not None:
            raise self.problem
        if not agreed(self.moves):
            return None
        self.tasks.append(task)
        return self.figures

    def reshard(self, *more: str, code: int = 0, **given: Any) -> str:
        result = self.run_cli("reshard", "--to", str(self.settings), *more, **given)
        self.assertEqual(result.exit_code, code, result.output)
        return result.output

    def test_move(self) -> None:
        """It says what there is to do, asks back, and says what was done."""
        said = self.reshard(typed="y\n")
        self.assertIn("one -> two: 2 vbuckets\ntwo -> three: 1 vbuckets", said)
        self.assertIn("1 of them are being undone first", said)
        self.assertIn("Moved: 3 vbuckets, 120.6 KiB. Undone: 1.", said)
        self.assertIn("4.0 ms (median; the longest 9.0 ms), and was not folded for 0.2 s at most", said)
        self.assertEqual(self.tasks, [Task.RUN])

    def test_asks_back(self) -> None:
        """Anything but yes changes nothing."""
        self.reshard(typed="n\n", code=1)
        self.assertEqual(self.tasks, [])

    def test_dry_run(self) -> None:
        """A dry run shows the plan and asks nothing."""
        self.assertIn("two -> three", self.reshard("--dry-run"))
        facts = json.loads(self.reshard("--dry-run", "--json"))
        self.assertEqual(facts["moves"][0], {"vbucket": 3, "from": "one", "to": "two", "undoing": True})
        self.assertEqual(self.tasks, [])

    def test_nothing_to_do(self) -> None:
        """Where all is where it is to be, that is said."""
        self.moves = []
        self.assertIn("All vbuckets are where SHARDS has them", self.reshard())
        self.assertEqual(json.loads(self.reshard("--json"))["moves"], [])
        self.assertEqual(self.tasks, [])

    def test_abort(self) -> None:
        """What is under way is undone, also when nothing else would be moved."""
        self.moves = []
        self.reshard("--abort", "--yes")
        self.assertEqual(self.tasks, [Task.ABORT])
        self.reshard("--abort", "--dry-run", code=2)

    def test_json(self) -> None:
        """For programs the figures."""
        facts = json.loads(self.reshard("--yes", "--json"))
        self.assertEqual((facts["moved"], facts["undone"], facts["left"], facts["bytes"]), (3, 1, [], 123_456))
        self.assertEqual(facts["sealed_seconds"], {"median": 0.004, "longest": 0.009})

    def test_left(self) -> None:
        """Vbuckets that had to be left make it end with 1."""
        self.figures.left.append(5)
        self.assertIn("somebody else moves them, or undoes it: 5", self.reshard("--yes", code=1))

    def test_trouble(self) -> None:
        """Whatever ends it is told, with the exit code of what cannot be used."""
        self.problem = StartError("There is no cluster on these shards yet")
        self.assertIn("taba-cli: There is no cluster", self.reshard("--yes", code=5))

    def test_settings_without_shards(self) -> None:
        """Settings of one Redis, that are wrong, or that are not there, are told before anything is opened."""
        self.write(REDIS_URL="redis://127.0.0.1:1")
        self.assertIn("has no SHARDS", self.reshard("--yes", code=5))
        self.settings.write_text("{")
        self.reshard("--yes", code=5)
        self.settings.unlink()
        self.reshard("--yes", code=5)
        self.assertEqual(self.run_cli("reshard").exit_code, 2)

    def test_progress(self) -> None:
        """A bar, how many are there, and what is waited for, or what keeps it from going on."""
        line = resharding.progress_line(Progress(8, 4, 1, 17.2))
        self.assertEqual(line, "[############............] 4 of 8 vbuckets there, 1 done; 17 s until this is confirmed")
        hanging = resharding.progress_line(Progress(8, 0, 0, 0.0, "it hangs"))
        self.assertIn("0 of 8 vbuckets there, 0 done; it hangs", hanging)
        self.assertIn("] 0 of 0 vbuckets", resharding.progress_line(Progress(0, 0, 0, 0.0)))

    def test_problems_are_told_once(self) -> None:
        """Each thing that keeps it from going on is said when it begins."""
        noted: list[str] = []

        class Noting:
            def note(self, text: str) -> None:
                noted.append(text)

            def progress(self, text: str) -> None:
                assert text

            def end_progress(self) -> None:
                pass

        session: Any = Noting()
        telling = resharding.Telling(session)
        for problem in ("one is down", "one is down", "", "two is down"):
            telling(Progress(2, 0, 0, 0.0, problem))
        self.assertEqual(noted, ["one is down; it is tried again", "two is down; it is tried again"])
