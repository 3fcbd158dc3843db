"""Tests that stand for a check and reached no verdict, whatever else they ended with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from pytest_fragility._util.text import one_line
from pytest_fragility.checks.wording import counted


@dataclass(frozen=True)
class Unjudged:
    """A test without a verdict.

    Parameters
    ----------
    audit
        The test without its parameters, or what the command line named.
    check
        Which check it stands for, with the test's other parameters.
    message
        What it ended with: an error, or the reason why it was skipped.
    """

    audit: str
    check: str
    message: str


def unjudged_note(unjudged: Sequence[Unjudged]) -> str:
    """Return how many tests reached no verdict, and of which audits; empty where all did."""
    if not unjudged:
        return ""
    counts = Counter(each.audit for each in unjudged)
    named = ", ".join(f"{one_line(audit)} ({count})" for audit, count in counts.items())
    return f"{counted(len(unjudged), 'test')} reached no verdict: {named}"
