"""The contract of `IStore`, as a suite that every implementation runs.

    class MyStoreTests(StoreContract, SynchronousTestCase):
        def make_harness(self): return MyHarness(...)

`StoreContract` is no TestCase by itself. See `StoreHarness` for what it needs, and the parts for what it says.
"""

from __future__ import annotations

from tests.contracts.store_append import AppendContract
from tests.contracts.store_aside import AsideContract
from tests.contracts.store_checkpoint import CheckpointContract
from tests.contracts.store_flush import FlushContract
from tests.contracts.store_leases import LeaseContract
from tests.contracts.store_members import MemberContract
from tests.contracts.store_queries import QueryContract
from tests.contracts.store_read import ReadContract
from tests.contracts.store_renames import RenameContract
from tests.contracts.store_trouble import TroubleContract


class StoreContract(
    AppendContract,
    ReadContract,
    LeaseContract,
    CheckpointContract,
    RenameContract,
    AsideContract,
    FlushContract,
    MemberContract,
    QueryContract,
    TroubleContract,
):
    """All that `taba.interfaces.IStore` promises."""
