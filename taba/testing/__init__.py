"""A simulated world to test distributed Twisted code in, and doubles for those who use Taba.

`World` is the way in: machines with disks and clocks, a network with faults, one virtual time, everything a function of
a seed. Its parts serve in plain unit tests as well: `HeapClock` in place of `task.Clock`, `MemoryNetwork` for a few
connections, `MemoryDisk` for code that writes files. Each says in its docstring what it does not simulate.

`FakeAgent` is for the tests of applications: an agent in the test's own process that keeps the events it is sent, on a
real socket. `FakeAgentMixin` gives one to TestCases, `taba.testing.pytest_plugin` to tests of pytest.
"""

from __future__ import annotations

from taba.testing.clock import ClockStalled, HeapClock
from taba.testing.disk import DiskImage, MemoryDisk
from taba.testing.fake_agent import FakeAgent, FakeAgentMixin
from taba.testing.fake_reading import RecordedEvent
from taba.testing.network import MemoryNetwork
from taba.testing.node import Node, Process
from taba.testing.reactor import OwnThread, SimulatedReactor
from taba.testing.redelivery import RecordedRequest, Redelivery
from taba.testing.world import NotQuiet, NotReached, World, met_table

__all__ = [
    "ClockStalled",
    "DiskImage",
    "FakeAgent",
    "FakeAgentMixin",
    "HeapClock",
    "MemoryDisk",
    "MemoryNetwork",
    "Node",
    "NotQuiet",
    "NotReached",
    "OwnThread",
    "Process",
    "RecordedEvent",
    "RecordedRequest",
    "Redelivery",
    "SimulatedReactor",
    "World",
    "met_table",
]
