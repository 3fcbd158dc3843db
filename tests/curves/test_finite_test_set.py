"""The noise of a finite test set, against closed forms and against drawing other test sets."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from pytest_fragility.curves import LearningCurve
from pytest_fragility.curves.finite_test_set import (
    influences,
    shared_variance,
    unseen_variance,
)
from pytest_fragility.curves.fits import slope_weights

Floats = npt.NDArray[np.float64]
Masks = npt.NDArray[np.bool_]

SIZES, SEEDS = (32, 64, 128, 256), 3
WEIGHTS = slope_weights(np.log(SIZES))


def error_curve(mistaken: Masks) -> LearningCurve:
    """Return test error's curve for mistakes of shape (sizes, seeds, test samples)."""
    values = (mistaken.sum(axis=2) + 0.5) / (mistaken.shape[2] + 1)
    return LearningCurve("test error", "baseline", SIZES, values, 0.05, mistaken=mistaken)


def draw_mistakes(test_size: int, seed: int = 0) -> Masks:
    """Return mistakes that networks share: samples are easy or hard for all of them."""
    generator = np.random.default_rng(seed)
    hard = generator.beta(0.4, 1.2, test_size)
    chance = hard * np.linspace(1.0, 0.5, len(SIZES))[:, None, None]
    drawn: Masks = generator.random((len(SIZES), SEEDS, test_size)) < chance
    return drawn


def test_one_network_has_binomial_noise() -> None:
    """Of the logarithm of a share p of N samples: (1 - p) / (p N)."""
    mistaken = np.zeros((1, 1, 400), dtype=bool)
    mistaken[..., :100] = True
    variance = shared_variance(influences(mistaken, np.ones(1)))
    assert variance == pytest.approx(0.75 / 0.25 / 400, rel=0.02)


def test_what_all_networks_mistake_alike_does_not_average_out() -> None:
    """Ten networks with the same mistakes know no more of other samples than one."""
    one = draw_mistakes(300)[:1, :1]
    ten = np.repeat(one, 10, axis=1)
    expected = shared_variance(influences(one, np.ones(1)))
    assert shared_variance(influences(ten, np.ones(1))) == pytest.approx(expected)


def test_mistakes_that_do_not_depend_on_n_leave_the_slope_alone() -> None:
    """The same samples at every n: another test set moves the level and not the slope."""
    mistaken = np.repeat(draw_mistakes(300)[:1], len(SIZES), axis=0)
    curve = error_curve(mistaken)
    assert shared_variance(influences(mistaken, WEIGHTS)) == pytest.approx(0.0, abs=1e-12)
    assert curve.level.shared > 0.01
    assert curve.slope.shared < 0.01


def test_the_variance_is_that_over_other_test_sets() -> None:
    """Against the jackknife done by hand, one sample left out at a time."""
    mistaken = draw_mistakes(500)
    slopes = np.array(
        [
            WEIGHTS @ np.log(np.delete(mistaken, place, axis=2).sum(axis=2) + 0.5).mean(axis=1)
            for place in range(500)
        ]
    )
    jackknife = 499 / 500 * ((slopes - slopes.mean()) ** 2).sum()
    assert shared_variance(influences(mistaken, WEIGHTS)) == pytest.approx(jackknife, rel=0.03)


def test_the_variance_is_that_of_the_bootstrap() -> None:
    """Test samples drawn anew with replacement, networks as they are."""
    mistaken, generator = draw_mistakes(500), np.random.default_rng(1)
    slopes = []
    for _ in range(2_000):
        drawn = mistaken[:, :, generator.integers(500, size=500)]
        slopes.append(WEIGHTS @ np.log(drawn.sum(axis=2) + 0.5).mean(axis=1))
    # five standard errors of a variance from 2,000 draws
    expected = pytest.approx(np.var(slopes), rel=5 * np.sqrt(2 / 2_000))
    assert shared_variance(influences(mistaken, WEIGHTS)) == expected


def test_a_paired_change_keeps_only_what_differs() -> None:
    """Under a perturbation that moves no mistake the change has no noise of the test set."""
    before = error_curve(draw_mistakes(300))
    assert before.slope.shared > 0.01
    unchanged = before.slope_change(before)
    # what few mistakes leave unknown is counted all the same
    assert unchanged.shared < before.slope.shared / 3
    other = error_curve(draw_mistakes(300, seed=2))
    assert other.slope_change(before).shared > before.slope.shared


def test_no_mistakes_at_all_are_not_certain() -> None:
    """Zero of 60 is no zero: the rule of three has 5 % as its upper limit at 95 %."""
    none = np.zeros((len(SIZES), SEEDS, 60), dtype=bool)
    curve = error_curve(none)
    assert np.all(curve.values == 0.5 / 61)
    assert shared_variance(influences(none, WEIGHTS)) == 0
    at_one_size = np.array([0.0, 1.0, 0.0, 0.0])
    assert unseen_variance(none, at_one_size) == pytest.approx(2.0)
    assert curve.level.high > np.log10(3 / 60)
    assert curve.slope.sign == 0


def test_many_mistakes_leave_nothing_unseen() -> None:
    """From ten mistakes on, less than the binomial noise by far."""
    mistaken = np.zeros((len(SIZES), SEEDS, 400), dtype=bool)
    mistaken[..., :100] = True
    assert unseen_variance(mistaken, np.ones(len(SIZES)) / 4) < 2e-5


def test_a_part_of_a_curve_keeps_its_own_mistakes() -> None:
    """Masks are cut as sizes and seeds are."""
    curve = error_curve(draw_mistakes(100))
    part = curve.part(1, 2).first_seeds(2)
    assert part.mistaken is not None
    assert part.sizes == SIZES[1:3]
    np.testing.assert_array_equal((part.mistaken.sum(axis=2) + 0.5) / 101, curve.values[1:3, :2])
