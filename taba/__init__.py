"""Taba aggregates the instrumentation events of large distributed systems, in near real time and exactly once.

Applications import `taba.client`. Everything else is the agent and the server that `twistd taba-agent` and `twistd
taba-server` start; docs/ has the guide, and the reference of every protocol and byte format.
"""

__all__ = ["__version__"]

__version__ = "0.9.0"
