"""The functions of the Redis store in Python, as the server in memory has them."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from taba.store.redis.library import SERVES, VERSION, source
from taba.store.redis.moving_library import VERSION as MOVING_VERSION
from taba.store.redis.moving_library import moving_source
from taba.testing.redis.library import taba_library
from taba.testing.redis.library_moving import moving_library
from tests.contracts.functions import FunctionContract, TwinServer
from tests.contracts.functions_moving import MovingFunctionContract
from tests.contracts.functions_rare import RareFunctionContract


class FunctionTests(FunctionContract, SynchronousTestCase):
    """The functions in Python do what they must."""

    def make_server(self) -> TwinServer:
        return TwinServer()


class RareFunctionTests(RareFunctionContract, SynchronousTestCase):
    """So do those that are called now and then."""

    def make_server(self) -> TwinServer:
        return TwinServer()


class MovingFunctionTests(MovingFunctionContract, SynchronousTestCase):
    """And those that move vbuckets."""

    def make_server(self) -> TwinServer:
        return TwinServer()


class LibraryTextTests(SynchronousTestCase):
    """Lua and Python have the same functions."""

    def test_same_names_and_flags(self) -> None:
        """What the texts register, and how, is what the twins have."""
        for text, library in ((source(), taba_library()), (moving_source(), moving_library())):
            registered = {}
            for line in text.splitlines():
                word, _, rest = line.partition("('taba_")
                if rest:
                    registered["taba_" + rest.partition("'")[0]] = word
            flags = {"reads": ["no-writes"], "always": ["allow-oom"], "redis.register_function": []}
            self.assertEqual({name: flags[word] for name, word in registered.items()},
                             {name: library.flags(name) for name in library.functions})  # fmt: skip

    def test_same_version(self) -> None:
        """The text says the version that the store expects."""
        self.assertIn(f"local VERSION = {VERSION}\n", source())
        self.assertIn(f"local SERVES = {SERVES}\n", source())
        self.assertIn(f"local VERSION = {MOVING_VERSION}\n", moving_source())
