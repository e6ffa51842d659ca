"""Tests of Tako."""
