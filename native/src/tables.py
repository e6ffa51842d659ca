"""Prints tables.h: the constants of the sketch and of the checksums, all found with integers, hence correctly rounded.

Run `python native/src/tables.py > native/src/tables.h` after a change; both files are kept, so that a build needs
no Python.
"""

from __future__ import annotations

from fractions import Fraction
from math import isqrt

SCALE = 6
PER_OCTAVE = 1 << SCALE  # buckets per octave at the finest scale
MANTISSA_BITS = 52
GUESS_BITS = 7  # a cell of 2**-7 is narrower than any bucket (2**(1/64) - 1 = 0.0109), so holds one boundary at most
PRECISION = 320  # bits after the point wherever an irrational number is approximated before it is rounded


def root(numerator_power: int, scale: int, bits: int) -> int:
    """floor(2**(numerator_power / 2**scale) * 2**bits), by repeated integer square roots."""
    value = 1 << (numerator_power + (bits << scale))
    for _ in range(scale):
        value = isqrt(value)  # floor(sqrt(floor(x))) == floor(sqrt(x))
    return value


def boundaries() -> list[int]:
    """The mantissas floor(2**(k/64) * 2**52) where a bucket of an octave ends, and one that none is above."""
    return [root(k, SCALE, MANTISSA_BITS) for k in range(PER_OCTAVE)] + [(1 << (MANTISSA_BITS + 1)) - 1]


def guesses() -> list[int]:
    """For every value of the top bits of a mantissa, how many boundaries are below the least mantissa that has them."""
    ends = boundaries()[:-1]
    starts = [(1 << MANTISSA_BITS) + (cell << (MANTISSA_BITS - GUESS_BITS)) for cell in range(1 << GUESS_BITS)]
    return [sum(start > end for end in ends) for start in starts]


def borders() -> list[int]:
    """For every value of the top bits of a mantissa, what added to its other 52 bits gives, above bit 52, how many
    boundaries are below it: those that surely are, and one more by a carry if the one in the cell is.
    """
    ones = (1 << MANTISSA_BITS) - 1
    return [(guess << MANTISSA_BITS) + ones - (boundaries()[guess] & ones) for guess in guesses()]


def power(numerator: int, scale: int) -> Fraction:
    """2**(numerator / 2**scale), to PRECISION bits."""
    return Fraction(root(numerator, scale, PRECISION), 1 << PRECISION)


def lower_edges() -> list[float]:
    """2**(j / 64): the lower edge of bucket j of an octave."""
    return [float(power(j, SCALE)) for j in range(PER_OCTAVE)]


def centres() -> list[float]:
    """Per scale 2g / (1 + g): from the lower edge of a bucket to the point with the least relative error."""
    return [float(2 * power(1, s) / (1 + power(1, s))) for s in range(SCALE + 1)]


def errors() -> list[float]:
    """Per scale (g - 1) / (g + 1): the relative error of that point at the edges."""
    return [float((power(1, s) - 1) / (power(1, s) + 1)) for s in range(SCALE + 1)]


def crc_slices(polynomial: int) -> list[list[int]]:
    """Eight tables for a reflected CRC-32: table n advances a byte that is followed by n more."""
    first = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = (crc >> 1) ^ (polynomial if crc & 1 else 0)
        first.append(crc)
    tables = [first]
    for _ in range(7):
        tables.append([(crc >> 8) ^ first[crc & 0xFF] for crc in tables[-1]])
    return tables


def rows(values: list[str], per_row: int) -> str:
    """Values of an initialiser, some to a line."""
    lines = [", ".join(values[i : i + per_row]) for i in range(0, len(values), per_row)]
    return ",\n".join("    " + line for line in lines)


def array(comment: str, declaration: str, values: list[str], per_row: int) -> str:
    """One documented constant table."""
    return f"/* {comment} */\n{declaration} = {{\n{rows(values, per_row)}\n}};\n"


def crc_table(comment: str, name: str, polynomial: int) -> str:
    """The eight tables of one polynomial."""
    parts = ["    {\n" + rows([f"0x{crc:08x}u" for crc in table], 8) + "\n    }" for table in crc_slices(polynomial)]
    return f"/* {comment} */\nstatic const uint32_t {name}[8][256] = {{\n" + ",\n".join(parts) + "\n};\n"


def sketch_tables() -> str:
    """What dist_index.h includes."""
    return "\n".join([
        array("By the top 7 bits of a mantissa: added to its 52 bits, how many boundaries are below, from bit 52 up.",
              "static const uint64_t taba_border[128]", [f"UINT64_C(0x{value:015x})" for value in borders()], 4),
        array("2**(j/64).", "static const double taba_lower_edge[64]", [value.hex() for value in lower_edges()], 4),
        array("2g / (1 + g) with g = 2**(2**-scale), by scale.",
              "static const double taba_centre[7]", [value.hex() for value in centres()], 4),
        array("(g - 1) / (g + 1), by scale.",
              "static const double taba_error[7]", [value.hex() for value in errors()], 4),
    ])


def main() -> None:
    """Print the header."""
    print("/* tables.h - constants of the sketch and the checksums. Printed by tables.py; not to be edited.")
    print(" *")
    print(" * A file that includes it defines TABA_SKETCH_TABLES or TABA_CRC_TABLES for the part that it needs. */")
    print("#ifdef TABA_SKETCH_TABLES\n")
    print(sketch_tables())
    print("#endif\n\n#ifdef TABA_CRC_TABLES\n")
    print(crc_table("CRC-32 of zlib.", "taba_crc32_table", 0xEDB88320))
    print(crc_table("CRC-32C (Castagnoli).", "taba_crc32c_table", 0x82F63B78))
    print("#endif")


if __name__ == "__main__":
    main()
