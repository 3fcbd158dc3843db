"""Benchmarks: off by default, ratios within one run."""
