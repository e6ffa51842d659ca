"""What goes wrong in a run on Redis while vbuckets move between the shards, and the moves themselves."""

from __future__ import annotations

from attrs import define

from taba.settings import ShardSettings
from taba.store.redis.mover import Task
from tests.cluster.redis_faults import RedisFaults


@define(eq=False)
class MoveFaults(RedisFaults):
    """The faults of one run on Redis, with moves."""

    def reshard(self) -> None:
        """Somebody has vbuckets moved between the shards."""
        mover, (first, second) = self.fleet.mover, self.fleet.shards()
        if not mover.up:
            last = self.fleet.vbuckets - 1
            shards = self.random.sample([first, second], 2)
            border = self.random.randint(0, last - 1)
            self._mark("reshard", mover)
            mover.begin(
                Task.RUN, (ShardSettings(shards[0], (0, border)), ShardSettings(shards[1], (border + 1, last)))
            )

    def reshard_abort(self) -> None:
        """Somebody ends the moves that are under way, and has them undone."""
        mover = self.fleet.mover
        if self.fleet.on_the_move():
            self._mark("reshard_abort", mover)
            if mover.up:
                mover.crash()
            mover.begin(Task.ABORT)

    def mover_crash(self) -> None:
        """Who moves vbuckets is killed, and after some time, or at the end of the run, another one goes on."""
        mover = self.fleet.mover
        if mover.up:
            self._mark("mover_crash", mover)
            mover.crash()
            self._later(self._seconds(0.5, 3.0, 60.0), lambda: mover.begin(Task.RUN))

    def reshard_under_fire(self) -> None:
        """A master dies, or its mover, just when a vbucket is sealed, or has just arrived."""
        mover, delay = self.fleet.mover, self._one([0.0, 0.001, 0.002, 0.005, 0.02, 1.0])
        shard = self._shard()
        if shard is None:
            return
        if not mover.up:
            self.reshard()
        patience = 200

        def watch() -> None:
            nonlocal patience
            patience -= 1
            if any("sealed" in each for each in self.fleet.on_the_move().values()):
                self._later(delay, strike)
            elif patience > 0 and mover.up:
                self._later(0.05, watch)

        def strike() -> None:
            master = self.fleet.master(shard)
            if not self._may_depose(shard) or not master.up:
                return
            self._mark("reshard_under_fire", master)
            if self.random.random() < 0.3 and mover.up:
                mover.crash()
            self._crash_redis(master, power=False)

        watch()
