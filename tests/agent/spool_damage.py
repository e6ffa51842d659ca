"""What the tests of damaged spools share."""

from __future__ import annotations

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from taba.agent.encoding import Kind
from taba.agent.recovery import Damage
from taba.agent.segments import Frame, scan, segment_name
from taba.agent.spool import Spool
from tests.agent.spool_folder import TracedFolder, checksum
from tests.agent.spool_life import Account, Life, account_of

NEXT = "f" * 32


def frames_of(contents: dict[str, bytes], number: int, kind: Kind) -> list[Frame]:
    """The frames of a kind in a segment."""
    found = scan(number, contents[segment_name(number)], checksum)
    return [frame for frame in found.frames if frame.kind == kind]


def spoil(contents: dict[str, bytes], number: int, *frames: Frame) -> dict[str, bytes]:
    """The same files, with these frames unreadable."""
    content = bytearray(contents[segment_name(number)])
    for frame in frames:
        content[frame.offset : frame.end] = bytes(frame.end - frame.offset)
    return contents | {segment_name(number): bytes(content)}


class RecoveryCase(SynchronousTestCase):
    """What the tests share."""

    def started(self, contents: dict[str, bytes]) -> tuple[Account, Damage, TracedFolder]:
        """Start in such a folder, in which something is damaged."""
        folder = TracedFolder.of(contents)
        spool = Spool(folder, checksum)
        recovered = spool.open()
        spool.start_segment(evolve(recovered.snapshot, incarnation=NEXT))
        assert recovered.damage is not None
        return account_of(spool, recovered), recovered.damage, folder

    def assertFoundAgain(self, folder: TracedFolder, found: Account) -> None:
        """The next start finds the same, and nobody is told of the damage a second time."""
        spool = Spool(TracedFolder.of(folder.contents()), checksum)
        recovered = spool.open()
        self.assertIsNone(recovered.damage)
        spool.start_segment(evolve(recovered.snapshot, incarnation=NEXT))
        self.assertEqual(account_of(spool, recovered), evolve(found, incarnation=NEXT))


def closed(life: Life) -> dict[str, bytes]:
    """The files of a life that ended in good order."""
    life.sync()
    life.spool.close()
    return life.folder.contents()
