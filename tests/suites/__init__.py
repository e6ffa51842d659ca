"""Which tests run together, for trial: `python -m twisted.trial tests.suites.unit`."""
