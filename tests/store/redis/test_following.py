"""Who is master, by the word of the Sentinels."""

from __future__ import annotations

from random import Random

from attrs import frozen
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from taba.store.redis.access import Address
from taba.store.redis.following import (
    HURRIED_SECONDS,
    STEADY_SECONDS,
    VOUCH_SECONDS,
    Backoff,
    Following,
    look_again,
)

A, B, C = (Address(f"10.0.0.{i}", 6379) for i in (1, 2, 3))


def following(count: int = 3) -> Following:
    """A shard watched by so many Sentinels, none of which has answered."""
    return Following("shard1", [f"s{i + 1}" for i in range(count)])


class MajorityTests(SynchronousTestCase):
    """Whom a majority names."""

    def test_two_of_three(self) -> None:
        """Two are a majority of three; one is not."""
        shard = following()
        shard.heard("s1", A, 10.0)
        self.assertIsNone(shard.master(10.0))
        shard.heard("s3", A, 10.0)
        self.assertEqual(shard.master(10.0), A)

    def test_silent_sentinels_count(self) -> None:
        """Both that answer agree, but there are five: nobody is named."""
        shard = following(5)
        shard.heard("s1", A, 10.0)
        shard.heard("s2", A, 10.0)
        self.assertIsNone(shard.master(10.0))

    def test_half_is_no_majority(self) -> None:
        """Of four, two name one master and two another; of two, one is not enough."""
        four, two = following(4), following(2)
        for name, master in zip(("s1", "s2", "s3", "s4"), (A, A, B, B), strict=True):
            four.heard(name, master, 1.0)
        two.heard("s1", A, 1.0)
        self.assertEqual((four.master(1.0), two.master(1.0)), (None, None))

    def test_newer_word_replaces_older(self) -> None:
        """A Sentinel that has changed its mind counts once, for the new one."""
        shard = following()
        for name in ("s1", "s2"):
            shard.heard(name, A, 1.0)
        shard.heard("s2", B, 2.0)
        self.assertIsNone(shard.master(2.0))
        shard.heard("s3", B, 2.0)
        self.assertEqual(shard.master(2.0), B)

    def test_older_question_changes_nothing(self) -> None:
        """An answer that overtook another stands."""
        shard = following(1)
        shard.heard("s1", B, 2.0)
        shard.heard("s1", A, 1.0)
        self.assertEqual(shard.master(2.0), B)

    def test_words_grow_old(self) -> None:
        """What was asked more than VOUCH_SECONDS ago vouches for nothing, whenever the answer came."""
        shard = following()
        shard.heard("s1", A, 10.0)
        shard.heard("s2", A, 12.0)
        self.assertTrue(shard.vouches(A, 10.0 + VOUCH_SECONDS))
        self.assertFalse(shard.vouches(A, 10.1 + VOUCH_SECONDS))

    def test_stranger_has_no_voice(self) -> None:
        """Only the Sentinels of the settings are heard."""
        with self.assertRaises(ValueError):
            following().heard("s9", A, 0.0)

    def test_named_by(self) -> None:
        """Those whose word counts, in the order of the settings."""
        shard = following()
        for name, master in (("s3", A), ("s2", B), ("s1", A)):
            shard.heard(name, master, 5.0)
        self.assertEqual(shard.named_by(A, 5.0), ["s1", "s3"])


class ProblemTests(SynchronousTestCase):
    """Why there is no master, for people."""

    def said(self, *words: Address | None, count: int = 3) -> str:
        """The problem when the first Sentinels have said these words."""
        shard = following(count)
        for i, word in enumerate(words):
            shard.heard(f"s{i + 1}", word, 1.0)
        return shard.problem(1.0)

    def test_nothing_wrong(self) -> None:
        """No words when there is a majority."""
        self.assertEqual(self.said(A, A), "")

    def test_nobody_answers(self) -> None:
        """None of them."""
        self.assertEqual(self.said(), "none of the 3 Sentinels answers")

    def test_too_few_answer(self) -> None:
        """How many do, and how many must."""
        self.assertEqual(self.said(A), "only 1 of 3 Sentinels answer; 2 must name the master")

    def test_unknown_shard(self) -> None:
        """They answer that there is no such shard."""
        self.assertEqual(self.said(None, None), "the Sentinels know no master named shard1")

    def test_disagreement(self) -> None:
        """Who is named how often."""
        self.assertEqual(
            self.said(A, B, None),
            "no 2 of 3 Sentinels agree on the master: 1 name 10.0.0.1:6379, 1 name 10.0.0.2:6379,"
            " 1 know none named shard1",
        )


@frozen
class Answer:
    """What one Sentinel answered: who, whom, when it was asked, and how much later that was heard."""

    sentinel: int
    master: Address | None
    asked: float
    late: float


answers = st.builds(
    Answer,
    st.integers(0, 4),
    st.sampled_from((A, B, C, None)),
    st.floats(0, 30, allow_nan=False),
    st.floats(0, 8, allow_nan=False),
)


class LawTests(SynchronousTestCase):
    """What holds whatever the Sentinels say, and however late it is heard."""

    @given(st.integers(1, 5), st.lists(answers, max_size=25))
    def test_vouched_for_by_a_majority_that_said_so(self, count: int, said: list[Answer]) -> None:
        """At any moment at most one master is vouched for; a majority answered, to questions of the last VOUCH_SECONDS,
        that it is the one; and no two vouched for within that time have disjoint majorities.
        """
        shard = following(count)
        vouched: list[tuple[float, Address, set[str]]] = []
        heard: list[Answer] = []
        for answer in sorted(said, key=lambda each: each.asked + each.late):
            if answer.sentinel >= count:
                continue
            now = answer.asked + answer.late
            shard.heard(f"s{answer.sentinel + 1}", answer.master, answer.asked)
            heard.append(answer)
            named = [master for master in (A, B, C) if shard.vouches(master, now)]
            self.assertLessEqual(len(named), 1)
            self.assertEqual(shard.master(now), named[0] if named else None)
            for master in named:
                by = {
                    f"s{each.sentinel + 1}"
                    for each in heard
                    if each.master == master and now - each.asked <= VOUCH_SECONDS
                }
                self.assertLessEqual(set(shard.named_by(master, now)), by)
                self.assertGreater(2 * len(shard.named_by(master, now)), count)
                vouched.append((now, master, set(shard.named_by(master, now))))
        for time, master, majority in vouched:
            for other_time, other, other_majority in vouched:
                if master != other and abs(time - other_time) <= VOUCH_SECONDS:
                    self.assertTrue(majority & other_majority)

    @given(st.lists(answers, max_size=10), st.floats(0, 50, allow_nan=False))
    def test_a_problem_or_a_master(self, said: list[Answer], now: float) -> None:
        """There is either a master, or words for why there is none."""
        shard = following(5)
        for answer in said:
            shard.heard(f"s{answer.sentinel + 1}", answer.master, answer.asked)
        self.assertEqual(shard.master(now) is None, shard.problem(now) != "")


class RhythmTests(SynchronousTestCase):
    """When to look again."""

    def test_steady_and_hurried(self) -> None:
        """About every second while all is well, five times as often and more while there is no master."""
        random = Random(1)
        steady = [look_again(False, random) for _ in range(100)]
        hurried = [look_again(True, random) for _ in range(100)]
        self.assertTrue(all(0.9 * STEADY_SECONDS <= each <= STEADY_SECONDS for each in steady))
        self.assertTrue(all(HURRIED_SECONDS / 2 <= each <= HURRIED_SECONDS for each in hurried))

    def test_backoff_is_bounded(self) -> None:
        """It doubles up to its bound, and begins anew when all is well."""
        backoff, random = Backoff(0.05, 1.0), Random(2)
        waits = [backoff.next(random) for _ in range(2000)]
        self.assertTrue(all(0.025 <= each <= 1.0 for each in waits))
        self.assertTrue(all(each >= 0.5 for each in waits[5:]))
        backoff.reset()
        self.assertLessEqual(backoff.next(random), 0.05)
