"""Task data: what is accepted, converted and refused, and what identifies it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from sklearn.datasets import load_digits

from pytest_fragility.errors import FragilityError
from pytest_fragility.families.plan import FamilyPlan
from pytest_fragility.families.train import train_families
from pytest_fragility.recipes import Recipe
from pytest_fragility.tasks import Task, TaskData, digits
from tests.in_turn import in_turn
from tests.tasks.sample_tasks import parts


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


def test_data_are_converted() -> None:
    """Lists, doubles and whole floats become float32 and int64."""
    data = TaskData(**parts(train_labels=[0.0, 1.0, 2.0, 0.0, 1.0, 3.0]))
    assert data.train_inputs.dtype == data.test_inputs.dtype == np.float32
    assert data.train_labels.dtype == data.test_labels.dtype == np.int64
    assert (data.classes, data.input_shape) == (4, (2,))
    # with a number of classes, neither part has to have them all
    assert TaskData(**parts(test_labels=[0, 1, 8], classes=12)).classes == 12


TENSOR = torch.arange(12.0).reshape(6, 2)
LABELS = [0, 1, 2, 0, 1, 2]


@in_turn(
    "changes",
    [
        {"train_inputs": TENSOR, "train_labels": torch.tensor(LABELS)},
        {"train_inputs": TENSOR.clone().requires_grad_()},
        {"train_inputs": TENSOR.to(torch.uint8)},
        {"train_inputs": TENSOR.bfloat16()},
        {"train_inputs": list(TENSOR)},
        {"train_inputs": list(TENSOR.clone().requires_grad_())},
        {"train_inputs": np.asfortranarray(TENSOR.numpy())},
        {"strata": LABELS},
        {"strata": np.array(LABELS, dtype=np.int32)},
        {"strata": torch.tensor(LABELS, dtype=torch.float32, requires_grad=True)},
        {"classes": 3},
        {"classes": np.int64(3)},
    ],
)
def test_what_holds_the_same_numbers_is_the_same_data(changes: dict[str, Any]) -> None:
    """Tensors, lists, any memory order and type; strata are the training labels by default."""
    assert TaskData(**parts(**changes)).fingerprint == TaskData(**parts()).fingerprint


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


@pytest.mark.parametrize("as_given", [np.asarray, torch.from_numpy])
def test_data_stay_what_they_are_where_the_given_arrays_change(as_given: Any) -> None:
    """What was trained on one is not taken for what is trained on the other."""
    mine = {name: array.astype("float32") for name, array in parts().items()}
    given = {name: as_given(array) for name, array in mine.items()}
    data = TaskData(**given)
    before = {name: getattr(data, name).copy() for name in given}
    for array in mine.values():
        array[:] = array[::-1] if array.ndim == 1 else array + 1
    assert all(np.array_equal(getattr(data, name), before[name]) for name in given)
    assert TaskData(**given).fingerprint != data.fingerprint
    relabelled = replace(data, train_labels=data.train_labels[::-1])
    assert np.shares_memory(relabelled.train_inputs, data.train_inputs)


def test_fingerprint_is_that_of_the_rules_too() -> None:
    """Classes, subsets, missing classes and strata each change it."""
    rules: list[dict[str, Any]] = [
        {},
        {"classes": 4},
        {"subsets": "random"},
        {"allow_missing_classes": True},
        {"strata": [0, 1, 2, 0, 2, 1]},
    ]
    prints = {TaskData(**parts(**rule)).fingerprint for rule in rules}
    assert len(prints) == len(rules)


def test_data_are_loaded_once_and_late() -> None:
    """The load function is called on first use, and not again."""
    calls = []

    def load() -> TaskData:
        calls.append(1)
        return TaskData(**parts())

    task = Task("counted", load)
    changed = task.changed("same", lambda data: data)
    assert not calls
    assert changed.data is task.data
    assert task.data is task.data
    assert len(calls) == 1


def test_a_size_above_the_pool_is_refused(blobs: Task) -> None:
    """The error names the size, the task and the samples there are."""
    plan = FamilyPlan(blobs, {"baseline": Recipe()}, (16, 300), (0,))
    with pytest.raises(FragilityError, match=r"size 300: .* task 'blobs' has only 200 samples"):
        train_families([plan], device=torch.device("cpu"))
