"""What a perturbation changes in the baseline's recipe."""

from __future__ import annotations

from pytest_fragility.checks.records import Record
from pytest_fragility.report.failure_message import recipe_change


def change_in_words(record: Record) -> str:
    """Return what differs, such as ``sgd lr=0.05 → adam lr=0.001``; empty for the baseline."""
    return recipe_change(record["baseline"], record["recipe"]).replace(" -> ", " → ")
