"""Balanced orders: every beginning has the class shares of the whole."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pytest_fragility.tasks.splits import balanced_order
from tests.in_turn import in_turn

labels = st.lists(st.integers(0, 5), min_size=1, max_size=80).map(np.array)
sizes = st.lists(st.integers(1, 40), min_size=1, max_size=6)


@settings(deadline=None)
@given(strata=labels)
def test_every_sample_comes_once_and_classes_keep_their_order(strata: np.ndarray) -> None:
    """A balanced order is a permutation that leaves each class in the order it had."""
    order = balanced_order(strata)
    assert sorted(order.tolist()) == list(range(len(strata)))
    for stratum in np.unique(strata):
        np.testing.assert_array_equal(
            order[strata[order] == stratum], np.flatnonzero(strata == stratum)
        )


@settings(deadline=None)
@given(sizes=sizes, seed=st.integers(0, 9))
@example(sizes=[40, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1], seed=0)
def test_every_beginning_has_the_classes_shares(sizes: list[int], seed: int) -> None:
    """However many and however rare, no class is off its share by a whole sample."""
    strata = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
    sorted_strata = strata[balanced_order(strata)]
    for length in range(1, len(strata) + 1):
        counts = np.bincount(sorted_strata[:length], minlength=len(sizes)).tolist()
        for count, size in zip(counts, sizes, strict=True):
            assert abs(count - Fraction(size * length, len(strata))) < 1


@settings(deadline=None)
@given(size=st.integers(1, 12), classes=st.integers(1, 8), seed=st.integers(0, 9))
def test_classes_of_one_size_come_in_rounds(size: int, classes: int, seed: int) -> None:
    """Each round has the next sample of every class, in the order they had."""
    strata = np.random.default_rng(seed).permutation(np.repeat(np.arange(classes), size))
    of_class = [np.flatnonzero(strata == stratum) for stratum in range(classes)]
    rounds = np.sort(np.stack(of_class, axis=1), axis=1)
    np.testing.assert_array_equal(balanced_order(strata), rounds.ravel())


@settings(deadline=None)
@given(strata=labels, names=st.permutations([-7, 2, 11, 100, 101, 5000]))
def test_class_numbers_do_not_matter(strata: np.ndarray, names: list[int]) -> None:
    """Renaming the classes leaves the order as it is."""
    np.testing.assert_array_equal(
        balanced_order(np.array(names)[strata]), balanced_order(strata), strict=True
    )


@in_turn(
    ("strata", "order"),
    [
        ([0, 0, 0, 0, 1, 1], [0, 4, 1, 2, 5, 3]),
        ([1, 0, 1, 0], [0, 1, 2, 3]),
        ([0, 0, 0, 1], [0, 1, 3, 2]),
        ([3], [0]),
    ],
)
def test_small_orders_are_those_found_by_hand(strata: list[int], order: list[int]) -> None:
    """Of four and two, two and one stand in each half; equals keep their order."""
    assert balanced_order(np.array(strata)).tolist() == order
