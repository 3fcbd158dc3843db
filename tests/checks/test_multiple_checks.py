"""Many checks in one audit, and many measures: what is corrected for, and what need not be."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from scipy import stats

from pytest_fragility.checks.records import check_record
from pytest_fragility.checks.registry import judge, plan_checks
from pytest_fragility.checks.tolerances import Tolerances
from pytest_fragility.checks.verdicts import BROKEN, KEPT, Record
from pytest_fragility.curves import LearningCurves
from pytest_fragility.perturbations import BASELINE
from pytest_fragility.report.conclusion import overall_verdict
from tests.simulated_audits import (
    ALPHA,
    INSIDE,
    OUTSIDE,
    PERTURBATION,
    Scatter,
    Truth,
    simulate,
)

AUDITS = 150
NAMES = ("first", "second", "third", "fourth")
BOUND = float(stats.binom.ppf(0.999, AUDITS, ALPHA)) / AUDITS


def audits_of(truths: dict[str, Truth]) -> Iterator[LearningCurves]:
    """Yield the curves of audits with several perturbations, each with noise of its own."""
    simulated = [
        simulate(truth, Scatter(), audits=AUDITS, seed=20 + place)
        for place, truth in enumerate(truths.values())
    ]
    for parts in zip(*simulated, strict=True):
        first = parts[0]
        measure, error = {BASELINE: first.measure[BASELINE]}, {BASELINE: first.error[BASELINE]}
        for name, part in zip(truths, parts, strict=True):
            for found, own, before in (
                (measure, part.measure, first.measure[BASELINE]),
                (error, part.error, first.error[BASELINE]),
            ):
                moved = own[PERTURBATION].values / own[BASELINE].values
                found[name] = replace(own[PERTURBATION], values=before.values * moved)
        recipes = {name: name for name in measure}
        yield replace(first, recipes=recipes, measure=measure, error=error)


def records_of(curves: LearningCurves) -> list[Record]:
    """Return the records of all checks, but for what stands beside the verdicts."""
    names = [name for name in curves.recipes if name != BASELINE]
    planned = plan_checks(("trend", "exponent", "spread"), names)[:-2]
    return [check_record(curves, judge(check, curves, Tolerances())) for check in planned]


def test_certificates_need_no_correction() -> None:
    """One of four perturbations breaks one tolerance by a hair: alpha holds for the audit."""
    truths = dict.fromkeys(NAMES, Truth())
    truths["third"] = Truth(slope_change=0.1 + OUTSIDE)
    passed = sum(overall_verdict(records_of(curves)) == KEPT for curves in audits_of(truths))
    assert passed / AUDITS <= BOUND


def test_the_more_breaks_the_fewer_certificates() -> None:
    """Every check that should fail has to err."""
    truth = Truth(slope_change=0.1 + OUTSIDE, level_change=0.1 + OUTSIDE)
    truths = dict.fromkeys(NAMES, truth)
    passed = sum(overall_verdict(records_of(curves)) == KEPT for curves in audits_of(truths))
    assert passed == 0


def test_convictions_are_not_corrected() -> None:
    """Of k innocent checks k alpha at most are convicted on average; some, at the limit."""
    truths = dict.fromkeys(NAMES, Truth(slope_change=0.16 + INSIDE, error_slope_change=0.06))
    broken = []
    for curves in audits_of(truths):
        exponents = [record for record in records_of(curves) if record["kind"] == "exponent"]
        broken.append(sum(record["verdict"] == BROKEN for record in exponents))
    mean = float(np.mean(broken))
    assert 0 < mean <= len(NAMES) * ALPHA + 3 * float(np.std(broken)) / AUDITS**0.5


def test_an_honest_measure_is_certified() -> None:
    """Nine in ten times, over all perturbations at once."""
    truths = dict.fromkeys(NAMES, Truth())
    passed = sum(overall_verdict(records_of(curves)) == KEPT for curves in audits_of(truths))
    assert passed / AUDITS >= 0.9
