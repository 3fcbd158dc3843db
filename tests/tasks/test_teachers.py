"""Synthetic tasks: labels follow from inputs as the definitions say."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from scipy.optimize import linprog
from sklearn.linear_model import LogisticRegression

from pytest_fragility.tasks import Task, TaskData, linear_teacher, relu_teacher, sparse_parity
from tests.in_turn import in_turn

Floats = npt.NDArray[np.float64]

BUILDERS: dict[str, Callable[..., Task]] = {
    "linear": linear_teacher,
    "relu": lambda **arguments: relu_teacher(2, **arguments),
    "parity": lambda **arguments: sparse_parity(2, **arguments),
}


def all_samples(data: TaskData) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Return the inputs and labels of pool and test set together."""
    inputs = np.concatenate([data.train_inputs, data.test_inputs]).astype(np.float64)
    return inputs, np.concatenate([data.train_labels, data.test_labels])


def separating_plane_exists(inputs: Floats, labels: npt.NDArray[np.int64]) -> bool:
    """Return whether some w and b have a margin w . x + b of the label's sign everywhere."""
    signed = (1 - 2 * labels)[:, None] * np.column_stack([inputs, np.ones(len(inputs))])
    unknowns = signed.shape[1]
    solution = linprog(
        np.zeros(unknowns), A_ub=signed, b_ub=-np.ones(len(signed)), bounds=(None, None)
    )
    return bool(solution.status == 0)


def linear_accuracy(data: TaskData) -> float:
    """Return how much of the pool logistic regression gets right."""
    model = LogisticRegression(C=10.0, max_iter=1000).fit(data.train_inputs, data.train_labels)
    return float(model.score(data.train_inputs, data.train_labels))


@in_turn("build", BUILDERS.values())
def test_sizes_are_those_documented(build: Callable[..., Task]) -> None:
    """4,000 samples to train on, 2,000 to test on, 20 inputs, two classes; the same each time."""
    data = build().data
    assert data.train_inputs.shape == (4000, 20) and data.test_inputs.shape == (2000, 20)
    assert data.classes == 2 and data.input_shape == (20,)
    narrow, again = (build(dimensions=5).data for _ in range(2))
    assert narrow.train_inputs.shape == (4000, 5) and narrow.test_inputs.shape == (2000, 5)
    assert narrow.fingerprint == again.fingerprint and narrow is not again
    # inputs in few dimensions are not the first columns of those in many; hardly any two are equal
    assert not np.array_equal(narrow.train_inputs, data.train_inputs[:, :5])
    assert len(np.unique(all_samples(data)[0], axis=0)) > 5950


@in_turn("build", [linear_teacher, lambda: relu_teacher(3)])
def test_normal_inputs_are_standard_normal(build: Callable[[], Task]) -> None:
    """Mean 0, deviation 1 and no correlation between inputs, within five standard errors."""
    inputs = all_samples(build().data)[0]
    assert np.abs(inputs.mean(axis=0)).max() < 5 / np.sqrt(6000)
    covariance = np.cov(inputs.T) - np.eye(20)
    assert np.abs(covariance).max() < 5 * np.sqrt(2 / 6000)
    assert (inputs**4).mean() == pytest.approx(3, abs=0.2)


@in_turn(
    "task",
    [linear_teacher(), linear_teacher(dimensions=1), *(relu_teacher(d) for d in (1, 2, 5))],
)
def test_both_classes_are_exactly_half_of_the_pool(task: Task) -> None:
    """The threshold is the pool's median, not that of all samples."""
    assert np.bincount(task.data.train_labels).tolist() == [2000, 2000]
    assert np.bincount(task.data.test_labels) == pytest.approx(1000, abs=120)


@in_turn("dimensions", [1, 5, 20])
def test_a_plane_separates_the_linear_teachers_classes(dimensions: int) -> None:
    """One plane is right for every sample of pool and test set."""
    assert separating_plane_exists(*all_samples(linear_teacher(dimensions=dimensions).data))


@in_turn("depth", [1, 2, 3])
def test_no_plane_separates_a_relu_teachers_classes(depth: int) -> None:
    """The best plane is better than chance and errs on many samples."""
    data = relu_teacher(depth).data
    assert not separating_plane_exists(*all_samples(data))
    assert 0.52 < linear_accuracy(data) < 0.95


@in_turn("depth", [1, 2, 4])
def test_a_relu_teacher_without_biases_is_linear_on_each_half_of_a_line(depth: int) -> None:
    """With one input, labels change at most once among the positive and among the negative."""
    inputs, labels = all_samples(relu_teacher(depth, dimensions=1).data)
    order = np.argsort(inputs[:, 0])
    line, sorted_labels = inputs[order, 0], labels[order]
    for half in (line < 0, line > 0):
        assert np.count_nonzero(np.diff(sorted_labels[half])) <= 1


@in_turn("depth", [2, 3, 4])
def test_a_relu_teachers_outputs_grow_with_the_inputs_length(depth: int) -> None:
    """A layer that is odd or saturates would leave labels independent of how long an input is."""
    data = relu_teacher(depth).data
    lengths = np.linalg.norm(data.train_inputs, axis=1)
    correlation = np.corrcoef(lengths, data.train_labels)[0, 1]
    assert abs(correlation) > 5 / np.sqrt(4000)


def test_relu_teachers_of_all_depths_have_the_same_inputs_and_other_labels() -> None:
    """Only the labels tell depths apart; they agree hardly more than by chance."""
    tasks = [linear_teacher(), *(relu_teacher(depth) for depth in (1, 2, 3, 4))]
    for one, other in itertools.combinations([task.data for task in tasks], 2):
        np.testing.assert_array_equal(one.train_inputs, other.train_inputs)
        np.testing.assert_array_equal(one.test_inputs, other.test_inputs)
        assert 0.1 < (one.train_labels == other.train_labels).mean() < 0.9


@in_turn(("relevant", "dimensions"), [(1, 20), (2, 20), (3, 20), (5, 5), (4, 8)])
def test_parities_are_those_counted_by_hand(relevant: int, dimensions: int) -> None:
    """A label is 1 where an odd number of the first inputs is negative."""
    inputs, labels = all_samples(sparse_parity(relevant, dimensions=dimensions).data)
    assert set(np.unique(inputs)) == {-1.0, 1.0}
    expected = [sum(x < 0 for x in row[:relevant]) % 2 for row in inputs.tolist()]
    assert labels.tolist() == expected


@in_turn("relevant", [2, 3, 6])
def test_no_input_alone_tells_a_parity(relevant: int) -> None:
    """Correlations of single inputs with the label, and between inputs, are those of chance."""
    inputs, labels = all_samples(sparse_parity(relevant).data)
    correlations = np.corrcoef(np.column_stack([inputs, labels]), rowvar=False)
    assert np.abs(correlations - np.eye(21)).max() < 5 / np.sqrt(6000)
    assert np.abs(inputs.mean(axis=0)).max() < 5 / np.sqrt(6000)
    assert labels.mean() == pytest.approx(0.5, abs=5 * 0.5 / np.sqrt(6000))
