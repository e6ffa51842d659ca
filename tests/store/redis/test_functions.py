"""The functions of the Redis store in Python, as the server in memory has them."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from taba.store.redis.library import VERSION, source
from taba.testing.redis.library import taba_library
from tests.contracts.functions import FunctionContract, TwinServer
from tests.contracts.functions_rare import RareFunctionContract


class FunctionTests(FunctionContract, SynchronousTestCase):
    """The functions in Python do what they must."""

    def make_server(self) -> TwinServer:
        return TwinServer()


class RareFunctionTests(RareFunctionContract, SynchronousTestCase):
    """So do those that are called now and then."""

    def make_server(self) -> TwinServer:
        return TwinServer()


class LibraryTextTests(SynchronousTestCase):
    """Lua and Python have the same functions."""

    def test_same_names_and_flags(self) -> None:
        """What the text registers, and how, is what the twin has."""
        registered = {}
        for line in source().splitlines():
            word, _, rest = line.partition("('taba_")
            if rest:
                registered["taba_" + rest.partition("'")[0]] = word
        library = taba_library()
        flags = {"reads": ["no-writes"], "always": ["allow-oom"], "redis.register_function": []}
        self.assertEqual({name: flags[word] for name, word in registered.items()},
                         {name: library.flags(name) for name in library.functions})  # fmt: skip

    def test_same_version(self) -> None:
        """The text says the version that the store expects."""
        self.assertIn(f"local VERSION = {VERSION}\n", source())
