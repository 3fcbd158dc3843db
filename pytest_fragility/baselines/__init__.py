"""Verdicts and exponents that are kept under version control, and what got worse since.

A baseline is a JSON file with one entry for each check: its verdict, and the number that it rests
on. What a check's number is, its kind says.
"""

from pytest_fragility.baselines.baseline_entries import Baseline, Update, audited_settings, update
from pytest_fragility.baselines.baseline_files import baseline_path, read_baseline, write_baseline
from pytest_fragility.baselines.regressions import Comparison, Expectation, compare

__all__ = [
    "Baseline",
    "Comparison",
    "Expectation",
    "Update",
    "audited_settings",
    "baseline_path",
    "compare",
    "read_baseline",
    "update",
    "write_baseline",
]
