"""Changes of a task's inputs, against what NumPy makes of the unchanged ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from pytest_fragility.tasks import (
    Task,
    TaskData,
    digits,
    get_task,
    standardized,
    with_fewer_dimensions,
    with_input_noise,
    with_label_noise,
    with_permuted_pixels,
    with_shuffled_pixels,
)
from tests.in_turn import in_turn
from tests.tasks.sample_tasks import POOL_SIZE, TEST_SIZE, flat, sample_data, sample_task

Floats = npt.NDArray[Any]

SHAPES = [(16,), (1, 4, 4), (2, 3, 5)]
CHANGES: dict[str, Callable[[Task], Task]] = {
    "permuted-pixels": with_permuted_pixels,
    "shuffled-pixels": with_shuffled_pixels,
    "shuffled-pixels-test": lambda task: with_shuffled_pixels(task, test=True),
    "input-noise-0.5": lambda task: with_input_noise(task, 0.5),
    "input-noise-2": lambda task: with_input_noise(task, 2),
    "input-noise-0.5-test": lambda task: with_input_noise(task, 0.5, test=True),
    "dimensions-7": lambda task: with_fewer_dimensions(task, 7),
    "standardized": standardized,
    "standardized-features": lambda task: standardized(task, each_feature=True),
}
each_shape = in_turn("shape", SHAPES)
each_change = in_turn("name", CHANGES)


def places(changed: Floats, inputs: Floats) -> Floats:
    """Return where in each row of distinct inputs the changed row's entries stand."""
    rows = [
        [row.tolist().index(entry) for entry in new]
        for row, new in zip(flat(inputs), flat(changed), strict=True)
    ]
    return np.array(rows)


def only_row(rows: Floats) -> list[int]:
    """Return the row that all rows are."""
    assert len({tuple(row) for row in rows.tolist()}) == 1
    return [int(entry) for entry in rows[0]]


@each_shape
@each_change
def test_the_task_and_its_labels_are_left_as_they_are(name: str, shape: tuple[int, ...]) -> None:
    """Nothing but the changed task's inputs differs, and those are float32."""
    task = with_label_noise(sample_task(*shape), 0.5)
    changed = CHANGES[name](task).data
    fresh = with_label_noise(sample_task(*shape), 0.5).data
    for field in ("train_inputs", "train_labels", "test_inputs", "test_labels", "strata"):
        np.testing.assert_array_equal(getattr(task.data, field), getattr(fresh, field))
    for field in ("train_labels", "test_labels", "strata"):
        np.testing.assert_array_equal(getattr(changed, field), getattr(fresh, field), strict=True)
    assert changed.classes == fresh.classes
    assert changed.train_inputs.dtype == changed.test_inputs.dtype == np.float32
    assert changed.input_shape == ((7,) if name == "dimensions-7" else shape)


@each_change
def test_rules_for_subsets_are_kept(name: str) -> None:
    """A changed task draws its training subsets as the task does."""
    plain = sample_data(16)
    data = TaskData(
        plain.train_inputs,
        plain.train_labels,
        plain.test_inputs,
        plain.test_labels,
        classes=5,
        subsets="random",
        allow_missing_classes=True,
    )
    changed = CHANGES[name](Task("mine", lambda: data)).data
    assert (changed.classes, changed.subsets) == (5, "random")
    assert changed.allow_missing_classes


def test_fingerprints_differ() -> None:
    """Each change is a task of its own, and the same one every time."""
    prints = {change(sample_task(16)).data.fingerprint for change in CHANGES.values()}
    again = {change(sample_task(16)).data.fingerprint for change in CHANGES.values()}
    assert len(prints | {sample_data(16).fingerprint}) == len(CHANGES) + 1
    assert again == prints


@each_shape
def test_permuted_pixels_are_one_permutation(shape: tuple[int, ...]) -> None:
    """Every input of both parts has its own entries, in one order that is not the given one."""
    plain, changed = sample_data(*shape), with_permuted_pixels(sample_task(*shape)).data
    order = only_row(places(changed.train_inputs, plain.train_inputs))
    assert only_row(places(changed.test_inputs, plain.test_inputs)) == order
    assert sorted(order) == list(range(len(order))) != order


def test_permuted_pixels_are_the_same_for_inputs_of_one_size() -> None:
    """The permutation is that of the number of entries: it does not depend on the data."""
    orders = []
    for shape in [(16,), (1, 4, 4), (2, 2, 4)]:
        changed = with_permuted_pixels(sample_task(*shape, classes=2)).data
        plain = sample_data(*shape, classes=2)
        orders.append(only_row(places(changed.train_inputs, plain.train_inputs)))
    assert orders[0] == orders[1] == orders[2]


@each_shape
@in_turn("test", [False, True])
def test_shuffled_pixels_are_a_permutation_of_each_input(
    shape: tuple[int, ...], test: bool
) -> None:
    """Each input keeps its entries, in an order of its own; test inputs are clean unless asked."""
    plain, changed = sample_data(*shape), with_shuffled_pixels(sample_task(*shape), test=test).data
    orders = places(changed.train_inputs, plain.train_inputs)
    if test:
        orders = np.concatenate([orders, places(changed.test_inputs, plain.test_inputs)])
    else:
        np.testing.assert_array_equal(changed.test_inputs, plain.test_inputs, strict=True)
    np.testing.assert_array_equal(
        np.sort(orders), np.tile(np.arange(orders.shape[1]), (len(orders), 1))
    )
    assert len({tuple(row) for row in orders.tolist()}) == POOL_SIZE + test * TEST_SIZE


def test_shuffling_the_test_inputs_leaves_the_training_inputs_alone() -> None:
    """The training inputs are shuffled in the same way, whether the test inputs are or not."""
    one, both = (with_shuffled_pixels(sample_task(16), test=test).data for test in (False, True))
    np.testing.assert_array_equal(one.train_inputs, both.train_inputs, strict=True)


def many_zeros() -> Task:
    """Return a task whose inputs are 400 and 300 times 25 zeros, so that noise shows."""
    labels = np.arange(400) % 2
    data = TaskData(np.zeros((400, 5, 5)), labels, np.zeros((300, 5, 5)), labels[:300])
    return Task("zeros", lambda: data)


@in_turn("deviation", [0.01, 1.0, 30])
def test_input_noise_has_its_deviation(deviation: float) -> None:
    """It is independent, of mean zero, and of the deviation asked, in both parts where asked."""
    data = with_input_noise(many_zeros(), deviation, test=True).data
    noise = flat(np.concatenate([data.train_inputs, data.test_inputs])) / deviation
    assert noise.shape == (700, 25)
    # 17,500 numbers: the mean lies within 0.0076, the deviation within 0.0053, up to sigmas
    assert abs(noise.mean()) < 0.04
    assert noise.std() == pytest.approx(1, abs=0.03)
    assert (np.abs(noise) < 1).mean() == pytest.approx(0.6827, abs=0.02)
    correlations = np.corrcoef(noise, rowvar=False) - np.eye(25)
    assert np.abs(correlations).max() < 0.2
    assert np.abs(np.corrcoef(noise) - np.eye(700)).max() < 0.97


def test_input_noise_leaves_test_inputs_clean_unless_asked() -> None:
    """The training inputs are the same either way."""
    one, both = (with_input_noise(sample_task(16), 0.5, test=test).data for test in (False, True))
    np.testing.assert_array_equal(one.test_inputs, sample_data(16).test_inputs, strict=True)
    np.testing.assert_array_equal(one.train_inputs, both.train_inputs, strict=True)
    assert (both.test_inputs != one.test_inputs).all()


@each_shape
def test_input_noise_is_proportional_to_its_deviation(shape: tuple[int, ...]) -> None:
    """Each entry's noise under one deviation is that under another, times their ratio."""
    clean = sample_data(*shape)
    small, large = (
        with_input_noise(sample_task(*shape), size, test=True).data for size in (0.5, 2)
    )
    for field in ("train_inputs", "test_inputs"):
        before = getattr(clean, field)
        few, many = getattr(small, field) - before, getattr(large, field) - before
        np.testing.assert_allclose(many, 4 * few, atol=1e-5)
        assert np.abs(few).min() > 0


def test_a_second_input_noise_is_drawn_anew() -> None:
    """Two of one size are sqrt(2) times as large as one, not twice."""
    plain = digits()
    twice = with_input_noise(with_input_noise(plain, 0.5), 0.5)
    noise = twice.data.train_inputs - plain.data.train_inputs
    assert noise.std() == pytest.approx(0.5 * 2**0.5, rel=0.02)
    assert twice.data.fingerprint == get_task(twice.name).data.fingerprint


def test_no_input_noise_is_the_task_itself() -> None:
    """A deviation of zero changes nothing, not even the object."""
    task = sample_task(16)
    assert with_input_noise(task, 0.0) is task
    assert with_input_noise(task, 0, test=True) is task


@each_shape
def test_fewer_dimensions_are_nested(shape: tuple[int, ...]) -> None:
    """Every number of entries keeps what a smaller one keeps, the same in both parts."""
    plain, size = sample_data(*shape), int(np.prod(shape))
    kept: set[int] = set()
    for dimensions in range(1, size + 1):
        changed = with_fewer_dimensions(sample_task(*shape), dimensions).data
        columns = only_row(places(changed.train_inputs, plain.train_inputs))
        assert only_row(places(changed.test_inputs, plain.test_inputs)) == columns
        assert columns == sorted(set(columns)) and len(columns) == dimensions
        assert kept < set(columns)
        kept = set(columns)


def test_fewer_dimensions_are_not_the_first_ones() -> None:
    """They are drawn at random: eight of 64 are neither the first nor the last eight."""
    plain, changed = sample_data(64), with_fewer_dimensions(sample_task(64), 8).data
    columns = only_row(places(changed.train_inputs, plain.train_inputs))
    assert max(columns) >= 16 and min(columns) < 48


@each_shape
@in_turn("each_feature", [False, True])
def test_standardized_pools_have_mean_zero_and_deviation_one(
    shape: tuple[int, ...], each_feature: bool
) -> None:
    """The pool's mean and deviation are taken off both parts."""
    plain = sample_data(*shape)
    changed = standardized(sample_task(*shape), each_feature=each_feature).data
    axis = 0 if each_feature else None
    np.testing.assert_allclose(changed.train_inputs.mean(axis=axis), 0, atol=1e-6)
    np.testing.assert_allclose(changed.train_inputs.std(axis=axis), 1, rtol=1e-5)
    pool = plain.train_inputs.astype(float)
    expected = (plain.test_inputs - pool.mean(axis=axis)) / pool.std(axis=axis)
    np.testing.assert_allclose(changed.test_inputs, expected, rtol=1e-5, atol=1e-6)


def test_standardizing_together_keeps_what_differs_between_entries() -> None:
    """Unlike each entry alone, all together are moved and stretched by one pair of numbers."""
    plain, changed = sample_data(16).train_inputs, standardized(sample_task(16)).data.train_inputs
    slope, offset = np.polyfit(plain.ravel(), changed.ravel(), 1)
    np.testing.assert_allclose(changed, slope * plain + offset, atol=1e-5)
    alone = standardized(sample_task(16), each_feature=True).data.train_inputs
    assert np.abs(alone - changed).max() > 0.1


def test_entries_that_never_change_become_zero() -> None:
    """Entry by entry, a constant one is only moved; a test input's difference from it stays."""
    inputs = np.column_stack([np.full(7, 0.1), np.arange(7.0)])
    data = TaskData(inputs, np.arange(7) % 2, inputs[:2] + 1, [0, 1])
    changed = standardized(Task("one", lambda: data), each_feature=True).data
    np.testing.assert_array_equal(changed.train_inputs[:, 0], 0)
    np.testing.assert_allclose(changed.train_inputs[:, 1], (np.arange(7) - 3) / 2)
    np.testing.assert_allclose(changed.test_inputs[:, 0], 1, rtol=1e-6)


def test_equal_inputs_that_vary_within_are_standardized_together() -> None:
    """Entries that differ from one another are not constant, though no sample differs."""
    data = TaskData(np.tile([0.0, 2.0], (4, 1)), [0, 1, 0, 1], np.ones((2, 2)), [0, 1])
    changed = standardized(Task("twins", lambda: data)).data
    np.testing.assert_allclose(changed.train_inputs, np.tile([-1.0, 1.0], (4, 1)))
    np.testing.assert_allclose(changed.test_inputs, 0)
