"""Tasks from data in memory: what is held out, what is kept, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from sklearn.datasets import load_breast_cancer, load_iris, load_wine
from sklearn.utils import Bunch

from pytest_fragility.tasks import TaskData, from_arrays, from_sklearn
from tests.in_turn import in_turn

SIZES = (60, 30, 10)


def samples() -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Return 100 samples that all differ, of three classes as large as `SIZES`, in no order."""
    labels = np.random.default_rng(0).permutation(np.repeat([0, 1, 2], SIZES))
    return np.arange(300, dtype=np.float32).reshape(100, 3), labels


def pairs(*parts: tuple[Any, Any]) -> list[tuple[float, ...]]:
    """Return the samples of all parts with their labels, sorted."""
    tables = [np.column_stack([np.asarray(x, dtype=np.float32), y]) for x, y in parts]
    return sorted(map(tuple, np.concatenate(tables).tolist()))


def both_parts(data: TaskData) -> list[tuple[float, ...]]:
    """Return the samples of pool and test set with their labels, sorted."""
    return pairs((data.train_inputs, data.train_labels), (data.test_inputs, data.test_labels))


def test_a_given_test_set_is_kept_as_it_is() -> None:
    """Pool and test set are the arrays that were given, in their order."""
    inputs, labels = samples()
    task = from_arrays("mine", inputs[:70], labels[:70], inputs[70:], labels[70:])
    assert task.name == "mine" and task.clean is None
    np.testing.assert_array_equal(task.data.train_inputs, inputs[:70], strict=True)
    np.testing.assert_array_equal(task.data.train_labels, labels[:70], strict=True)
    np.testing.assert_array_equal(task.data.test_inputs, inputs[70:], strict=True)
    np.testing.assert_array_equal(task.data.test_labels, labels[70:], strict=True)


@in_turn("test_size", [1, 7, 10, 33, 50, 94])
def test_every_sample_stands_once_in_pool_or_test_set(test_size: int) -> None:
    """No sample is lost, doubled, or parted from its label; classes have their shares."""
    inputs, labels = samples()
    data = from_arrays("mine", inputs, labels, test_size=test_size).data
    assert len(data.test_labels) == test_size
    assert both_parts(data) == pairs((inputs, labels))
    expected = np.array(SIZES) / 100
    held_out = np.bincount(data.test_labels, minlength=3)
    assert np.abs(held_out - test_size * expected).max() < 1
    kept = np.bincount(data.train_labels, minlength=3)
    assert np.abs(kept - (100 - test_size) * expected).max() < 1


def test_the_split_is_the_same_every_time_and_no_class_is_cut_in_order() -> None:
    """Two tasks of one name agree; within a class, any sample may be held out."""
    inputs, labels = samples()
    one, other = (from_arrays("mine", inputs, labels, test_size=40).data for _ in range(2))
    assert one.fingerprint == other.fingerprint
    renamed = from_arrays("yours", inputs, labels, test_size=40).data
    assert set(one.test_inputs[:, 0]) != set(renamed.test_inputs[:, 0])
    largest = inputs[labels == 0, 0]
    held_out = np.isin(largest, one.test_inputs)
    assert 0 < held_out[:30].sum() < 24 and 0 < held_out[30:].sum() < 24


@in_turn(
    "convert",
    [
        lambda values: values.tolist(),
        torch.tensor,
        lambda values: torch.tensor(values).float().requires_grad_(),
        lambda values: values[::-1][::-1],
    ],
)
def test_tensors_and_lists_are_taken_like_arrays(convert: Callable[[Any], Any]) -> None:
    """The data are the same, with a test set or with `test_size`."""
    inputs, labels = samples()
    arrays = from_arrays("mine", inputs, labels, test_size=20).data
    given = from_arrays("mine", convert(inputs), convert(labels), test_size=20).data
    assert given.fingerprint == arrays.fingerprint
    parts = (inputs[:70], labels[:70], inputs[70:], labels[70:])
    given = from_arrays("mine", *map(convert, parts)).data
    assert given.fingerprint == from_arrays("mine", *parts).data.fingerprint


def test_images_keep_their_shape() -> None:
    """Inputs of several axes are split along the first and left unscaled."""
    images = np.arange(20 * 12, dtype=np.uint8).reshape(20, 1, 3, 4)
    data = from_arrays("images", images, np.arange(20) % 2, test_size=4).data
    assert data.input_shape == (1, 3, 4)
    both = np.concatenate([data.train_inputs, data.test_inputs])
    np.testing.assert_array_equal(both[both[:, 0, 0, 0].argsort()], images)


def test_how_subsets_are_drawn_is_handed_on() -> None:
    """`subsets` and `allow_missing_classes` reach the data, with either kind of test set."""
    inputs, labels = samples()
    rules: dict[str, Any] = {"subsets": "random", "allow_missing_classes": True}
    split = from_arrays("mine", inputs, labels, test_size=20, **rules).data
    given = from_arrays("mine", inputs, labels, inputs, labels, **rules).data
    for data in (split, given, from_sklearn(load_iris, test_size=50, **rules).data):
        assert data.subsets == "random" and data.allow_missing_classes
    assert from_arrays("mine", inputs, labels, test_size=20).data.subsets == "stratified"


@in_turn(
    ("loader", "name", "shape", "classes"),
    [
        (load_wine, "wine", (178, 13), 3),
        (load_iris, "iris", (150, 4), 3),
        (load_breast_cancer, "breast_cancer", (569, 30), 2),
    ],
)
def test_loaders_of_scikit_learn_are_split(
    loader: Callable[[], Any], name: str, shape: tuple[int, int], classes: int
) -> None:
    """All samples are there with their labels, unscaled, classes in their shares."""
    task = from_sklearn(loader, test_size=50)
    bunch = loader()
    assert task.name == name
    assert bunch.data.shape == shape and task.data.classes == classes
    assert task.data.test_inputs.shape == (50, shape[1])
    assert both_parts(task.data) == pairs((bunch.data, bunch.target))
    shares = np.bincount(bunch.target) / len(bunch.target)
    assert np.abs(np.bincount(task.data.test_labels) - 50 * shares).max() < 1


def test_a_loader_is_called_when_the_data_are_needed_and_once() -> None:
    """Naming a task reads nothing."""
    calls: list[int] = []

    def load_mine() -> Any:
        calls.append(1)
        return load_iris()

    task = from_sklearn(load_mine, test_size=50)
    assert task.name == "mine" and not calls
    load_mine.__name__ = "fetch_mine"
    assert from_sklearn(load_mine, test_size=50).name == "mine"
    assert from_sklearn(load_mine, test_size=50, name="yours").name == "yours"
    assert task.data is task.data and len(calls) == 1


def test_a_bunch_is_taken_with_a_name() -> None:
    """A `Bunch` of scikit-learn's gives the data its loader gives under that name."""
    task = from_sklearn(load_wine(), test_size=50, name="wine")
    assert task.name == "wine"
    assert task.data.fingerprint == from_sklearn(load_wine, test_size=50).data.fingerprint


@in_turn("kind", [str, object, bytes])
def test_words_as_targets_are_numbered_in_alphabetical_order(kind: type) -> None:
    """Each label is the place of its word among the sorted words."""
    words = np.array(["pear", "apple", "fig", "apple", "pear", "fig"] * 5)
    inputs = np.arange(30.0)[:, None]
    targets = words.astype("S5") if kind is bytes else words.astype(kind)
    data = from_sklearn(Bunch(data=inputs, target=targets), test_size=6, name="fruit").data
    assert data.classes == 3
    numbers = {"apple": 0, "fig": 1, "pear": 2}
    assert both_parts(data) == pairs((inputs, [numbers[word] for word in words]))


def test_frames_are_taken_like_arrays() -> None:
    """Inputs and labels in frames of pandas give the data of the plain arrays."""
    pytest.importorskip("pandas", reason="install pandas")
    frames, arrays = load_wine(as_frame=True), load_wine()
    plain = from_sklearn(load_wine, test_size=50).data
    framed = from_sklearn(partial(load_wine, as_frame=True), test_size=50, name="wine").data
    assert framed.fingerprint == plain.fingerprint
    given = from_arrays("wine", frames.data, frames.target, test_size=50).data
    assert given.fingerprint == plain.fingerprint
    assert both_parts(given) == pairs((arrays.data, arrays.target))


@in_turn("kind", ["category", "str"])
def test_words_in_frames_are_numbered_too(kind: str) -> None:
    """A column of words or categories gives places in alphabetical order."""
    pandas = pytest.importorskip("pandas", reason="install pandas")
    target = pandas.Series(["b", "a", "c"] * 4).astype(kind)
    bunch = Bunch(data=pandas.DataFrame({"x": np.arange(12.0)}), target=target)
    data = from_sklearn(bunch, test_size=3, name="words").data
    assert both_parts(data) == pairs((np.arange(12.0)[:, None], [1, 0, 2] * 4))
