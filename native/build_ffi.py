"""Builds `taba._native`, the CFFI module around native/include/taba.h (out-of-line, API mode, stable ABI).

The declarations are read from the header itself, so that the two cannot differ: what the preprocessor needs and what
CFFI cannot parse is taken out, constants are left for the compiler to fill in.
"""

from __future__ import annotations

import re
import sys
import sysconfig
from pathlib import Path

from cffi import FFI

HERE = Path(__file__).resolve().parent


def declarations(header: str) -> str:
    """The header's declarations in the form that `FFI.cdef` takes."""
    text = re.sub(r"/\*.*?\*/", "", header, flags=re.S)
    text = re.sub(r'^#(ifn?def|if|endif|include|define TABA_H).*$|^extern "C" \{$', "", text, flags=re.M)
    text = re.sub(r"^#ifdef __cplusplus.*?#endif", "", text, flags=re.S | re.M)
    text = re.sub(r"^#define (TABA_\w+)\s+\S.*$", r"#define \1 ...", text, flags=re.M)
    # The closing brace of extern "C" stands alone at the start of a line, without a semicolon.
    text = re.sub(r"^\}\s*$", "", text, flags=re.M)
    # Sizes of arrays must be numbers here; the compiler checks them against the header.
    bare = re.sub(r"/\*.*?\*/", "", header, flags=re.S)
    for name, value in re.findall(r"^#define (TABA_\w+)\s+\(?(-?\d+)\)?\s*$", bare, flags=re.M):
        text = text.replace(f"[{name}]", f"[{value}]")
    return text


def make() -> FFI:
    """The FFI builder that setup.py runs (`cffi_modules`)."""
    header = HERE / "include" / "taba.h"
    builder = FFI()
    builder.cdef(declarations(header.read_text(encoding="utf-8")))
    stable_abi = not sysconfig.get_config_var("Py_GIL_DISABLED")  # free-threaded builds have no stable ABI yet
    root = HERE.parent
    sources = sorted(str(path.relative_to(root)) for path in (HERE / "src").glob("*.c"))
    version = re.search(r'__version__ = "([^"]+)"', (root / "taba" / "__init__.py").read_text(encoding="utf-8"))
    if version is None:
        raise RuntimeError("taba/__init__.py has no __version__")
    builder.set_source(
        "taba._native",
        '#include "taba.h"',
        sources=sources,
        include_dirs=[str((HERE / "include").relative_to(root)), str((HERE / "src").relative_to(root))],
        depends=[str(path.relative_to(root)) for path in [header, *sorted((HERE / "src").glob("*.h"))]],
        define_macros=[("TABA_VERSION", f'"{version.group(1)}"')],
        extra_compile_args=[] if sys.platform == "win32" else ["-O2", "-std=c99", "-ffp-contract=off"],
        libraries=[] if sys.platform == "win32" else ["m"],
        py_limited_api=stable_abi,
    )
    return builder


ffibuilder = make()

if __name__ == "__main__":
    ffibuilder.compile(verbose=True)
