"""Shared Hypothesis strategies, in the words of the project, and `law`, which runs a test on what they draw.

Two profiles: `ci` (the default) and `nightly`, with fifty times as many examples, chosen by TABA_PROFILE. Importing
this module loads the profile. A failing law shows its example, and the line that replays it, in its text. Strategies
are cached, because Hypothesis prepares each new one anew, which costs more than drawing from it.
"""

from __future__ import annotations

import functools
import json
import math
import os
import random
from collections.abc import Callable
from fractions import Fraction
from typing import Any, TypeVar

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

PROFILES = {"ci": 1, "nightly": 50}  # how many times the examples of each law
PROFILE = os.environ.get("TABA_PROFILE", "ci")

TYPES = {"CounterGroup": 1, "PercentileGroup": 2, "Gauge": 3, "UniqueGroup": 8, "Buffer": 0}  # of bodies: name, kind
NEWEST = 1_400_000_000  # about when most events happen
NAME_CHARACTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._~:/?@!$()*+;=-"
BLANKS = " \t\r"  # white space of JSON that is no line end

for _name, _factor in PROFILES.items():
    settings.register_profile(
        _name,
        max_examples=40 * _factor,
        deadline=None,
        print_blob=True,
        derandomize=False,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.differing_executors, HealthCheck.data_too_large],
    )
settings.load_profile(PROFILE)

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., None])


def law(*drawn: st.SearchStrategy[Any], examples: int = 40) -> Callable[[F], Callable[[Any], None]]:
    """Run a test method on `examples` (times the profile's factor) of what the strategies draw.

    Trial does not print the notes in which Hypothesis tells the example of a failure, so they become part of its text.
    """

    def decorate(test: F) -> Callable[[Any], None]:
        held = settings(max_examples=examples * PROFILES[PROFILE])(given(*drawn)(test))

        def check(self: Any) -> None:
            try:
                held(self)
            except Exception as broken:
                if notes := "\n".join(getattr(broken, "__notes__", [])):
                    raise AssertionError(f"{type(broken).__name__}: {broken}\n{notes}") from broken
                raise

        return functools.update_wrapper(check, test, assigned=("__doc__", "__name__", "__qualname__", "__module__"))

    return decorate


SELDOM = st.integers(0, 9).map(lambda chance: chance == 7)


def mostly(usual: st.SearchStrategy[T], unusual: st.SearchStrategy[T]) -> st.SearchStrategy[T]:
    """`usual` nine times of ten. (`one_of` makes one list of all that is in its parts, and drops what stands twice.)"""
    return SELDOM.flatmap(lambda seldom: unusual if seldom else usual)


# ------------------------------------------------------------------------------------------------- names and times


@functools.cache
def tab_names() -> st.SearchStrategy[str]:
    """Names of tabs: mostly a few short ones that meet again, sometimes any legal one."""
    any_name = st.text(NAME_CHARACTERS, min_size=1, max_size=20)
    return st.one_of(st.sampled_from(["bids", "price", "a", "x/y:z"]), any_name, st.just("n" * 512))


@functools.cache
def client_ids() -> st.SearchStrategy[str]:
    """Ids of clients; some are also names of tabs."""
    return st.one_of(st.sampled_from(["c1", "c2", "bids"]), st.text(NAME_CHARACTERS, min_size=1, max_size=20))


@functools.cache
def times() -> st.SearchStrategy[float]:
    """Times of events in seconds: near each other and apart by every window, at the edges of buckets, whole and not."""
    offsets = st.one_of(
        st.integers(-90, 60),
        st.integers(-5_000, 60),
        st.integers(-200_000, 200_000),
        st.integers(-110, 110).map(lambda quarter: quarter * 900),
        st.floats(-100.0, 100.0).map(lambda second: round(second, 3)),
    )
    anywhere = st.one_of(st.sampled_from([0.0, 0.5, 253402300799.0]), st.floats(0.0, 253402300799.0))
    return mostly(offsets.map(lambda offset: float(NEWEST + offset)), anywhere)


# ------------------------------------------------------------------------------------------------- values


@functools.cache
def integral_values() -> st.SearchStrategy[float]:
    """Whole numbers so small that any order of adding them gives the same sum."""
    return st.one_of(st.integers(-5, 100), st.integers(-(2**40), 2**40)).map(float)


@functools.cache
def decimal_values() -> st.SearchStrategy[float]:
    """Amounts with a few decimals, as prices and durations have."""
    return st.tuples(st.integers(-(10**9), 10**9), st.integers(0, 6)).map(lambda part: part[0] / 10.0 ** part[1])


@functools.cache
def finite_values() -> st.SearchStrategy[float]:
    """Any finite double, the edges of sketch buckets and of encodings among them."""
    edges = [0.0, 1.0, -1.0, 5e-324, -5e-324, 1.7976931348623157e308, -1.7976931348623157e308, 2.0**53, 2.0**53 + 2]
    edge = st.integers(-1074 * 64, 1024 * 64 - 1).map(lambda i: math.ldexp(2.0 ** (i % 64 / 64), i // 64))
    beside = st.tuples(edge, st.sampled_from([-math.inf, math.inf])).map(lambda part: math.nextafter(*part))
    whole = st.floats(allow_nan=False, allow_infinity=False)
    return st.one_of(whole, st.sampled_from(edges), edge, beside).filter(math.isfinite)


@functools.cache
def wide_values() -> st.SearchStrategy[float]:
    """Values of both signs from very small to very large: together they span more than 64 octaves."""
    parts = st.tuples(st.sampled_from([-1.0, 1.0, 1.0]), st.floats(1.0, 2.0), st.integers(-1060, 1022))
    return parts.map(lambda part: part[0] * math.ldexp(part[1], part[2]))


@functools.cache
def values() -> st.SearchStrategy[float]:
    """Any of these values."""
    return st.one_of(integral_values(), decimal_values(), finite_values(), wide_values())


SHAPES: dict[str, Callable[[random.Random], float]] = {
    "dice": lambda r: float(r.randint(1, 6)),
    "counts": lambda r: float(r.randint(0, 10**6)),
    "prices": lambda r: round(r.lognormvariate(1.0, 2.0), 2),
    "milliseconds": lambda r: round(r.expovariate(0.01), 3),
    "normal": lambda r: r.gauss(0.0, 1000.0),
    "wide": lambda r: r.choice((-1.0, 1.0)) * math.exp(r.uniform(-600.0, 600.0)),
    "zeros": lambda r: float(r.choice((0, 0, 0, 1, -1))),
    "steps": lambda r: 2.0 ** (r.randint(-2000, 2000) / 64),
}


def many_values(*shapes: str) -> st.SearchStrategy[list[float]]:
    """Some hundred values of one of the shapes, from few draws: (shape, seed, number)."""
    drawn = st.tuples(st.sampled_from(shapes or tuple(SHAPES)), st.integers(0, 10**6), st.integers(1, 300))
    return drawn.map(lambda part: _of_shape(*part))


def _of_shape(shape: str, seed: int, n: int) -> list[float]:
    chance = random.Random(f"{shape} {seed}")
    return [SHAPES[shape](chance) for _ in range(n)]


def value_lists(kind: st.SearchStrategy[float] | None = None) -> st.SearchStrategy[list[float]]:
    """None to some hundred values of a kind (by default any), with many lists on both sides of 32."""
    value = values() if kind is None else kind
    repeated = st.tuples(st.lists(value, min_size=1, max_size=4), st.integers(1, 40)).map(
        lambda part: part[0] * part[1]
    )
    lists = st.one_of(st.lists(value, max_size=8), st.lists(value, min_size=28, max_size=40), repeated)
    return st.one_of(lists, many_values()) if kind is None else lists


def quantiles() -> st.SearchStrategy[list[float]]:
    """Quantiles, the usual ones and any."""
    usual = st.just([0.0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 1.0])
    return st.one_of(usual, st.lists(st.floats(0.0, 1.0), max_size=6))


# ------------------------------------------------------------------------------------------------- JSON


@functools.cache
def json_values() -> st.SearchStrategy[Any]:
    """Any JSON value, as Python has it."""
    text = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
    scalars = st.one_of(st.none(), st.booleans(), st.integers(-(10**30), 10**30), finite_values(), text)
    return st.recursive(
        scalars,
        lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(text, inner, max_size=4)),
        max_leaves=8,
    )


@functools.cache
def json_numbers() -> st.SearchStrategy[str]:
    """Numbers as JSON may write them: all forms, many digits, halfway between two doubles and just beside."""
    plain = st.one_of(st.integers(-1000, 1000).map(str), decimal_values().map(repr), finite_values().map(repr))
    forms = ["-0", "-0.0e5", "1E+2", "1e-2", "1e-999", "-1e-999", "1e308", "2.5e-324", "9007199254740993"]
    long = [
        f"0.{'0' * 400}1e400",
        f"1{'0' * 400}e-400",
        f"1e{'0' * 40}2",
        f"1e-{'9' * 30}",
        f"0e{'9' * 30}",
        f"1e{'9' * 30}",
    ]
    built = st.builds(
        "{}{}{}{}".format,
        st.sampled_from(["", "-"]),
        st.one_of(st.just("0"), st.from_regex(r"[1-9][0-9]{0,40}", fullmatch=True)),
        st.one_of(st.just(""), st.from_regex(r"\.[0-9]{1,40}", fullmatch=True)),
        st.one_of(st.just(""), st.from_regex(r"[eE][+-]?[0-9]{1,2}", fullmatch=True)),
    )
    return st.one_of(plain, st.sampled_from(forms + long), built, halfway_numbers())


@functools.cache
def halfway_numbers() -> st.SearchStrategy[str]:
    """All digits of the middle between two neighbouring doubles, or a hair above or below it."""
    drawn = st.tuples(st.integers(2**52, 2**53 - 1), st.integers(-1074, 971), st.sampled_from(["", "0", "1", "-"]))
    return drawn.map(lambda part: _halfway(*part))


def _halfway(mantissa: int, exponent: int, hair: str) -> str:
    middle = (2 * mantissa + 1) * Fraction(2) ** (exponent - 53)
    places = max(0, middle.denominator.bit_length() - 1)
    digits = str(int(middle * 10**places))
    if hair == "-":
        digits, hair = str(int(digits) * 10 - 1), "9"
    elif hair:
        hair = "0" * 20 + hair
        digits += hair
    return f"{digits}e-{places + len(hair)}"


def odd_json(value: Any, chance: random.Random) -> str:
    """`value` in JSON with odd but legal white space and escapes."""

    def blank() -> str:
        return chance.choice(BLANKS) if chance.random() < 0.2 else ""

    def character(c: str) -> str:
        if chance.random() < 0.1 and ord(c) < 0x10000:
            return f"\\u{ord(c):04x}" if chance.random() < 0.5 else f"\\u{ord(c):04X}"
        return "\\/" if c == "/" and chance.random() < 0.5 else json.dumps(c, ensure_ascii=chance.random() < 0.5)[1:-1]

    def text(value: Any) -> str:
        if isinstance(value, str):
            return '"' + "".join(map(character, value)) + '"'
        if isinstance(value, list):
            return "[" + ",".join(map(text, value)) + ("" if value else blank()) + "]"
        if isinstance(value, dict):
            items = (text(key) + blank() + ":" + text(item) for key, item in value.items())
            return "{" + ",".join(items) + blank() + "}"
        return blank() + json.dumps(value) + blank()

    return blank() + text(value) + blank()


@functools.cache
def json_texts() -> st.SearchStrategy[str]:
    """JSON texts on one line, odd ones and plain ones."""
    odd = st.tuples(json_values(), st.randoms(use_true_random=False)).map(lambda part: odd_json(*part))
    surrogates = st.sampled_from(['"\\ud800"', '"\\udc00\\ud800x"', '"\\ud83d\\ude00"', '"\\uD800\\uD83D\\uDE00"'])
    return mostly(odd, st.one_of(json_numbers(), surrogates))


# ------------------------------------------------------------------------------------------------- events and bodies


@functools.cache
def payloads(type_name: str) -> st.SearchStrategy[str]:
    """Payloads that the Type takes."""
    if type_name == "UniqueGroup":
        return json_texts().map(lambda text: text if text.strip(BLANKS)[0] in '"-0123456789' else json.dumps(text))
    if type_name not in ("CounterGroup", "PercentileGroup"):
        return json_texts()
    arrays = st.tuples(json_numbers(), json_texts()).map(lambda part: f"[{part[0]},{part[1]}]")
    return mostly(json_numbers(), st.one_of(st.sampled_from(["true", "false", " 1 ", "[true, null]"]), arrays))


def numeric_events(kind: st.SearchStrategy[float] | None = None) -> st.SearchStrategy[list[tuple[float, float]]]:
    """(time, value) events of a counter: few and apart in time, or many close together."""
    apart = st.lists(st.tuples(times(), values() if kind is None else kind), max_size=12)
    together = st.tuples(times(), value_lists(kind), st.sampled_from([0.0, 0.25, 7.0]))
    return st.one_of(apart, together.map(lambda part: [(part[0] + i * part[2], v) for i, v in enumerate(part[1])]))


def events(type_name: str) -> st.SearchStrategy[list[tuple[float, str]]]:
    """(time, payload) events of a Type, as a sender has them."""
    return st.lists(st.tuples(times(), payloads(type_name)), max_size=6)


@functools.cache
def event_lines(type_name: str) -> st.SearchStrategy[str]:
    """Lines of valid events of a Type."""
    forms = st.sampled_from(["{!r}", "{:.2f}", " {:.0f}", "{:e}"])
    written = st.tuples(forms, times()).map(lambda part: part[0].format(part[1]))
    payload = payloads(type_name).map(lambda text: json.dumps(text, ensure_ascii=False))
    plain = st.tuples(written, payload).map(lambda part: f'["{type_name}", {part[0]}, {part[1]}]')
    odd = st.tuples(times(), payloads(type_name), st.randoms(use_true_random=False)).map(
        lambda part: odd_json([type_name, part[0], part[1]], part[2])
    )
    return mostly(plain, odd)


TIMES_REFUSED = ["-1", "1e999", '"1"', "null", "253402300800", "1400000000000", "1500000000"]
VALUES_REFUSED = ["NaN", "1e999", "[1, 1e999]", "null", "[]", '"5"', "[null]", "{}", "", "01", "1 2", "[1", "tru", "-"]
NO_EVENTS = ["x", "\r", "[]", "{}", '["Gauge", 1]', '["Gauge", 1, "1", 1]', '[1, 1, "1"]', '"', "[", "1", '"\\x"']
UNKNOWN_TYPES = ["Unknown", "gauge", "", "é"]


@functools.cache
def refused_lines() -> st.SearchStrategy[str]:
    """Lines of events that are refused, alone, for one reason or other."""
    return st.one_of(
        st.sampled_from(NO_EVENTS),
        st.sampled_from([f'["{name}", 5, {json.dumps(v)}]' for v in VALUES_REFUSED for name in TYPES]),
        st.sampled_from([f'["Gauge", {time}, "1"]' for time in TIMES_REFUSED]),
        st.sampled_from([f'["{name}", 1, "1"]' for name in UNKNOWN_TYPES]),
        st.integers(60, 70).map(lambda depth: f'["Gauge", 1, "{"[" * depth}{"]" * depth}"]'),
        json_texts(),
    )


def other_lines() -> st.SearchStrategy[str]:
    """Lines of valid events of any Type."""
    return st.one_of(*map(event_lines, TYPES))


@st.composite
def bodies_and_ends(draw: st.DrawFn, refused: bool = True) -> tuple[bytes, int]:
    """Bodies of protocol 1 with a right structure and all their blank lines, and how much of each is needed.

    They are UTF-8 or Latin-1. The line ends behind the length needed may be missing. With `refused`, some events and
    names are not valid.
    """
    wrong = st.sampled_from(["a b", "é", "n" * 513, "\r", "[]"])
    lines, needed = ["1", ""], 3
    for _ in range(draw(st.integers(1, 3))):
        lines += [draw(wrong if refused and draw(SELDOM) else client_ids()), ""]
        needed = len("\n".join(lines)) + 1
        for _ in range(draw(st.integers(0, 3))):
            type_name = draw(st.sampled_from(sorted(TYPES)))
            line = event_lines(type_name)
            if refused:
                line = mostly(line, st.one_of(refused_lines(), other_lines()))
            block = draw(st.lists(line, max_size=5)) * draw(st.sampled_from([1, 1, 1, 12]))
            lines += [draw(wrong if refused and draw(SELDOM) else tab_names()), *block]
            needed = len("\n".join(lines))
            lines.append("")
        lines.append("")
    text = "\n".join(lines) + "\n"
    body = text.encode(draw(st.sampled_from(["utf-8", "utf-8", "utf-8", "latin-1"])), "replace")
    return body, len(body) - (len(text) - needed)


@st.composite
def bodies(draw: st.DrawFn, refused: bool = True) -> bytes:
    """Bodies of protocol 1 with a right structure, with all or some of the blank lines at the end."""
    body, needed = draw(bodies_and_ends(refused))
    return body[: draw(st.one_of(st.just(len(body)), st.integers(needed, len(body))))]


INSERTIONS = [b"\n", b"\x00", b"\xff", b"\x80", b'"', b"\\", b"\r", b"[", b"\x01", b"\xe9", b"\xc3\xa9"]


@st.composite
def damaged(draw: st.DrawFn, whole: st.SearchStrategy[bytes]) -> bytes:
    """What `whole` draws with a few bytes changed, lost, doubled or put in, or cut short."""
    data = bytearray(draw(whole))
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0 if draw(SELDOM) else min(len(data), 2), len(data)))  # the head decides too much
        match draw(st.sampled_from(["change", "flip", "lose", "put", "double", "cut"])):
            case "change":
                data[place : place + 1] = draw(st.binary(min_size=1, max_size=1))
            case "flip" if place < len(data):
                data[place] ^= 1 << draw(st.integers(0, 7))
            case "lose":
                del data[place : place + draw(st.integers(1, 3))]
            case "put":
                data[place:place] = draw(st.sampled_from(INSERTIONS))
            case "double":
                data[place:place] = data[place : place + draw(st.integers(1, 12))]
            case "cut":
                del data[place:]
    return bytes(data)


@st.composite
def splits(draw: st.DrawFn, whole: st.SearchStrategy[bytes]) -> tuple[bytes, list[bytes]]:
    """What `whole` draws, and the same in pieces, some of them empty."""
    data = draw(whole)
    places = draw(
        st.one_of(st.lists(st.integers(0, len(data)), max_size=8).map(sorted), st.just(list(range(len(data)))))
    )
    return data, [data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True)]
