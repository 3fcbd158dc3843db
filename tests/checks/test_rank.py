"""Kendall's tau as a check: its numbers against SciPy's, its errors by simulation."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from pytest_fragility import audit
from pytest_fragility.checks.check import Check
from pytest_fragility.checks.rank import LEAST_TAU, RankEvidence
from pytest_fragility.checks.registry import judge, plan_checks
from pytest_fragility.checks.tolerances import Tolerances
from pytest_fragility.checks.verdicts import BROKEN, INCONCLUSIVE, KEPT, Verdict
from pytest_fragility.curves import LearningCurve, LearningCurves
from pytest_fragility.networks.trained_network import TrainedNetwork
from pytest_fragility.perturbations import BASELINE
from pytest_fragility.recipes import Recipe
from pytest_fragility.tasks import Task
from tests.checks.test_error_rates import bound
from tests.checks.test_judging import ERROR, make_curves

Floats = npt.NDArray[np.float64]

SIZES = tuple(16 * 2**k for k in range(12))


def curves_of(values: Floats, errors: Floats, alpha: float = 0.05) -> LearningCurves:
    """Return curves under the baseline; shape (sizes, seeds) each."""
    sizes = SIZES[: len(values)]
    measure, error = (
        {BASELINE: LearningCurve("", BASELINE, sizes, each, alpha)} for each in (values, errors)
    )
    seeds = tuple(range(values.shape[1]))
    plain = make_curves({BASELINE: ERROR})
    return replace(plain, sizes=sizes, seeds=seeds, alpha=alpha, measure=measure, error=error)


def rank_of(values: Floats, errors: Floats, alpha: float = 0.05) -> Verdict:
    """Return the verdict on ranks."""
    return judge(Check("rank"), curves_of(values, errors, alpha), Tolerances())


def evidence_of(verdict: Verdict) -> RankEvidence:
    """Return the numbers."""
    assert isinstance(verdict.evidence, RankEvidence)
    return verdict.evidence


def grid(seed: int, levels: int = 0, seeds: int = 5) -> Floats:
    """Return random numbers above zero; with levels, many are the same."""
    generator = np.random.default_rng(seed)
    shape = (len(SIZES), seeds)
    random: Floats = generator.random(shape)
    return 1.0 + (np.floor(levels * random) if levels else random)


@pytest.mark.parametrize("levels", [0, 4])
def test_the_mean_and_its_interval_are_scipys(levels: int) -> None:
    """Tau-b for each seed, and a t interval at half of alpha."""
    values, errors = grid(1, levels), grid(2, levels)
    taus = [stats.kendalltau(values[:, s], errors[:, s]).statistic for s in range(5)]
    low, high = stats.t.interval(0.975, 4, np.mean(taus), stats.sem(taus))
    found = evidence_of(rank_of(values, errors)).mean_tau
    assert (found.mean, found.low, found.high) == pytest.approx((np.mean(taus), low, high))


def test_verdicts_are_three_way() -> None:
    """What is in the order of test error is kept, what is against it broken."""
    errors = grid(3)
    assert rank_of(errors**2, errors).status == KEPT
    assert rank_of(1 / errors, errors).status == BROKEN
    verdict = rank_of(errors + 2 * grid(4), errors)
    assert verdict.status == INCONCLUSIVE and verdict.seeds_needed
    assert evidence_of(verdict).mean_tau.low < LEAST_TAU < evidence_of(verdict).mean_tau.high


def test_what_orders_nothing_has_a_tau_of_zero() -> None:
    """A measure that is the same everywhere; of test errors that are, nothing can be said."""
    errors = grid(5)
    verdict = rank_of(np.ones_like(errors), errors)
    assert (verdict.status, evidence_of(verdict).mean_tau.mean) == (BROKEN, 0.0)
    errors[:, 2] = 0.5
    verdict = rank_of(grid(6), errors)
    assert (verdict.status, verdict.evidence) == (INCONCLUSIVE, None)
    assert "test error is the same on all networks of a seed" in verdict.reason


def test_few_networks_and_few_seeds_decide_nothing() -> None:
    """Taus that agree by chance have an interval without any width."""
    errors = grid(7)
    verdict = rank_of(errors[:9], errors[:9])
    assert (
        verdict.status == INCONCLUSIVE and "9 networks of each seed are too few" in verdict.reason
    )
    assert rank_of(errors[:10], errors[:10]).status == KEPT
    verdict = rank_of(errors[:, :2], errors[:, :2])
    assert (verdict.status, verdict.seeds_needed) == (INCONCLUSIVE, 3)


@pytest.mark.parametrize("seeds", [3, 8])
def test_a_measure_at_the_limit_is_seldom_judged(seeds: int) -> None:
    """Where tau truly is the least value, each verdict but inconclusive errs: alpha / 2 each."""
    audits, alpha = 250, 0.05
    generator = np.random.default_rng(seeds)
    # of two normal variables, tau is 2 / pi * arcsin of their correlation (Greiner 1909)
    correlation = np.sin(np.pi / 2 * LEAST_TAU)
    counts = {KEPT: 0, BROKEN: 0, INCONCLUSIVE: 0}
    for _ in range(audits):
        errors, noise = generator.standard_normal((2, 10, seeds))
        values = correlation * errors + np.sqrt(1 - correlation**2) * noise
        counts[rank_of(np.exp(values), np.exp(errors), alpha).status] += 1
    for status in (KEPT, BROKEN):
        assert counts[status] / audits <= bound(audits, alpha / 2), counts


def test_ranks_are_checked_where_asked_for() -> None:
    """Not by default; with what comes along with every check of perturbations."""
    ids = [check.id for check in plan_checks(["rank"], ["adam", "lr-x3"])]
    assert ids == ["rank", "perturbations-admissible", "controls", "agreement"]
    (check, *_) = plan_checks(["rank"], ["adam", "lr-x3"])
    assert check.recipes == (BASELINE, "adam", "lr-x3")


def ruler(network: TrainedNetwork) -> float:
    """Fall with n, as test error does."""
    return 1 / network.n


@pytest.mark.parametrize("seeds", [3, "auto-5"])
def test_an_audit_of_ranks_alone(blobs: Task, small_recipe: Recipe, seeds: Any) -> None:
    """With fixed seeds, and with as many as it takes: over all recipes at each look."""
    result = audit(
        ruler,
        task=blobs,
        recipe=small_recipe,
        sizes=(16, 32, 64),
        seeds=seeds,
        perturbations=["adam", "momentum", "lr-x3"],
        checks="rank",
        error_margin=50,
        device="cpu",
        cache_dir=None,
    )
    (verdict,) = [each for each in result.verdicts if each.check.kind == "rank"]
    assert evidence_of(verdict).networks == 12
    assert "ranks: " in str(result) and "12 networks of each seed" in " ".join(str(result).split())
