"""The contract of leases: `IStore.acquire`, `renew`, `release`, and what fences a checkpoint."""

from __future__ import annotations

from taba.interfaces import Lease, Written
from tests.contracts.store_harness import TTL, VBUCKETS, StoreSuite, V, W


class LeaseContract(StoreSuite):
    """Who may checkpoint, for how long, and who may not any more."""

    def acquire(self, owner: str, *vbuckets: int) -> dict[int, Lease]:
        return self.get(self.store.acquire(vbuckets, owner, TTL))

    def renew(self, *leases: Lease, ttl: float = TTL) -> set[int]:
        return self.get(self.store.renew(leases, ttl))

    # ------------------------------------------------------------------------------------------------------ grants

    def test_lease_is_granted(self) -> None:
        """A free vbucket is leased to whoever asks first."""
        leases = self.acquire("be-1", V)
        self.assertEqual((leases[V].vbucket, leases[V].owner), (V, "be-1"))
        self.assertGreaterEqual(leases[V].epoch, 1)

    def test_held_lease_is_not_granted_to_another(self) -> None:
        """What somebody holds is missing from the answer; the rest is granted."""
        self.acquire("be-1", V)
        self.assertEqual(set(self.acquire("be-2", V, W)), {W})

    def test_expired_lease_is_granted_under_a_higher_epoch(self) -> None:
        """Whoever stays away for longer than its lease loses it to the next."""
        first = self.acquire("be-1", V)[V]
        self.harness.advance(TTL + 0.1)
        second = self.acquire("be-2", V)[V]
        self.assertGreater(second.epoch, first.epoch)

    def test_asking_again_grants_again(self) -> None:
        """An owner that asks again, because it forgot, gets a new lease; the one before is not held any more."""
        first = self.acquire("be-1", V)[V]
        second = self.acquire("be-1", V)[V]
        self.assertGreater(second.epoch, first.epoch)
        self.assertEqual(self.renew(first), set())
        self.assertEqual(self.renew(second), {V})

    def test_vbuckets_that_do_not_exist_are_not_granted(self) -> None:
        """A vbucket beyond NUM_VBUCKETS is missing from the answer."""
        self.assertEqual(self.acquire("be-1", VBUCKETS), {})

    # ------------------------------------------------------------------------------------------- renew and release

    def test_renewed_lease_lasts(self) -> None:
        """A lease that is renewed in time is held on."""
        lease = self.acquire("be-1", V)[V]
        for _ in range(3):
            self.harness.advance(TTL * 0.75)
            self.assertEqual(self.renew(lease), {V})
        self.assertEqual(self.acquire("be-2", V), {})

    def test_renewed_lease_lasts_as_long_as_asked(self) -> None:
        """A renewal counts from its own time, with its own ttl."""
        lease = self.acquire("be-1", V)[V]
        self.renew(lease, ttl=10 * TTL)
        self.harness.advance(9 * TTL)
        self.assertEqual(self.renew(lease), {V})

    def test_expired_lease_is_not_renewed(self) -> None:
        """Too late is too late, even when nobody else came."""
        lease = self.acquire("be-1", V)[V]
        self.harness.advance(TTL + 0.1)
        self.assertEqual(self.renew(lease), set())

    def test_renewing_says_which_are_held(self) -> None:
        """Of several leases the ones that are gone are missing from the answer."""
        mine = self.acquire("be-1", V)[V]
        other = Lease(W, "be-1", 1)
        self.assertEqual(self.renew(mine, other), {V})

    def test_released_lease_is_free(self) -> None:
        """A be that stops makes room at once, and the next has a higher epoch."""
        lease = self.acquire("be-1", V)[V]
        self.get(self.store.release([lease]))
        self.assertEqual(self.renew(lease), set())
        self.assertGreater(self.acquire("be-2", V)[V].epoch, lease.epoch)

    def test_releasing_what_is_not_held_changes_nothing(self) -> None:
        """A deposed owner cannot release its successor's lease."""
        old = self.acquire("be-1", V)[V]
        self.harness.advance(TTL + 0.1)
        new = self.acquire("be-2", V)[V]
        self.get(self.store.release([old]))
        self.assertEqual(self.renew(new), {V})

    def test_checkpoint_prolongs_its_lease(self) -> None:
        """An owner that keeps writing need not renew."""
        lease = self.acquire("be-1", V)[V]
        for _ in range(3):
            self.harness.advance(TTL * 0.75)
            self.assertEqual(self.write(self.next_checkpoint(lease)), [Written.DONE])
        self.assertEqual(self.acquire("be-2", V), {})

    def test_stale_checkpoint_does_not_prolong_its_lease(self) -> None:
        """Only what is written counts as a sign of life."""
        lease = self.acquire("be-1", V)[V]
        stale = self.next_checkpoint(lease)
        self.write(stale)
        self.harness.advance(TTL * 0.75)
        self.assertEqual(self.write(stale), [Written.STALE])
        self.harness.advance(TTL * 0.75)
        self.assertEqual(set(self.acquire("be-2", V)), {V})

    # ----------------------------------------------------------------------------------------------------- fencing

    def test_deposed_owner_is_fenced(self) -> None:
        """A be that woke up after its lease went to another writes nothing."""
        old = self.acquire("be-1", V)[V]
        checkpoint = self.next_checkpoint(old, states={("tab", "client"): b"zombie"})
        self.harness.advance(TTL + 0.1)
        self.acquire("be-2", V)
        self.assertEqual(self.write(checkpoint), [Written.FENCED])
        self.assertEqual(self.select_states(), [])

    def test_older_grant_of_the_same_owner_is_fenced(self) -> None:
        """Two threads of life of one be cannot write both."""
        old = self.acquire("be-1", V)[V]
        checkpoint = self.next_checkpoint(old)
        new = self.acquire("be-1", V)[V]
        self.assertEqual(self.write(checkpoint), [Written.FENCED])
        self.assertEqual(self.write(self.next_checkpoint(new)), [Written.DONE])

    def test_expired_lease_is_fenced(self) -> None:
        """The right to write ends with the lease, not with the next owner."""
        checkpoint = self.next_checkpoint(self.acquire("be-1", V)[V])
        self.harness.advance(TTL + 0.1)
        self.assertEqual(self.write(checkpoint), [Written.FENCED])

    def test_released_lease_is_fenced(self) -> None:
        """Whoever gave a lease back has nothing to write."""
        lease = self.acquire("be-1", V)[V]
        checkpoint = self.next_checkpoint(lease)
        self.get(self.store.release([lease]))
        self.assertEqual(self.write(checkpoint), [Written.FENCED])

    def test_lease_that_was_never_granted_is_fenced(self) -> None:
        """A lease is not made up."""
        lease = self.acquire("be-1", V)[V]
        forged = Lease(V, "be-2", lease.epoch)
        self.assertEqual(self.write(self.next_checkpoint(forged)), [Written.FENCED])

    # ------------------------------------------------------------------------------------------------------ crashes

    def test_epochs_rise_over_a_crash(self) -> None:
        """No epoch is granted twice, whatever the store forgets when it crashes."""
        before = [self.acquire("be-1", V)[V].epoch for _ in range(3)]
        self.harness.crash()
        # A store in another process keeps leases over its users' crashes, one in the same process does not.
        self.harness.advance(TTL + 0.1)
        self.assertGreater(self.acquire("be-2", V)[V].epoch, max(before))

    def test_lease_of_before_a_crash_is_fenced_by_the_next(self) -> None:
        """A be that outlives the store's crash does not outlive its own lease."""
        old = self.acquire("be-1", V)[V]
        self.harness.crash()
        self.harness.advance(TTL + 0.1)
        self.acquire("be-2", V)
        self.assertEqual(self.renew(old), set())
        self.assertEqual(self.write(self.next_checkpoint(old)), [Written.FENCED])
