"""The fixture `taba_agent` for pytest: a running `FakeAgent`, a fresh one for each test. In a conftest.py:

    pytest_plugins = ["taba.testing.pytest_plugin"]

pytest is imported when it has loaded the plugin, and is nothing that Taba needs.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from types import ModuleType
from typing import Any

from taba.testing.fake_agent import FakeAgent


def agent_of_a_test() -> Iterator[FakeAgent]:
    """A FakeAgent that runs until the test is over."""
    with FakeAgent() as agent:
        yield agent


def pytest_configure(config: Any) -> None:
    """Called by pytest: register the fixture."""
    fixtures = ModuleType("taba_fixtures")
    make_fixture: Any = import_module("pytest").fixture(name="taba_agent")
    vars(fixtures)["taba_agent"] = make_fixture(agent_of_a_test)
    config.pluginmanager.register(fixtures, "taba_fixtures")
