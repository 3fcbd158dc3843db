"""How often the complexity check errs, over many simulated audits with Gaussian noise."""

from __future__ import annotations

from collections import Counter

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from pytest_fragility.checks import complexity
from pytest_fragility.checks.check import Check
from pytest_fragility.checks.complexity import EXPONENTS
from pytest_fragility.checks.tolerances import Tolerances
from pytest_fragility.checks.verdicts import BROKEN, INCONCLUSIVE, KEPT
from pytest_fragility.curves import LadderCurves
from pytest_fragility.perturbations import BASELINE
from tests.checks.test_judging import Lines

Floats = npt.NDArray[np.float64]

AUDITS = 200
ALPHA = 0.05
SEEDS = 5
NOISE = 0.04
# A rate of alpha is seen above this once in a thousand times.
BOUND = float(stats.binom.ppf(0.999, AUDITS, ALPHA)) / AUDITS
TOLERANCES = Tolerances()

LADDERS = {2: (0.55, 0.05), 3: (0.55, 0.25, 0.05), 4: (0.55, 0.35, 0.2, 0.05)}

numbers_of_tasks = pytest.mark.parametrize("tasks", [2, 4])
# Of the measure's noise with test error's, over seeds.
correlations = pytest.mark.parametrize(
    "correlation", [0.0, 0.8, -0.8], ids=["independent", "together", "opposite"]
)


@pytest.fixture(autouse=True)
def no_count_of_seeds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip what takes long and decides no verdict: how many seeds would decide."""
    monkeypatch.setattr(complexity.statistics, "seeds_needed", lambda *_: None)


def rates(
    exponents: tuple[float, ...],
    sensitivity: float,
    correlation: float = 0.0,
    audits: int = AUDITS,
) -> Counter[str]:
    """Return how often each verdict is given, as a share of the simulated audits.

    Test error's true exponents are given, the measure's are `sensitivity` times these; every seed
    adds noise to both.
    """
    generator = np.random.default_rng(20)
    truth = np.array(exponents)[:, None]
    counts: Counter[str] = Counter()
    for _ in range(audits):
        own, shared = generator.standard_normal((2, len(exponents), SEEDS))
        error = truth + NOISE * shared
        mixed = correlation * shared + (1 - correlation**2) ** 0.5 * own
        ladder = exponents_only(0.2 + sensitivity * truth + NOISE * mixed, error)
        counts[EXPONENTS.judge_ladder(Check(EXPONENTS.id), ladder, TOLERANCES).status] += 1
    return Counter({status: count / audits for status, count in counts.items()})


def exponents_only(measure: Floats, error: Floats) -> LadderCurves:
    """Return a ladder of power laws with these exponents, (tasks, seeds), all of one level."""
    ones = np.ones(SEEDS)
    measured, erring = (
        {
            f"task-{row}": Lines(-exponents, ones).curve(name, BASELINE)
            for row, exponents in enumerate(values)
        }
        for name, values in (("ruler", measure), ("test error", error))
    )
    return LadderCurves(name="steps", measure=measured, error=erring, unfinished={})


@numbers_of_tasks
@correlations
@pytest.mark.parametrize("sensitivity", [0.15, 0.249])
def test_a_measure_that_hardly_follows_is_seldom_certified(
    tasks: int, correlation: float, sensitivity: float
) -> None:
    """One whose true sensitivity is below the least is kept at a rate of alpha at most."""
    assert rates(LADDERS[tasks], sensitivity, correlation)[KEPT] <= BOUND


@numbers_of_tasks
@correlations
@pytest.mark.parametrize("sensitivity", [0.6, 0.251])
def test_a_measure_that_follows_is_seldom_convicted(
    tasks: int, correlation: float, sensitivity: float
) -> None:
    """One whose true sensitivity is within what is allowed is broken at a rate of alpha at most."""
    assert rates(LADDERS[tasks], sensitivity, correlation)[BROKEN] <= BOUND


@numbers_of_tasks
@correlations
def test_tasks_that_do_not_differ_seldom_convict(tasks: int, correlation: float) -> None:
    """Whatever the measure does, on a ladder without rungs it is broken at a rate of alpha."""
    found = rates((0.3,) * tasks, 0.0, correlation)
    assert found[BROKEN] <= BOUND
    assert found[BROKEN] + found[KEPT] <= BOUND


@pytest.mark.parametrize("correlation", [0.8, -0.8], ids=["together", "opposite"])
def test_tasks_that_hardly_differ_seldom_convict(correlation: float) -> None:
    """Where test error's exponents differ by little more than their noise, the bounds hold too."""
    exponents = (0.175, 0.145, 0.1, 0.05)
    assert rates(exponents, 0.251, correlation)[BROKEN] <= BOUND
    assert rates(exponents, 0.249, correlation)[KEPT] <= BOUND


def test_many_tasks_that_hardly_differ_do_not_certify_what_exaggerates() -> None:
    """A contrast that a seed's own noise had a part in would, in 7 of 100 audits."""
    audits = 2000
    bound = float(stats.binom.ppf(0.999, audits, ALPHA)) / audits
    exponents = tuple(np.linspace(0.05, 0.11, 6).tolist())
    assert rates(exponents, 4.01, audits=audits)[KEPT] <= bound


def test_the_rates_are_not_held_by_deciding_nothing() -> None:
    """At the tolerance itself verdicts come about as often as they may."""
    assert rates(LADDERS[2], 0.249)[KEPT] >= 0.01
    assert rates(LADDERS[2], 0.251)[BROKEN] >= 0.01


@pytest.mark.parametrize("tasks", [2, 3, 4])
def test_five_seeds_tell_the_blind_from_those_that_follow(tasks: int) -> None:
    """In nine of ten audits, where exponents differ by ten times their noise."""
    assert rates(LADDERS[tasks], 0.0)[BROKEN] >= 0.9
    assert rates(LADDERS[tasks], 1.0)[KEPT] >= 0.9


def test_undecided_audits_are_the_rest() -> None:
    """A measure at the tolerance is mostly left undecided."""
    assert rates(LADDERS[3], 0.25)[INCONCLUSIVE] >= 0.9
