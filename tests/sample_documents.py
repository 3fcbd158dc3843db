"""Documents as reports are made from, without any training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from pytest_fragility.checks.breaking_points import BreakingPoint, BreakingPointEvidence
from pytest_fragility.checks.check import Check
from pytest_fragility.checks.controls import ControlEvidence, ControlsEvidence
from pytest_fragility.checks.curve_data import curves_of_check
from pytest_fragility.checks.records import check_record
from pytest_fragility.checks.registry import ASKED_AS, judge, plan_checks
from pytest_fragility.checks.tolerances import Tolerances
from pytest_fragility.checks.verdicts import KEPT, SlopeEvidence, Verdict
from pytest_fragility.curves import Agreement, Invariance, LearningCurves
from pytest_fragility.perturbations import BASELINE
from pytest_fragility.report.documents import AuditedMeasure, Document, document
from tests.checks.test_judging import ERROR, Lines, lines, make_curves
from tests.curves.test_ladder_curves import ladder_of, positive

HOSTILE = "<script>alert(1)</script>\"'&\x1b[31m $x^2$ {{ 7 * 7 }} 日本"
FALLING = lines(-0.2)
REVERSING = {BASELINE: FALLING, "adam": lines(0.5, level=1.0), "lr-x3": FALLING.moved()}
KEEPING = {BASELINE: FALLING, "adam": FALLING.moved(), "lr-x3": FALLING.moved()}


def sample_curves(measure: Mapping[str, Lines], name: str = "ruler") -> LearningCurves:
    """Return curves over recipes and over a ladder, with values where the function stays."""
    error = {recipe: ERROR if recipe == BASELINE else ERROR.moved() for recipe in measure}
    values = positive(3)
    return replace(
        make_curves(measure, error),
        measure_name=name,
        ladder=ladder_of(values, values),
        invariances={
            "symmetry-permutation": _invariance(1.0),
            "symmetry-split-neurons": _invariance(2.0),
            "equivalence-exponential-rate": _invariance(1.0),
            "symmetry-logit-shift": "the measure is not defined there",
        },
    )


def sample_audit(
    curves: LearningCurves,
    name: str = "test_ruler.py::test_ruler",
    errors: Mapping[str, str] | None = None,
    kinds: Sequence[str] = tuple(ASKED_AS),
) -> AuditedMeasure:
    """Return an audit of all kinds of checks, each judged on these curves."""
    names = [name for name in curves.recipes if name != BASELINE]
    planned = plan_checks(kinds, names, checkpoints=names[-1:])
    checks = [check for check in planned if _can_be_judged(check, curves)]
    verdicts = [judge(check, curves, Tolerances()) for check in checks]
    audit = AuditedMeasure(name, errors=dict(errors or {}))
    for verdict in [*verdicts, *_others(curves)]:
        audit.records.append(check_record(curves, verdict))
        audit.curves += curves_of_check(curves, verdict.check)
    return audit


def two_measures() -> Document:
    """Return the document of one measure that breaks and one that does not."""
    return document(
        [
            sample_audit(sample_curves(REVERSING), errors={"exponent-rmsprop": "it diverged"}),
            sample_audit(sample_curves(KEEPING, name="steady"), name="steady", kinds=["trend"]),
        ]
    )


def hostile_document() -> Document:
    """Return a document whose every name comes from somebody who means harm."""
    measure = {BASELINE: FALLING, HOSTILE: lines(0.5, level=1.0)}
    curves = replace(sample_curves(measure, name=HOSTILE), task_name=HOSTILE, form=HOSTILE)
    return document(
        [sample_audit(curves, name=HOSTILE, errors={f"trend-{HOSTILE}": f"raised {HOSTILE}"})]
    )


def verdicts_of(shown: Document) -> list[tuple[str, str]]:
    """Return all checks of a document with their verdicts."""
    return [
        (check["check"], check["verdict"]) for audit in shown["audits"] for check in audit["checks"]
    ]


def _can_be_judged(check: Check, curves: LearningCurves) -> bool:
    is_invariance = check.change and check.id not in curves.invariances
    return not is_invariance and check.kind not in ("controls", "agreement")


def _invariance(factor: float) -> Invariance:
    before = np.full((1, 1), 2.0)
    return Invariance("a change", ("n=16, seed 0",), before, factor * before, 0.05)


def _others(curves: LearningCurves) -> list[Verdict]:
    """Return verdicts that need networks to be judged."""
    behaves = ControlsEvidence((ControlEvidence("noise", "inconclusive", "inconclusive", False),))
    recipes = list(curves.recipes)
    agreement = Agreement.from_values(
        np.stack([curves.measure[name].values for name in recipes]),
        np.stack([curves.error[name].values for name in recipes]),
        recipes=recipes,
        sizes=curves.sizes,
        test_size=500,
    )
    slope = curves.measure[BASELINE].slope
    evidence = SlopeEvidence(slope, slope, perturbed=slope)
    points = (
        BreakingPoint("lr", "lr-x3", "lr-x10", "lr-x2", "lr-x3", "trend", evidence),
        BreakingPoint("batch", None, "batch-x2", None, None),
    )
    return [
        Verdict(Check("controls"), KEPT, "all controls behave", behaves),
        Verdict(Check("agreement"), KEPT, "asserts nothing", agreement),
        Verdict(
            Check("locate", change="lr"), KEPT, "breaks at lr-x3", BreakingPointEvidence(points)
        ),
    ]
