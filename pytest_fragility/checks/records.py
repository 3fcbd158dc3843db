"""What a check found, as one flat dict of plain JSON types: all reports are made from these."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from pytest_fragility._util.stopwatch import REPORT, spent_on
from pytest_fragility.checks.kind import LEVEL, PAIRS, SEARCH, TASKS
from pytest_fragility.checks.registry import kind_of
from pytest_fragility.checks.verdicts import Record
from pytest_fragility.perturbations import BASELINE

if TYPE_CHECKING:
    from pytest_fragility.checks.check import Check
    from pytest_fragility.checks.verdicts import Verdict
    from pytest_fragility.curves import LearningCurves


SCHEMA = 1
# what all checks of an audit have in common
CONTEXT: Mapping[str, Callable[[LearningCurves], Any]] = {
    "schema": lambda curves: SCHEMA,
    "measure": lambda curves: curves.measure_name,
    "form": lambda curves: curves.form,
    "task": lambda curves: curves.task_name,
    "baseline": lambda curves: curves.recipes[BASELINE],
    "sizes": lambda curves: list(curves.sizes),
    "seeds": lambda curves: list(curves.seeds),
    "alpha": lambda curves: curves.alpha,
    "looks": lambda curves: list(curves.looks),
    "fit": lambda curves: curves.fit,
    "scale": lambda curves: curves.scale,
    "device": lambda curves: curves.device,
    "ladder": lambda curves: curves.ladder.name if curves.ladder else None,
    "constant_over_recipes": lambda curves: curves.constant,
    "source": lambda curves: curves.source,
}


def audit_context(curves: LearningCurves) -> Record:
    """Return what all checks over the same curves have in common."""
    return {name: read(curves) for name, read in CONTEXT.items()}


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
    check, admissibility = verdict.check, verdict.admissibility
    kind, perturbation = kind_of(check), check.perturbation
    recipes = list(curves.recipes)
    is_compared = perturbation != BASELINE and kind.slopes(verdict) is not None
    return {
        **audit_context(curves),
        "recipe": curves.recipes[perturbation],
        "check": check.id,
        "kind": kind.id,
        "perturbation": perturbation,
        "change": check.change,
        # by recipe, and what is of no one recipe at the end
        "place": recipes.index(check.recipe) if check.recipe else len(recipes),
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
        "unpaired": is_compared and not curves.is_paired(perturbation),
        "notes": notes_of(curves, check),
    }


def notes_of(curves: LearningCurves, check: Check) -> list[str]:
    """Return sentences on which networks a check rests, where some of the plan are missing.

    Empty where all networks were trained here.
    """
    rests_on = kind_of(check).rests_on
    if rests_on == TASKS:
        return list(curves.ladder.left_out) if curves.ladder else []
    if rests_on in (PAIRS, SEARCH):
        return []
    names = check.recipes
    told = [note for name in names for note in curves.left_out.get(name, ())]
    told += [f"{name}: {curves.incomplete[name]}" for name in names if name in curves.incomplete]
    return list(dict.fromkeys(told))


def _own_noise(curves: LearningCurves, verdict: Verdict) -> Record | None:
    """Return the noise of a measure's own randomness, and its share in what a verdict rests on.

    None where it draws no random numbers, or the verdict rests on no learning curve of it.
    """
    kind = kind_of(verdict.check)
    evidence = kind.slopes(verdict)
    noise = curves.own_noise if evidence else None
    if noise is None or evidence is None:
        return None
    share = noise.level_share if kind.looks_at == LEVEL else noise.slope_share
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


@spent_on(REPORT)
def to_json(record: Record) -> str:
    """Return a record as one compact line; NaN and infinity are refused."""
    return json.dumps(record, separators=(",", ":"), allow_nan=False)


NOT_APPLICABLE = "not applicable"


def verdict_of(record: Record) -> str:
    """Return ``kept``, ``broken``, ``inconclusive`` or ``not applicable``."""
    verdict: str = record["verdict"]
    return verdict if record["applicable"] else NOT_APPLICABLE
