"""Settings read again while a process runs (SIGHUP): what can be taken over at once is; what cannot is named.

A file that cannot be read, or has a mistake, changes nothing: the process goes on with what it has, and says why.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, Protocol

import attrs
from attrs import define, field
from twisted.logger import Logger

from taba.errors import SettingsError
from taba.logs import LogOfProcess
from taba.settings.fields import key_of

LOG_KEYS = ("LOG_FORMAT", "DEBUG")
"""What every process takes."""


class Reloadable(Protocol):
    """A service that can take other settings while it runs."""

    reloadable: Collection[str]
    """The keys of the settings that it takes."""

    def take_settings(self, settings: Any) -> None:
        """Go on with these; of all others than `reloadable` it takes no notice."""


def changed_keys(before: Any, after: Any) -> list[str]:
    """The keys of those settings that differ between two of a class, in the order of the class."""
    fields = attrs.fields(type(before))
    return [key_of(field) for field in fields if getattr(before, field.name) != getattr(after, field.name)]


@define(eq=False)
class Reloading:
    """What one process does when it is told to read its settings again. `settings` are those that it was started with,
    in all but what it has taken over since; `read` gives those that there are now, complete and checked.
    """

    settings: Any
    _read: Callable[[], Any]
    _log_of_process: LogOfProcess = field(factory=LogOfProcess)
    _log = Logger()

    def reload(self, service: Reloadable) -> Sequence[str]:
        """Let a service take what it can; the keys that it took."""
        try:
            wanted = self._read()
        except (SettingsError, OSError) as problem:
            self._log.error("The settings stay as they are: {problem}", problem=str(problem))
            return ()
        changed = changed_keys(self.settings, wanted)
        reloadable = {*LOG_KEYS, *service.reloadable}
        taken = [key for key in changed if key in reloadable]
        rest = [key for key in changed if key not in reloadable]
        if taken:
            try:
                service.take_settings(wanted)
            except (SettingsError, ValueError) as problem:  # it looks at all of them before it takes any
                self._log.error("The settings stay as they are: {problem}", problem=str(problem))
                return ()
            self._log_of_process.become(wanted.log_format, wanted.debug)
            names = {key_of(field): field.name for field in attrs.fields(type(wanted))}
            self.settings = attrs.evolve(
                self.settings, **{names[key]: getattr(wanted, names[key]) for key in taken}
            )
        said = f"taken over: {', '.join(taken)}" if taken else "nothing is to be taken over"
        more = f"; after a restart: {', '.join(rest)}" if rest else ""
        self._log.info("The settings were read again; {said}{more}.", said=said, more=more)
        return taken
