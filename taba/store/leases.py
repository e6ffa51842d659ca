"""Who may checkpoint which vbucket: leases in the memory of a store, as a pure state machine.

Every grant has a higher epoch than all before it, so that the one before is no longer held, whoever has it. Times
are monotonic seconds. A lease that expired, was given back or was granted again is not held, and never will be again.
"""

from __future__ import annotations

from collections.abc import Iterable

from attrs import define, field

from taba.interfaces import Lease


@define
class _Grant:
    """The newest grant of a vbucket."""

    lease: Lease
    ttl: float
    expires: float


@define
class Leases:
    """The leases of one store. `epochs` has the highest epoch that each vbucket's grants had; the others start at
    1.
    """

    _epochs: dict[int, int] = field(factory=dict)
    _grants: dict[int, _Grant] = field(factory=dict, init=False)

    def grant(self, vbuckets: Iterable[int], owner: str, ttl: float, now: float) -> dict[int, Lease]:
        """Grant those that nobody but `owner` holds; whoever asks must make the epochs durable before using them."""
        granted = {}
        for vbucket in dict.fromkeys(vbuckets):
            newest = self._grants.get(vbucket)
            if newest and newest.lease.owner != owner and now < newest.expires:
                continue
            # Raised here and now: a grant that could not be written down is never given a second time.
            epoch = self._epochs[vbucket] = self._epochs.get(vbucket, 0) + 1
            granted[vbucket] = Lease(vbucket, owner, epoch)
            self._grants[vbucket] = _Grant(granted[vbucket], ttl, now + ttl)
        return granted

    def holds(self, lease: Lease, now: float) -> bool:
        """Whether `lease` is held."""
        newest = self._grants.get(lease.vbucket)
        return newest is not None and newest.lease == lease and now < newest.expires

    def renew(self, leases: Iterable[Lease], ttl: float, now: float) -> set[int]:
        """Prolong those that are held to `ttl` seconds from now; answers with their vbuckets."""
        held = {lease.vbucket for lease in leases if self.holds(lease, now)}
        for vbucket in held:
            self._grants[vbucket].ttl, self._grants[vbucket].expires = ttl, now + ttl
        return held

    def prolong(self, lease: Lease, now: float) -> None:
        """Prolong, by the ttl it has, a lease whose checkpoint was just written, even when it ran out during the
        write.
        """
        newest = self._grants.get(lease.vbucket)
        if newest and newest.lease == lease:
            newest.expires = now + newest.ttl

    def release(self, leases: Iterable[Lease]) -> None:
        """Take back those that are the newest grants."""
        for lease in leases:
            newest = self._grants.get(lease.vbucket)
            if newest and newest.lease == lease:
                del self._grants[lease.vbucket]
