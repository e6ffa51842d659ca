"""Contract suites of Tako, run on every implementation."""
