"""What an audit concludes from all its checks."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_fragility.checks.kind import AUDIT, MEASURE, NOTHING
from pytest_fragility.checks.registry import kind_of
from pytest_fragility.checks.verdicts import BROKEN, INCONCLUSIVE, KEPT, Record


def overall_verdict(records: Sequence[Record]) -> str:
    """Return ``broken`` if any check is, ``kept`` if all that apply are, else ``inconclusive``.

    Where controls misbehave nothing is concluded.
    """
    if is_void(records):
        return INCONCLUSIVE
    asserted = [r for r in records if kind_of(r).about != NOTHING]
    statuses = {r["verdict"] for r in asserted if r["applicable"]}
    if BROKEN in statuses:
        return BROKEN
    is_about_it = any(kind_of(r).about == MEASURE for r in asserted)
    return KEPT if is_about_it and statuses == {KEPT} else INCONCLUSIVE


def is_void(records: Sequence[Record]) -> bool:
    """Return whether an audit's own controls misbehave, so that it concludes nothing."""
    return any(r["verdict"] == BROKEN and kind_of(r).about == AUDIT for r in records)


def audit_verdict(records: Sequence[Record], *, errors: int = 0) -> str:
    """Return the verdict on an audit of which some checks left no record: it is not kept then."""
    verdict = overall_verdict(records)
    return INCONCLUSIVE if errors and verdict == KEPT else verdict
