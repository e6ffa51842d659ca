"""Taba's agent beside its peers: `python -m tests.benchmarks.peers` sends all of them the same prepared StatsD lines.

Each peer runs as its own documentation recommends, in a temporary folder, and is asked in the end what it counted. The
figure is events counted per CPU second (user and system) of the peer's processes and their children, flushes and
percentiles included. What is not installed is named as not measured, with what to install.
"""
