"""Tasks: their data, names and errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from sklearn.datasets import load_digits

from pytest_fragility.errors import FragilityError, TaskError
from pytest_fragility.families import FamilyPlan, train_families
from pytest_fragility.recipes import Recipe
from pytest_fragility.tasks import Task, TaskData, digits, get_task, with_label_noise

MANY_CLASSES = 1_000_000


def parts(**changes: Any) -> dict[str, Any]:
    """Return sound arrays of a task, some of them replaced."""
    sound: dict[str, Any] = {
        "train_inputs": np.arange(12.0).reshape(6, 2),
        "train_labels": np.array([0, 1, 2, 0, 1, 2]),
        "test_inputs": np.ones((3, 2)),
        "test_labels": np.array([0, 1, 1]),
    }
    return sound | changes


@pytest.fixture(scope="module")
def plain_zeros() -> Task:
    """A task with 200 training labels of zero, among so many classes that a redraw shows."""
    return Task(
        "zeros",
        lambda: TaskData(
            np.ones((200, 2), dtype=np.float32),
            np.zeros(200, dtype=np.int64),
            np.ones((2, 2), dtype=np.float32),
            np.array([0, MANY_CLASSES - 1]),
        ),
    )


def redrawn(task: Task) -> npt.NDArray[np.intp]:
    """Return the positions of `plain_zeros` whose label is no longer zero."""
    return np.flatnonzero(task.data.train_labels)


def rows(inputs: npt.NDArray[Any], labels: npt.NDArray[Any]) -> list[tuple[float, ...]]:
    """Return samples with their labels, sorted."""
    return sorted(map(tuple, np.column_stack([inputs, labels]).tolist()))


def test_digits_are_those_of_scikit_learn() -> None:
    """Each of its 1,797 images stands once in the pool or the test set, scaled to [0, 1]."""
    data = digits().data
    assert data.train_inputs.shape == (1297, 64) and data.test_inputs.shape == (500, 64)
    assert data.train_inputs.dtype == np.float32 and data.train_labels.dtype == np.int64
    assert (data.input_shape, data.classes) == ((64,), 10)
    inputs = np.concatenate([data.train_inputs, data.test_inputs])
    labels = np.concatenate([data.train_labels, data.test_labels])
    assert inputs.min() == 0 and inputs.max() == 1
    images, targets = load_digits(return_X_y=True)
    assert rows(inputs * 16, labels) == rows(images, targets)


def test_digits_are_split_the_same_every_time() -> None:
    """Two loads agree, and every class stands in both parts."""
    one, other = digits().data, digits().data
    assert one is not other
    assert one.fingerprint == other.fingerprint
    assert set(one.test_labels.tolist()) == set(one.train_labels.tolist()) == set(range(10))


@pytest.mark.parametrize(("fraction", "count"), [(0.1, 20), (0.25, 50), (0.333, 67), (1.0, 200)])
def test_label_noise_redraws_its_fraction(plain_zeros: Task, fraction: float, count: int) -> None:
    """Exactly the fraction of training labels is drawn anew, over all classes."""
    noisy = with_label_noise(plain_zeros, fraction)
    assert len(redrawn(noisy)) == count
    labels = noisy.data.train_labels[redrawn(noisy)]
    assert labels.max() < MANY_CLASSES
    assert labels.mean() == pytest.approx(MANY_CLASSES / 2, rel=0.3)


def test_more_label_noise_redraws_a_superset(plain_zeros: Task) -> None:
    """What 20 % have changed, 50 % have changed in the same way."""
    some, more = (with_label_noise(plain_zeros, fraction) for fraction in (0.2, 0.5))
    assert set(redrawn(some)) < set(redrawn(more))
    chosen = redrawn(some)
    np.testing.assert_array_equal(
        some.data.train_labels[chosen], more.data.train_labels[chosen], strict=True
    )


def test_label_noise_touches_nothing_else() -> None:
    """Inputs, test labels and the clean task are as they were."""
    clean = digits()
    noisy = with_label_noise(clean, 0.3)
    before = clean.data.train_labels.copy()
    changed = noisy.data.train_labels != before
    np.testing.assert_array_equal(clean.data.train_labels, before)
    np.testing.assert_array_equal(noisy.data.train_inputs, clean.data.train_inputs)
    np.testing.assert_array_equal(noisy.data.test_inputs, clean.data.test_inputs)
    np.testing.assert_array_equal(noisy.data.test_labels, clean.data.test_labels)
    # of 389 redrawn labels a tenth meets its own class again: 350 +- 6 differ
    assert changed.sum() == pytest.approx(0.9 * 389, abs=30)


def test_no_label_noise_is_the_task_itself() -> None:
    """A fraction of zero changes nothing, not even the object."""
    task = digits()
    assert with_label_noise(task, 0) is task
    assert digits(label_noise=0.0).name == "digits"


@pytest.mark.parametrize("fraction", [-0.1, 1.5, float("nan"), float("inf")])
def test_label_noise_must_be_a_fraction(fraction: float) -> None:
    """The error names the value."""
    with pytest.raises(TaskError, match=f"label noise {fraction!r}: expected a fraction in"):
        digits(label_noise=fraction)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("digits", "digits"),
        ("digits+label-noise-0.2", "digits+label-noise-0.2"),
        ("digits+label-noise-0.20", "digits+label-noise-0.2"),
        ("digits+label-noise-0", "digits"),
    ],
)
def test_tasks_by_name(name: str, expected: str) -> None:
    """A name gives the task that calls itself so."""
    assert get_task(name).name == expected


def test_noise_in_a_name_is_the_noise_of_the_task() -> None:
    """A named noisy task has the data of the one built by hand."""
    named, built = get_task("digits+label-noise-0.2"), digits(label_noise=0.2)
    assert named.data.fingerprint == built.data.fingerprint
    assert named.data.fingerprint != digits().data.fingerprint


@pytest.mark.parametrize(
    "name",
    ["", "mnist", "digits+label-noise-", "digits+label-noise-much", "digits+noise-0.2"],
)
def test_unknown_names_are_refused(name: str) -> None:
    """The error names what was asked and what there is."""
    with pytest.raises(TaskError, match=r"unknown task '.*': expected one of digits") as caught:
        get_task(name)
    assert repr(name) in str(caught.value)


def test_noise_outside_its_range_in_a_name_is_refused() -> None:
    """A number that is no fraction is an error of its own."""
    with pytest.raises(TaskError, match=r"label noise 2\.0: expected a fraction"):
        get_task("digits+label-noise-2")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"train_labels": [0, 1]},
            r"train data: .* inputs of shape \(6, 2\) and labels of shape \(2,\)",
        ),
        ({"test_labels": [[0], [1], [1]]}, r"test data: .* labels of shape \(3, 1\)"),
        (
            {"train_inputs": np.ones((0, 2)), "train_labels": np.ones(0, dtype=int)},
            r"train data: .* at least one, got inputs of shape \(0, 2\)",
        ),
        (
            {"train_inputs": [[1, 2], [3, 4], [5, np.nan], [7, 8], [np.inf, 1], [2, 3]]},
            "train_inputs: 2 samples are not finite, the first at row 2",
        ),
        (
            {"test_inputs": [[1, 2], [-np.inf, 4], [5, 6]]},
            "test_inputs: 1 samples are not finite, the first at row 1",
        ),
        ({"test_labels": [0, -3, 1]}, "test_labels: expected classes counted from 0, got -3"),
        ({"train_labels": [0, 1, 2, 0, 1.5, 2]}, "train_labels: .* float64 with fractions"),
        (
            {"test_inputs": np.ones((3, 5))},
            r"inputs of two shapes: train \(2,\), test \(5,\)",
        ),
    ],
)
def test_unusable_data_are_refused(changes: dict[str, Any], message: str) -> None:
    """The error names the part and what is wrong with it."""
    TaskData(**parts())
    with pytest.raises(TaskError, match=message):
        TaskData(**parts(**changes))


def test_data_are_converted() -> None:
    """Lists, doubles and whole floats become float32 and int64."""
    data = TaskData(**parts(train_labels=[0.0, 1.0, 2.0, 0.0, 1.0, 3.0]))
    assert data.train_inputs.dtype == data.test_inputs.dtype == np.float32
    assert data.train_labels.dtype == data.test_labels.dtype == np.int64
    assert (data.classes, data.input_shape) == (4, (2,))
    assert TaskData(**parts(test_labels=[0, 1, 8])).classes == 9


def test_fingerprint_is_that_of_the_contents() -> None:
    """Equal arrays agree; one other value, in any array, does not, nor another shape."""
    prints = {TaskData(**parts()).fingerprint, TaskData(**parts()).fingerprint}
    assert len(prints) == 1
    for name, array in parts().items():
        changed = array.copy()
        changed.flat[0] += 1
        prints.add(TaskData(**parts(**{name: changed})).fingerprint)
    reshaped = {name: parts()[name][..., None] for name in ("train_inputs", "test_inputs")}
    prints.add(TaskData(**parts(**reshaped)).fingerprint)
    assert len(prints) == 6


def test_data_are_loaded_once_and_late() -> None:
    """The load function is called on first use, and not again."""
    calls = []

    def load() -> TaskData:
        calls.append(1)
        return TaskData(**parts())

    task = Task("counted", load)
    assert not calls
    assert task.data is task.data
    assert len(calls) == 1


def test_load_must_return_data() -> None:
    """The error names the task and what it returned."""
    task = Task("tuple", lambda: (1, 2))  # type: ignore[arg-type, return-value]
    with pytest.raises(TaskError, match=r"task 'tuple': load\(\) returned tuple, expected"):
        _ = task.data


def test_a_size_above_the_pool_is_refused(blobs: Task) -> None:
    """The error names the size, the task and the samples there are."""
    plan = FamilyPlan(blobs, {"baseline": Recipe()}, (16, 300), (0,))
    with pytest.raises(FragilityError, match=r"size 300: .* task 'blobs' has only 200 samples"):
        train_families([plan], device=torch.device("cpu"))
