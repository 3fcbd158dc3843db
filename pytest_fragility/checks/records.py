"""What a check found, as one flat dict of plain JSON types: all reports are made from these."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_fragility._util.stopwatch import REPORT, spent_on
from pytest_fragility.checks.check import (
    COMPLEXITY_KINDS,
    EXPONENT,
    INVARIANCE_KINDS,
    PERTURBED_KINDS,
    SPREAD,
    STOPPING,
    TREND,
)
from pytest_fragility.checks.verdicts import Record, SlopeEvidence, StoppingEvidence
from pytest_fragility.checks.wording import LOG
from pytest_fragility.perturbations import BASELINE

if TYPE_CHECKING:
    from pytest_fragility.checks.check import Check
    from pytest_fragility.checks.verdicts import Verdict
    from pytest_fragility.curves import LearningCurves


SCHEMA = 1
# what all checks of an audit have in common
CONTEXT = (
    "schema",
    "measure",
    "form",
    "task",
    "baseline",
    "sizes",
    "seeds",
    "alpha",
    "looks",
    "fit",
    "scale",
    "device",
    "ladder",
    "constant_over_recipes",
    "source",
)


def audit_context(curves: LearningCurves) -> Record:
    """Return what all checks over the same curves have in common."""
    return {
        "schema": SCHEMA,
        "measure": curves.measure_name,
        "form": curves.form,
        "task": curves.task_name,
        "baseline": curves.recipes[BASELINE],
        "sizes": list(curves.sizes),
        "seeds": list(curves.seeds),
        "alpha": curves.alpha,
        "looks": list(curves.looks),
        "fit": curves.fit,
        "scale": curves.scale,
        "device": curves.device,
        "ladder": curves.ladder.name if curves.ladder else None,
        "constant_over_recipes": curves.constant,
        "source": curves.source,
    }


@spent_on(REPORT)
def check_record(curves: LearningCurves, verdict: Verdict) -> Record:
    """Return what one check found.

    Parameters
    ----------
    curves
        What the verdict was judged on.
    verdict
        The check's verdict.
    """
    perturbation = verdict.check.perturbation
    admissibility = verdict.admissibility
    return {
        **audit_context(curves),
        "recipe": curves.recipes[perturbation],
        "check": verdict.check.id,
        "kind": verdict.check.kind,
        "perturbation": perturbation,
        "change": verdict.check.change,
        "place": _place(curves, verdict.check),
        "verdict": verdict.status,
        "applicable": verdict.is_applicable,
        "reason": verdict.reason,
        "seeds_needed": verdict.seeds_needed,
        "admissibility": admissibility and admissibility.status,
        "admissibility_reason": admissibility and admissibility.reason,
        "evidence": verdict.evidence.to_dict() if verdict.evidence else {},
        "own_noise": _own_noise(curves, verdict),
        "error_levels": {
            name: float(curves.error[name].middle)
            for name in curves.judged(list(dict.fromkeys((BASELINE, perturbation))))
        },
        "unpaired": _is_unpaired(curves, verdict),
        "notes": notes_of(curves, verdict.check),
    }


def notes_of(curves: LearningCurves, check: Check) -> list[str]:
    """Return sentences on which networks a check rests, where some of the plan are missing.

    Empty where all networks were trained here.
    """
    if check.kind in COMPLEXITY_KINDS:
        return list(curves.ladder.left_out) if curves.ladder else []
    if check.kind in INVARIANCE_KINDS:
        return []
    names = list(dict.fromkeys((BASELINE, check.perturbation, *check.among)))
    told = [note for name in names for note in curves.left_out.get(name, ())]
    told += [f"{name}: {curves.incomplete[name]}" for name in names if name in curves.incomplete]
    return list(dict.fromkeys(told))


def _is_unpaired(curves: LearningCurves, verdict: Verdict) -> bool:
    """Return whether a verdict compares other seeds on either side."""
    perturbation, evidence = verdict.check.perturbation, verdict.evidence
    has_change = isinstance(evidence, SlopeEvidence | StoppingEvidence) and perturbation != BASELINE
    return has_change and not curves.is_paired(perturbation)


def _own_noise(curves: LearningCurves, verdict: Verdict) -> Record | None:
    """Return the noise of a measure's own randomness, and its share in what a verdict rests on.

    None where it draws no random numbers, or the verdict rests on no learning curve of it.
    """
    evidence = verdict.evidence
    if isinstance(evidence, StoppingEvidence):
        evidence = evidence.exponent_evidence
    noise = curves.own_noise if isinstance(evidence, SlopeEvidence) else None
    if noise is None:
        return None
    assert isinstance(evidence, SlopeEvidence)
    share = noise.level_share if verdict.check.kind == SPREAD else noise.slope_share
    change = evidence.change
    return {
        "slope": noise.slope,
        "level": noise.level,
        "slope_share": noise.slope_share(curves.measure[BASELINE].slope.deviation),
        "level_share": noise.level_share(curves.measure[BASELINE].level.deviation),
        "share": (
            share(change.deviation, curves=2) if change else share(evidence.baseline.deviation)
        ),
    }


def _place(curves: LearningCurves, check: Check) -> int:
    """Return where a report has a check: by recipe, and what is of no one recipe at the end."""
    names = list(curves.recipes)
    of_one_recipe = check.kind in PERTURBED_KINDS or check.kind == STOPPING
    return names.index(check.perturbation) if of_one_recipe else len(names)


@spent_on(REPORT)
def to_json(record: Record) -> str:
    """Return a record as one compact line; NaN and infinity are refused."""
    return json.dumps(record, separators=(",", ":"), allow_nan=False)


NOT_APPLICABLE = "not applicable"
DIGITS = 3


@dataclass(frozen=True)
class Quantity:
    """A number with its interval, rounded to three digits.

    Parameters
    ----------
    name
        ``exponent`` (``slope`` on a linear scale), ``exponent_change``, ``level_change`` (decades),
        ``value_change`` (decades; relative on a linear scale) or ``sensitivity``.
    value, low, high
        None where there is no such number.
    """

    name: str
    value: float | None
    low: float | None
    high: float | None

    def __str__(self) -> str:
        value, low, high = (_shown(each) for each in (self.value, self.low, self.high))
        return f"{value} [{low}, {high}]"


def verdict_of(record: Record) -> str:
    """Return ``kept``, ``broken``, ``inconclusive`` or ``not applicable``."""
    verdict: str = record["verdict"]
    return verdict if record["applicable"] else NOT_APPLICABLE


def quantity_of(record: Record) -> Quantity | None:
    """Return the number that a verdict rests on; None where it rests on no single one."""
    if record["kind"] in (TREND, STOPPING):
        return exponent_of(record)
    if record["kind"] in COMPLEXITY_KINDS:
        return sensitivity_of(record)
    return change_of(record)


def exponent_of(record: Record) -> Quantity | None:
    """Return the measure's exponent under a check's recipe; its slope on a linear scale.

    None where the check looks at no exponent, or found none.
    """
    evidence = record["evidence"]
    if record["kind"] not in (TREND, EXPONENT, STOPPING) or not evidence:
        return None
    return _of_slope(record, evidence.get("perturbed", evidence["baseline"]), "")


def change_of(record: Record) -> Quantity | None:
    """Return by how much a check's change moves the measure; None where it has no such number."""
    change = record["evidence"].get("change")
    if record["kind"] not in (EXPONENT, STOPPING, SPREAD, *INVARIANCE_KINDS) or not change:
        return None
    if record["kind"] in (EXPONENT, STOPPING):
        return _of_slope(record, change, "_change")
    name = "value_change" if record["kind"] in INVARIANCE_KINDS else "level_change"
    return _quantity(record, name, change, 1)


def sensitivity_of(record: Record) -> Quantity | None:
    """Return by how much the measure follows test error over a ladder of tasks."""
    found = record["evidence"].get("sensitivity")
    return _quantity(record, "sensitivity", found, 1) if found else None


def _of_slope(record: Record, estimate: dict[str, float], suffix: str) -> Quantity:
    if record["scale"] == LOG:
        return _quantity(record, f"exponent{suffix}", estimate, -1)
    return _quantity(record, f"slope{suffix}", estimate, 1)


def _quantity(record: Record, name: str, estimate: dict[str, Any], sign: int) -> Quantity:
    ends = [estimate["low"], estimate["high"]][::sign]
    value, low, high = (
        None if each is None else _rounded(sign * each, record["scale"])
        for each in (estimate["mean"], *ends)
    )
    return Quantity(name, value, low, high)


def _rounded(value: float, scale: str) -> float:
    """Return a value to three decimals; to three significant digits where it may be of any size."""
    rounded = round(value, DIGITS) if scale == LOG else float(f"{value:.{DIGITS}g}")
    # adding zero turns -0.0 into 0.0
    return rounded + 0.0


def _shown(value: float | None) -> str:
    return "?" if value is None else f"{value:+.{DIGITS + 3}g}"
