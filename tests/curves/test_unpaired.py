"""Differences over other seeds on either side, and what a test set's size alone says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from pytest_fragility.curves import Estimate, LearningCurve, PairedCurves, UnpairedEstimate
from pytest_fragility.curves.finite_test_set import binomial_deviation
from pytest_fragility.curves.learning_curve import seeds_to_compare
from pytest_fragility.errors import SettingsError
from tests.in_turn import in_turn

SIZES = (32, 64, 128, 256)
samples = st.lists(st.integers(-999, 999).map(lambda x: x / 100), min_size=2, max_size=9)


@given(after=samples, before=samples, alpha=st.sampled_from([0.01, 0.05, 0.4]))
def test_the_interval_is_welch_s(after: list[float], before: list[float], alpha: float) -> None:
    """As SciPy has it, which warns where a side does not scatter, and has none without any."""
    found = UnpairedEstimate.from_two_samples(np.array(after), np.array(before), alpha)
    if np.ptp(after) == 0 and np.ptp(before) == 0:
        assert found.low == pytest.approx(found.high) == found.mean
        return
    assume(np.ptp(after) > 0 and np.ptp(before) > 0)
    expected = stats.ttest_ind(after, before, equal_var=False).confidence_interval(1 - alpha)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_more_seeds_narrow_it_and_another_level_widens_it() -> None:
    """Both sides grow in proportion."""
    found = UnpairedEstimate.from_two_samples(
        np.array([1.0, 2.0, 4.0, 3.0, 3.5]), np.array([0.0, 0.1, 0.5]), 0.05, shared=0.1
    )
    assert (found.seeds, found.counts) == (3, (5, 3))
    assert found.with_seeds(4).counts == (7, 4)
    more = [found.with_seeds(seeds) for seeds in range(3, 60)]
    widths = [each.high - each.low for each in more]
    assert widths == sorted(widths, reverse=True)
    # what all seeds have in common stays
    assert widths[-1] > 2 * 1.96 * 0.1
    assert found.with_alpha(0.01).low < found.low


def test_one_seed_has_no_interval() -> None:
    """On either side."""
    with pytest.raises(SettingsError, match=r"1 and 3 seeds.*at least 2 of each"):
        UnpairedEstimate.from_two_samples(np.ones(1), np.ones(3), 0.05)


@in_turn(
    ("after", "before", "expected"),
    [
        ((0, 1), (0, 1), "pairs of 0, 1"),
        ((0, 1, 2), (0, 1, 2, 3), "pairs of 0, 1, 2"),
        ((0, 1, 2, 3, 4), (2, 3, 4, 5, 6), "all"),
        ((0, 1, 2, 3, 4), (1, 2, 3, 4, 5), "pairs of 1, 2, 3, 4"),
        ((0, 1, 2, 3), (0, 1, 9), "all"),
        ((0, 1), (0, 1, 2, 3), "all"),
        ((0, 1, 2), (7, 8, 9), "all"),
        ((2, 1, 0), (0, 1, 2), "pairs of 2, 1, 0"),
    ],
)
def test_which_seeds_are_paired(
    after: tuple[int, ...], before: tuple[int, ...], expected: str
) -> None:
    """The same, or three and two thirds of the fewer ones."""
    found = seeds_to_compare(after, before)
    if expected == "all":
        assert found == (after, before)
    else:
        pairs = tuple(int(seed) for seed in expected.removeprefix("pairs of ").split(", "))
        assert found == (pairs, pairs)


def curve(seeds: tuple[int, ...], *, shift: float = 0.0, name: str = "m") -> LearningCurve:
    """Return a curve whose values belong to its seeds."""
    columns = [
        np.array(SIZES) ** -0.3
        * np.exp(shift + 0.2 * np.random.default_rng([seed, len(name)]).normal(size=len(SIZES)))
        for seed in seeds
    ]
    return LearningCurve(name, "r", SIZES, np.array(columns).T, 0.05, seeds=seeds)


def test_paired_seeds_are_those_of_the_same_number() -> None:
    """Whatever order they stand in; the others are left out."""
    before, after = curve((0, 1, 2, 3, 4)), curve((4, 2, 0, 3), shift=0.1)
    change = after.level_change(before)
    assert type(change) is Estimate
    assert (change.seeds, change.deviation) == (4, pytest.approx(0, abs=1e-12))
    assert change.mean == pytest.approx(0.1 / np.log(10))


def test_other_seeds_are_compared_unpaired() -> None:
    """By all three: the measure's change, test error's, and that beyond it."""
    before, after = curve((0, 1, 2)), curve((5, 6, 7, 8))
    error_before, error_after = curve((0, 1, 2), name="error"), curve((5, 6, 7, 8), name="error")
    paired = PairedCurves(before, after, error_before, error_after)
    for quantity in ("slope", "level"):
        change = getattr(paired, f"{quantity}_change")
        one, other = (getattr(each, f"{quantity}s") for each in (after, before))
        e_one, e_other = (getattr(each, f"{quantity}s") for each in (error_after, error_before))
        for found, left, right in (
            (change.own, one, other),
            (change.error, e_one, e_other),
            (change.beyond, one - e_one, other - e_other),
        ):
            expected = stats.ttest_ind(left, right, equal_var=False).confidence_interval(0.95)
            assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_the_bound_is_the_binomial_s_for_one_network() -> None:
    """The delta method's variance of log((k + 1/2) / (m + 1)), by simulation of test sets."""
    generator, size, share = np.random.default_rng(0), 2000, 0.1
    drawn = (generator.binomial(size, share, size=20_000) + 0.5) / (size + 1)
    bound = binomial_deviation([np.array([[share]])], [size], np.ones(1))
    assert bound == pytest.approx(float(np.std(np.log(drawn))), rel=0.03)


def test_the_bound_is_above_what_the_masks_show() -> None:
    """Networks that mistake mostly the same samples: their changes are far more certain."""
    generator, samples_tested = np.random.default_rng(1), 600
    hardness = generator.random(samples_tested)

    def error(seed: int, *, with_mask: bool) -> LearningCurve:
        own = np.random.default_rng(seed)
        limits = 0.3 * (np.array(SIZES) / 32) ** -0.3
        noise = 0.05 * own.normal(size=(len(SIZES), 3, samples_tested))
        mask = hardness + noise < limits[:, None, None]
        values = (mask.sum(axis=2) + 0.5) / (samples_tested + 1)
        return LearningCurve(
            "test error",
            "r",
            SIZES,
            values,
            0.05,
            mistaken=mask if with_mask else None,
            seeds=(0, 1, 2),
            test_size=samples_tested,
        )

    for quantity in ("slope_change", "level_change"):
        exact, bounded = (
            getattr(error(5, with_mask=known), quantity)(error(6, with_mask=known)).shared
            for known in (True, False)
        )
        assert 0 < 2 * exact < bounded
    assert error(5, with_mask=False).on_this_test_set().slope.shared == 0
