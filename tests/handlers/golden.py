"""The golden files of tests/golden/handlers/: States of version 1 of the Types whose Handlers are written in Python.

A `.bin` is a State; the `.json` of the same name says what it is (`what`, `type`, `version`) and what any build, of any
later version too, must make of it (`contains`): the renderings at some times. They are made once, by
`python -m tests.handlers.golden`, from States that the tests' own functions write, and never change: when an encoding
gets a version 2, files are added.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from attrs import frozen

from taba.handlers.registry import builtin
from taba.interfaces import Style
from tests.handlers import making
from tests.handlers.making import DAY, NOW, Arrived

FOLDER = Path(__file__).parent.parent / "golden" / "handlers"
TIMES = (NOW - 30.0, NOW, NOW + 60.0, NOW + DAY)
LATE = [
    Arrived('"grün 😀"'.encode(), NOW + 60.0, NOW, 1_700_000_000_000_000),
    Arrived(b'{"a": [1, null]}', NOW + 3600.5, NOW - 0.5, 1_700_000_000_000_002),
    Arrived(b"1.0", NOW - 30.0, NOW - 120.0, 1_700_000_000_000_001),
    Arrived(b"[true]", NOW - 95.0, NOW - 130.0, 1_700_000_000_000_003),
]


@frozen
class Golden:
    """One golden file before it is written."""

    type: str
    what: str
    state: bytes


def goldens() -> dict[str, Golden]:
    """All golden files by name."""
    prices = [(i * 7919 % 2001 - 1000) / 8.0 for i in range(500)]
    totals: dict[str, tuple[str, Sequence[float]]] = {
        "whole": ("whole numbers, a negative one among them", [100.0, -7.0, 2.0**40]),
        "thousandths": ("amounts with up to three decimals", [0.125, 571.5, 0.001]),
        "double": ("a third, which no decimals express", [1 / 3]),
    }
    percentiles: dict[str, tuple[str, Sequence[float]]] = {
        "few": ("three values, kept as they are", [1.5, 100.0, -2.0]),
        "many": ("500 values of both signs, and zeros", prices),
    }
    several = [[LATE[0]], [LATE[1]], [LATE[0]], LATE[2:]]
    return {
        **{
            f"totals-counter-{name}": Golden(
                "TotalsCounter", f"Totals of {what}.", making.totals_state(making.timed(values))
            )
            for name, (what, values) in totals.items()
        },
        **{
            f"percentile-counter-{name}": Golden(
                "PercentileCounter", f"Percentiles of {what}.", making.percentile_state(making.timed(values))
            )
            for name, (what, values) in percentiles.items()
        },
        "expiry-gauge-one": Golden("ExpiryGauge", "One client's State.", making.gauge_state([LATE])),
        "expiry-gauge-several": Golden("ExpiryGauge", "Four clients, two alike.", making.gauge_state(several)),
        "buffer-several": Golden("Buffer", "Three values; a fourth is forgotten.", making.buffer_state(LATE)),
        "buffer-forgotten": Golden(
            "Buffer", "One event, expired long before.", making.buffer_state([Arrived(b"0", 0.0, NOW, 7)])
        ),
    }


def contains(type: str, state: bytes) -> list[list[object]]:
    """[time, rendering] at each of TIMES."""
    handler = builtin().handlers[type]
    return [[time, handler.render(state, time, Style.JSON)] for time in TIMES]


def main() -> None:
    """Write the files that are not there yet; an existing one is never written again."""
    for name, golden in goldens().items():
        told = {"what": golden.what, "type": golden.type, "version": 1, "contains": contains(golden.type, golden.state)}
        text = json.dumps(told, indent=1, ensure_ascii=False) + "\n"
        for suffix, content in ((".bin", golden.state), (".json", text.encode())):
            path = FOLDER / f"{name}{suffix}"
            if path.exists():
                sys.stdout.write(f"{path.name} stays as it is\n")
            else:
                path.write_bytes(content)


if __name__ == "__main__":
    main()
