"""Benchmarks that anyone can run: `python -m tests.benchmarks` (or `tox -e bench`) prints a table, and writes
bench.json.

Each starts real processes on loopback, sends prepared bytes, and checks every count at the end; figures are events
per CPU second (user and system) of the serving process unless they say otherwise. They are never assertions: a shared
machine is too noisy for that.
"""
