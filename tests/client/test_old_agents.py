"""Each engine with an agent that does not know protocol 2.

REAL: these tests use loopback sockets and subprocesses.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.client.engines_contract import OldAgentContract


class ThreadTests(OldAgentContract, SynchronousTestCase):
    """The thread engine."""

    engine = "thread"


class AsyncioTests(OldAgentContract, SynchronousTestCase):
    """The asyncio engine."""

    engine = "asyncio"


class GeventTests(OldAgentContract, SynchronousTestCase):
    """The gevent engine."""

    engine = "gevent"


class TwistedTests(OldAgentContract, SynchronousTestCase):
    """The Twisted engine."""

    engine = "twisted"
