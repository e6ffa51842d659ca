"""Which Handler does which Type: the built-in ones, and those that installed packages name under the entry point
group `taba.handlers`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.metadata import entry_points

from attrs import field, frozen
from zope.interface.verify import verifyObject

from taba.errors import StartError
from taba.handlers.buffer import Buffer
from taba.handlers.counter_group import CounterGroup
from taba.handlers.expiry_gauge import ExpiryGauge
from taba.handlers.gauge import Gauge
from taba.handlers.percentile_counter import PercentileCounter
from taba.handlers.percentile_group import PercentileGroup
from taba.handlers.totals_counter import TotalsCounter
from taba.interfaces import IHandler

ENTRY_POINTS = "taba.handlers"


def _by_name(handlers: Iterable[IHandler]) -> Mapping[str, IHandler]:
    return {handler.name: handler for handler in handlers}


@frozen
class Registry:
    """Handlers by the name of their Type. Does not change once made, so any thread may read it."""

    handlers: Mapping[str, IHandler] = field(converter=_by_name)

    def get(self, type: str) -> IHandler | None:
        """The Handler of a Type, None for one that is not known here."""
        return self.handlers.get(type)

    def kinds(self) -> Mapping[str, int]:
        """Type -> how its events travel, as the parsers want it."""
        return {name: handler.kind for name, handler in self.handlers.items()}


def builtin() -> Registry:
    """The Types that come with Taba."""
    return Registry(
        [
            CounterGroup(),
            PercentileGroup(),
            TotalsCounter(),
            PercentileCounter(),
            Gauge(),
            ExpiryGauge(),
            Buffer(),
        ]
    )


def installed() -> Registry:
    """The built-in Types and those of installed packages. StartError, with its name, for one that cannot be used."""
    handlers: list[IHandler] = list(builtin().handlers.values())
    for entry in entry_points(group=ENTRY_POINTS):
        try:
            handler = entry.load()()
            verifyObject(IHandler, handler)
        except Exception as problem:
            raise StartError(
                f"The Handler {entry.name!r} ({entry.value}) cannot be used: {problem}. "
                "Mend or uninstall the package that brings it."
            )
        handlers.append(handler)
    return Registry(handlers)
