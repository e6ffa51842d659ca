"""The rules of one process of each kind that exactly once rests on, switched off in the real code, and the tests that
must see it.

The names are those of the executable model of the protocol. What a fleet on Redis needs beside these is in
redis_rules.py, what moves of vbuckets need in move_rules.py, and how be share vbuckets in fleet_rules.py.
"""

from __future__ import annotations

from collections.abc import Sequence

from tests.mutants.agent_rules import AGENT_MUTANTS
from tests.mutants.client_rules import CLIENT_MUTANTS
from tests.mutants.mutant import Mutant
from tests.mutants.store_rules import STORE_MUTANTS

MUTANTS: Sequence[Mutant] = (*CLIENT_MUTANTS, *AGENT_MUTANTS, *STORE_MUTANTS)
