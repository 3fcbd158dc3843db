"""Learning curves that are no power law, in words."""

from __future__ import annotations

from pytest_fragility.checks.records import Record
from pytest_fragility.checks.wording import indented, interval
from pytest_fragility.perturbations import BASELINE

MARK = "~"
EXPLANATION = f"{MARK} no power law: the slope is an average over all n, and no exponent"


def bent_mark(record: Record, side: str) -> str:
    """Return what stands behind the slope of a curve that is no power law."""
    return MARK if side in record["evidence"].get("bent", []) else ""


def is_bent(record: Record) -> bool:
    """Return whether a table marks a slope of this record."""
    evidence = record["evidence"]
    rungs = evidence.get("rungs", [])
    return bool({BASELINE, "perturbed"} & set(evidence.get("bent", []))) or any(
        rung["measure_is_bent"] or rung["error_is_bent"] for rung in rungs
    )


def part_lines(record: Record) -> list[str]:
    """Return which curves are no power law, and the slopes over their parts; nothing otherwise."""
    evidence = record["evidence"]
    if not evidence.get("bent"):
        return []
    lines = indented(f"No power law: {_which(record)}. Over parts, value ~")
    for part in evidence["parts"]:
        slopes = [part[side] for side in (BASELINE, "perturbed") if side in part]
        laws = " -> ".join(f"n^{interval(slope)}" for slope in slopes)
        lines.append(f"    n = {part['sizes'][0]}..{part['sizes'][1]}: {laws}")
        if "change" in part:
            lines.append(
                f"      change {interval(part['change'])} "
                f"(beyond test error's: {interval(part['beyond'])})"
            )
    return lines


def _which(record: Record) -> str:
    names = {
        "baseline": "the baseline's curve",
        "perturbed": f"{record['perturbation']}'s",
        "change": "their ratio",
    }
    return ", ".join(names[which] for which in record["evidence"]["bent"])
