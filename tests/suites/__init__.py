"""Which tests run together, and how: `python -m tests.suites`, `python -m tests.suites.whole`."""
