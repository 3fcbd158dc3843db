"""What a check found, as one flat dict of plain JSON types: all reports are made from these."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pytest_fragility._util.stopwatch import REPORT, spent_on
from pytest_fragility.checks.check import (
    COMPLEXITY_KINDS,
    INVARIANCE_KINDS,
    PERTURBED_KINDS,
    SPREAD,
    STOPPING,
)
from pytest_fragility.checks.verdicts import Evidence, StoppingEvidence
from pytest_fragility.perturbations import BASELINE

if TYPE_CHECKING:
    from pytest_fragility.checks.check import Check
    from pytest_fragility.checks.verdicts import Verdict
    from pytest_fragility.curves import LearningCurves

    pass


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


Record = dict[str, Any]


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
    has_change = isinstance(evidence, Evidence | StoppingEvidence) and perturbation != BASELINE
    return has_change and not curves.is_paired(perturbation)


def _own_noise(curves: LearningCurves, verdict: Verdict) -> Record | None:
    """Return the noise of a measure's own randomness, and its share in what a verdict rests on.

    None where it draws no random numbers, or the verdict rests on no learning curve of it.
    """
    evidence = verdict.evidence
    if isinstance(evidence, StoppingEvidence):
        evidence = evidence.exponent_evidence
    noise = curves.own_noise if isinstance(evidence, Evidence) else None
    if noise is None:
        return None
    assert isinstance(evidence, Evidence)
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
