"""The core itself: how it is loaded, its constants, and what every call of it needs.

The only module that touches `taba._native`; the rest of this package calls it through `lib`.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from typing import Any, Final

import taba
from taba.errors import CorruptBlob, LimitReached, UnknownVersion, WrongType

try:
    from taba._native import ffi as ffi
    from taba._native import lib as lib
except ImportError as problem:
    raise ImportError(
        f"taba._native is missing or does not fit this Python ({problem}). Install Taba with pip, which builds it: "
        "'pip install .' in a checkout, with a C compiler and the Python headers at hand."
    ) from problem

RAW: Final[int] = lib.TABA_RAW
COUNTER_GROUP: Final[int] = lib.TABA_COUNTER_GROUP
PERCENTILE_GROUP: Final[int] = lib.TABA_PERCENTILE_GROUP
GAUGE: Final[int] = lib.TABA_GAUGE
UNIQUE_GROUP: Final[int] = lib.TABA_UNIQUE_GROUP
RAW_NUMBER: Final[int] = lib.TABA_RAW_NUMBER
"""RAW whose payloads must be what counters take: a number, true, false, or an array that begins with one of these."""
RAW_EXPIRING: Final[int] = lib.TABA_RAW_EXPIRING
"""RAW whose payloads must be an array of exactly two elements, of which the second is a number."""
PARTIAL: Final[int] = lib.TABA_PARTIAL
"""Or-ed to the kind in the first byte of a Partial."""

COUNTER_GROUP_LEVELS: Final = ((1, 60), (10, 60), (30, 120), (900, 96))
"""(width in seconds, number of buckets) of CounterGroup's windows 1m, 10m, 1h, 1d."""

UNIQUE_GROUP_LEVELS: Final = ((15, 4), (150, 4), (900, 4), (21600, 4))
"""(width in seconds, number of buckets) of UniqueGroup's windows 1m, 10m, 1h, 1d."""

VERSION: Final[str] = ffi.string(lib.taba_version()).decode()
if taba.__version__ != VERSION:
    raise ImportError(
        f"taba._native is of version {VERSION}, the package of {taba.__version__}. Install Taba again: 'pip install .'"
    )

REFUSED: Final[tuple[str, ...]] = tuple(
    ffi.string(lib.taba_refused_name(reason)).decode() for reason in range(lib.TABA_REFUSED_REASONS)
)
"""The reasons for which a single event is refused, in the order of their numbers."""


def verify(code: int) -> None:
    """Raise what a status code stands for."""
    if code == lib.TABA_OK:
        return
    sentence = ffi.string(lib.taba_strerror(code)).decode()
    if code == lib.TABA_ENOMEM:
        raise MemoryError(sentence)
    raise {
        lib.TABA_ECORRUPT: CorruptBlob,
        lib.TABA_ETYPE: WrongType,
        lib.TABA_EVERSION: UnknownVersion,
        lib.TABA_ELIMIT: LimitReached,
    }.get(code, ValueError)(sentence)


def owned(pointer: Any, free: Any) -> Any:
    """A handle that is freed with its Python object."""
    if pointer == ffi.NULL:
        raise MemoryError("out of memory")
    return ffi.gc(pointer, free)


def new_buffer() -> Any:
    return owned(lib.taba_buffer_new(ffi.NULL), lib.taba_buffer_free)


def bytes_of(buffer: Any) -> bytes:
    result: bytes = ffi.buffer(lib.taba_buffer_bytes(buffer), lib.taba_buffer_length(buffer))[:]
    return result


def blob_of(data: bytes) -> tuple[Any, int]:
    return (ffi.from_buffer("uint8_t[]", data), len(data))


def blobs(parts: Sequence[bytes]) -> tuple[Any, Any]:
    """An array of blobs, and what must stay alive as long as it is used.

    The parts are joined, and the array is written as numbers: a view of each part costs ten times as much.
    """
    view = ffi.from_buffer("uint8_t[]", b"".join(parts))
    at = int(ffi.cast("uintptr_t", view))
    rows = array("L")  # as wide as a pointer and a size_t
    for part in parts:
        length = len(part)
        rows.append(at)
        rows.append(length)
        at += length
    return ffi.from_buffer("taba_blob[]", rows), (view, rows)


def doubles(values: Iterable[float]) -> Any:
    return ffi.from_buffer("double[]", values if isinstance(values, array) else array("d", values))


def crc32c(data: bytes, crc: int = 0) -> int:
    """CRC-32C (Castagnoli) of `data`, going on from `crc`."""
    return int(lib.taba_crc32c(crc, ffi.from_buffer("uint8_t[]", data), len(data)))


def crc32(data: bytes, crc: int = 0) -> int:
    """The CRC-32 of zlib, by which tabs are dealt to vbuckets."""
    return int(lib.taba_crc32(crc, ffi.from_buffer("uint8_t[]", data), len(data)))
