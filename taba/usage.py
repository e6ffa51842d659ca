"""What this process uses of its machine: time of processors, memory, open files. Reads /proc, where there is one.

The names and meanings are those that prometheus_client exports, so that dashboards of others show them.
"""

from __future__ import annotations

import os
import platform
import resource
from contextlib import suppress
from pathlib import Path

from attrs import frozen

import twisted
from taba import __version__
from taba.metrics import Exposition


@frozen
class Usage:
    """What a process uses. None where the system does not tell."""

    cpu_seconds: float
    """User and system time since its start."""
    resident_bytes: int | None = None
    virtual_bytes: int | None = None
    open_fds: int | None = None
    max_fds: int | None = None
    started: float | None = None
    """Wall time of its start."""


def usage_of_this_process() -> Usage:
    """The usage now. May be called in any thread; blocks for some reads of /proc only."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    cpu_seconds = used.ru_utime + used.ru_stime
    with suppress(OSError, ValueError, IndexError):  # no Linux, or a /proc that hides it
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        return Usage(
            cpu_seconds,
            resident_bytes=int(fields[21]) * os.sysconf("SC_PAGE_SIZE"),
            virtual_bytes=int(fields[20]),
            open_fds=len(os.listdir("/proc/self/fd")),
            max_fds=None if limit == resource.RLIM_INFINITY else limit,
            started=_boot_time() + int(fields[19]) / os.sysconf("SC_CLK_TCK"),
        )
    return Usage(cpu_seconds)


def _boot_time() -> float:
    """Wall time at which the machine started."""
    for line in Path("/proc/stat").read_text().splitlines():
        if line.startswith("btime "):
            return float(line.split()[1])
    raise ValueError("/proc/stat has no btime")


def expose(into: Exposition, usage: Usage | None) -> None:
    """The usage, None where nobody knows (in simulations), and the versions of what runs."""
    if usage is not None:
        into.counter("process_cpu_seconds_total", "User and system time of the process.", usage.cpu_seconds)
        into.gauge("process_resident_memory_bytes", "Memory that the process has in RAM.", usage.resident_bytes)
        into.gauge("process_virtual_memory_bytes", "Addresses that the process has taken.", usage.virtual_bytes)
        into.gauge("process_open_fds", "Open files and sockets.", usage.open_fds)
        into.gauge("process_max_fds", "How many files and sockets may be open.", usage.max_fds)
        into.gauge("process_start_time_seconds", "When the process started, since 1970.", usage.started)
    major, minor, patch = platform.python_version_tuple()
    into.gauge(
        "python_info", "The Python that runs this.", 1,
        implementation=platform.python_implementation(), major=major, minor=minor, patchlevel=patch,
        version=platform.python_version(),
    )  # fmt: skip
    into.gauge("taba_build_info", "The Taba that runs.", 1, version=__version__, twisted=twisted.__version__)
