"""How well values agree with test errors, against SciPy and brute force."""

from __future__ import annotations

from itertools import combinations, product
from math import exp

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from pytest_fragility.curves import Agreement
from pytest_fragility.curves.rank_correlation import granulated_tau, sign_error
from tests.in_turn import in_turn

Floats = npt.NDArray[np.float64]

RECIPES, SIZES, SEEDS, TEST_SIZE = ("baseline", "adam", "lr-x3"), (16, 32, 64, 128), 5, 500


def grid(seed: int, *, levels: int = 0) -> Floats:
    """Return random numbers, shape (recipes, sizes, seeds); with levels, many are the same."""
    generator = np.random.default_rng(seed)
    shape = (len(RECIPES), len(SIZES), SEEDS)
    return generator.integers(levels, size=shape) / levels if levels else generator.random(shape)


def agreement(values: Floats, errors: Floats, *, test_size: int = TEST_SIZE) -> Agreement:
    """Return the agreement over the grid."""
    return Agreement.from_values(values, errors, recipes=RECIPES, sizes=SIZES, test_size=test_size)


@in_turn("levels", [0, 4])
def test_tau_is_scipys(levels: int) -> None:
    """Over all networks, ties left out as tau-b does."""
    values, errors = grid(1, levels=levels), grid(2, levels=levels)
    expected = stats.kendalltau(values.ravel(), errors.ravel()).statistic
    assert agreement(values, errors).tau == pytest.approx(expected, abs=1e-12)


def test_granulated_tau_is_the_mean_of_scipys() -> None:
    """Of the taus over networks that differ in n alone, and in the recipe alone."""
    values, errors = grid(3), grid(4)
    over_n = [
        stats.kendalltau(values[r, :, s], errors[r, :, s]).statistic
        for r, s in product(range(len(RECIPES)), range(SEEDS))
    ]
    over_recipes = [
        stats.kendalltau(values[:, n, s], errors[:, n, s]).statistic
        for n, s in product(range(len(SIZES)), range(SEEDS))
    ]
    found = agreement(values, errors)
    assert found.granulated == {
        "n": pytest.approx(np.mean(over_n)),
        "recipe": pytest.approx(np.mean(over_recipes)),
    }
    expected = (np.mean(over_n) + np.mean(over_recipes)) / 2
    assert found.granulated_mean == pytest.approx(expected)


def test_ties_are_no_agreement() -> None:
    """The definition pair by pair, with many equal values and test errors."""
    values, errors = grid(5, levels=3), grid(6, levels=3)
    products = [
        np.sign(values[r, j, s] - values[r, i, s]) * np.sign(errors[r, j, s] - errors[r, i, s])
        for r, s in product(range(len(RECIPES)), range(SEEDS))
        for i, j in combinations(range(len(SIZES)), 2)
    ]
    assert granulated_tau(values, errors, axis=1) == pytest.approx(np.mean(products))


def brute_sign_error(
    pairs: list[tuple[tuple[float, float], tuple[float, float]]],
) -> float | None:
    """Return the weighted share of pairs in the wrong order, one pair after the other."""
    total = squares = wrong = 0.0
    for (value, error), (other_value, other_error) in pairs:
        certain = 1 - 2 * exp(-2 * TEST_SIZE * (abs(error - other_error) / 2) ** 2)
        weight = certain**2 - 0.5 if certain > 0.5**0.5 else 0.0
        total += weight
        squares += weight**2
        if value == other_value:
            wrong += weight / 2
        elif (value < other_value) != (error < other_error):
            wrong += weight
    enough = total and total**2 / squares >= 12
    return wrong / total if enough else None


def brute_sign_errors(values: Floats, errors: Floats) -> list[float]:
    """Return the sign errors of all environments: one recipe or one n is another one."""
    places = list(product(range(len(RECIPES)), range(len(SIZES))))
    rates = []
    for one, other in combinations(places, 2):
        if (one[0] == other[0]) == (one[1] == other[1]):
            continue
        networks = [
            [(float(values[(*place, s)]), float(errors[(*place, s)])) for s in range(SEEDS)]
            for place in (one, other)
        ]
        rate = brute_sign_error(list(product(*networks)))
        if rate is not None:
            rates.append(rate)
    return rates


@in_turn("levels", [0, 3])
def test_sign_errors_are_those_of_brute_force(levels: int) -> None:
    """Their mean, quantiles and maximum, over all environments."""
    values, errors = grid(7, levels=levels), 0.3 + 0.2 * grid(8, levels=levels)
    rates = brute_sign_errors(values, errors)
    found = agreement(values, errors).sign_errors
    assert found is not None
    assert found.environments == len(rates)
    assert found.mean == pytest.approx(np.mean(rates))
    assert found.median == pytest.approx(np.median(rates))
    assert found.ninetieth == pytest.approx(np.quantile(rates, 0.9))
    assert found.largest == pytest.approx(max(rates))


def test_the_worst_environment_is_named() -> None:
    """A measure that is test error but for one training is wrong where that takes part."""
    errors = np.broadcast_to(np.linspace(0.5, 0.1, 4)[None, :, None], (3, 4, 5)).copy()
    errors[1] += 0.15
    values = errors.copy()
    values[1, 2] = 0.0
    found = agreement(values, errors, test_size=10_000).sign_errors
    assert found is not None
    assert found.largest == 1.0
    assert found.worst == "baseline or adam at n=64"


def test_differences_that_are_chance_have_no_weight() -> None:
    """Hoeffding: of 100 test samples, two errors count as different only from 0.196 on."""
    edge = np.sqrt(2 * np.log(2 / (1 - np.sqrt(0.5))) / 100)
    assert edge == pytest.approx(0.196, abs=1e-3)
    value, error = np.array([1.0]), np.array([0.3])
    assert sign_error(value, value + 1, error, error + edge - 1e-3, 100) is None
    assert sign_error(value, value + 1, error, error + edge + 1e-3, 100) == 0.0
    assert sign_error(value, value - 1, error, error + edge + 1e-3, 100) == 1.0


def test_a_handful_of_comparisons_is_no_environment() -> None:
    """Of 36 at least twelve must have weight."""
    errors, others = np.full(6, 0.3), np.full(6, 0.3)
    others[0] = 0.8
    assert sign_error(errors, others, errors, others, 100) is None
    others[1] = 0.8
    assert sign_error(errors, others, errors, others, 100) == 0.0


def test_what_cannot_be_compared_is_none() -> None:
    """A constant measure has no tau, test errors that are all the same no sign errors."""
    constant = np.ones((3, 4, 5))
    assert agreement(constant, grid(9)).tau is None
    found = agreement(grid(9), constant)
    assert (found.tau, found.sign_errors) == (None, None)
    one = Agreement.from_values(
        grid(9)[:1], grid(8)[:1], recipes=RECIPES[:1], sizes=SIZES, test_size=TEST_SIZE
    )
    assert one.granulated["recipe"] is None
    assert one.granulated_mean == one.granulated["n"]


@given(arrays(np.float64, (3, 4, 2), elements=st.floats(0.01, 0.99), unique=True))
def test_test_error_agrees_with_itself_and_not_with_its_opposite(errors: Floats) -> None:
    """Taus of one and sign errors of zero; minus one and one for its opposite."""
    same, opposite = agreement(errors, errors), agreement(-errors, errors)
    assert same.tau == pytest.approx(1.0)
    assert same.granulated_mean == pytest.approx(1.0)
    assert opposite.tau == pytest.approx(-1.0)
    assert opposite.granulated_mean == pytest.approx(-1.0)
    if same.sign_errors is not None:
        assert same.sign_errors.largest == 0.0
        assert opposite.sign_errors is not None
        assert opposite.sign_errors.mean == pytest.approx(1.0)


def test_agreement_is_plain_json() -> None:
    """Also where parts of it are undefined."""
    found = agreement(grid(1), grid(2)).to_dict()
    assert set(found) == {"tau", "granulated", "granulated_mean", "sign_errors", "networks"}
    assert found["networks"] == 60
    assert agreement(grid(9), np.ones((3, 4, 5))).to_dict()["sign_errors"] is None
