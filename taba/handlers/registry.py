"""Which Handler does which Type: the built-in ones, and those that installed packages and the settings name (see
`taba.handlers.loading`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import EntryPoint, entry_points

from attrs import field, frozen

from taba import native
from taba.errors import SettingsError, StartError
from taba.handlers.buffer import LIFETIME, Buffer
from taba.handlers.checked import Checked
from taba.handlers.counter_group import CounterGroup
from taba.handlers.expiry_gauge import ExpiryGauge
from taba.handlers.gauge import Gauge
from taba.handlers.loading import ENTRY_POINTS, sources
from taba.handlers.percentile_counter import PercentileCounter
from taba.handlers.percentile_group import PercentileGroup
from taba.handlers.totals_counter import TotalsCounter
from taba.handlers.unique_group import UniqueGroup
from taba.interfaces import IHandler


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
        """Type -> how its events travel, as the parsers want it: the Handler's kind, or, of raw events, the shape of
        payload that it asks for by an attribute `shape`.
        """
        return {name: getattr(handler, "shape", handler.kind) for name, handler in self.handlers.items()}


def builtin(buffer_seconds: float = LIFETIME) -> Registry:
    """The Types that come with Taba. `buffer_seconds` is how long a Buffer shows a value that says no expiry."""
    return Registry(
        [
            CounterGroup(),
            PercentileGroup(),
            TotalsCounter(),
            PercentileCounter(),
            UniqueGroup(),
            Gauge(),
            ExpiryGauge(),
            Buffer(buffer_seconds),
        ]
    )


def installed(
    additional: Mapping[str, str] | None = None,
    buffer_seconds: float = LIFETIME,
    entries: Sequence[EntryPoint] | None = None,
) -> Registry:
    """The built-in Types, those of installed packages, and those of the setting ADDITIONAL_HANDLERS, which may take the
    place of others. `entries` are the entry points; None stands for those of this Python.

    StartError, with the name of the Type and what is wrong, for one that cannot be used.
    """
    if entries is None:
        entries = tuple(entry_points(group=ENTRY_POINTS))
    handlers = dict(builtin(buffer_seconds).handlers)
    for source in sources(entries, additional or {}, tuple(handlers)):
        replaced = handlers.get(source.type)
        handlers[source.type] = Checked.of(source.load(native.RAW if replaced is None else replaced.kind))
    return Registry(list(handlers.values()))


def check_installed(additional: Mapping[str, str]) -> None:
    """SettingsError where `installed` would raise StartError: for who looks at settings before anything starts."""
    try:
        installed(additional)
    except StartError as problem:
        raise SettingsError(str(problem))
