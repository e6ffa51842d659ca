"""Packaging of Taba: the Python packages, the twistd plugins, and the native core built by CFFI."""

import re
import sysconfig
from pathlib import Path

from setuptools import find_namespace_packages, setup

ROOT = Path(__file__).resolve().parent
VERSION = re.search(r'__version__ = "([^"]+)"', (ROOT / "taba" / "__init__.py").read_text(encoding="utf-8")).group(1)
STABLE_ABI = not sysconfig.get_config_var("Py_GIL_DISABLED")

TAKO = ["PyYAML>=6.0"]
TEST = [
    *TAKO,
    "hypothesis>=6.100", "coverage>=7.4", "prometheus-client>=0.20", "gevent>=24.2", "gunicorn>=22.0", "pytest>=8.0",
    "statsd>=4.0", "datadog>=0.49",
]

setup(
    name="taba",
    version=VERSION,
    description="Aggregates the instrumentation events of distributed systems, in near real time and exactly once.",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=[*find_namespace_packages(include=["taba", "taba.*"]), "twisted.plugins"],
    package_data={"taba": ["py.typed"], "taba.store.redis": ["*.lua"], "twisted.plugins": ["taba_plugins.py"]},
    install_requires=[
        "Twisted[tls]>=25.5",
        "treq>=24.9",
        "txredisapi>=1.6",
        "hiredis>=3.0",
        "cffi>=1.16",
        "attrs>=23.2",
        "google-re2>=1.1",
        "click>=8.1",
    ],
    extras_require={
        "tako": TAKO,
        "test": TEST,
        "bench": ["prometheus-client>=0.20"],
        "dev": [*TEST, "ruff>=0.6", "mypy>=1.11", "mypy-zope>=1.0.5", "tox>=4"],
    },
    cffi_modules=["native/build_ffi.py:ffibuilder"],
    entry_points={
        "console_scripts": [
            "taba-cli = taba.cli:main",
            "taba-server = taba.server_tap:main",
            "taba-agent = taba.agent_tap:main",
            "tako-node = taba.tako.node_tap:main",
            "tako-proxy = taba.tako.proxy_tap:main",
            "tako-coordinator = taba.tako.coordinator_tap:main",
            "tako-cluster = taba.tako.cluster_tap:main",
            "tako-cli = taba.tako.cli:run",
        ],
    },
    options={"bdist_wheel": {"py_limited_api": "cp311"}} if STABLE_ABI else {},
    zip_safe=False,
)
