"""Tasks from map-style data sets: images, tensors and dicts become arrays, each item read once."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch.utils.data import Dataset, TensorDataset

from pytest_fragility.errors import TaskError
from pytest_fragility.tasks import TaskData, from_dataset
from tests.in_turn import in_turn


class Listed(Dataset[Any]):
    """A map-style data set over a list that counts how often each item is read."""

    def __init__(self, items: list[Any]) -> None:
        self.items = items
        self.reads = [0] * len(items)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, place: int) -> Any:
        self.reads[place] += 1
        return self.items[place]


def vectors(count: int) -> list[tuple[npt.NDArray[np.float32], int]]:
    """Return pairs of an input that no other has and one of two labels."""
    return [(np.array([n, -n], dtype=np.float32), n % 2) for n in range(count)]


DATA = vectors(6)


def bytes_of(*shape: int) -> npt.NDArray[np.uint8]:
    """Return random bytes, 0 and 255 among them."""
    values = np.random.default_rng(0).integers(256, size=shape, dtype=np.uint8)
    values.flat[:2] = 0, 255
    return values


def pool_of(items: list[Any], **keys: Any) -> TaskData:
    """Return the data of a task with these items as pool and as test set."""
    return from_dataset("mine", items, items, **keys).data


def test_tensor_data_sets_are_read_whole() -> None:
    """Inputs and labels come in the data sets' order, floats as they are."""
    inputs = torch.randn(12, 3, 2) * 100
    labels = torch.arange(12) % 3
    train = TensorDataset(inputs[:8], labels[:8])
    data = from_dataset("mine", train, TensorDataset(inputs[8:], labels[8:])).data
    np.testing.assert_array_equal(data.train_inputs, inputs[:8].numpy(), strict=True)
    np.testing.assert_array_equal(data.train_labels, labels[:8].numpy(), strict=True)
    np.testing.assert_array_equal(data.test_inputs, inputs[8:].numpy(), strict=True)
    np.testing.assert_array_equal(data.test_labels, labels[8:].numpy(), strict=True)


@in_turn("shape", [(6, 5, 4), (6, 5, 4, 3)])
def test_images_get_their_channel_first_and_lie_between_0_and_1(shape: tuple[int, ...]) -> None:
    """Pixel (c, i, j) of an input is what the image has in row i, column j, over 255."""
    images = pytest.importorskip("PIL.Image", reason="install pillow")
    pixels = bytes_of(*shape)
    dataset = Listed([(images.fromarray(image), n % 2) for n, image in enumerate(pixels)])
    data = from_dataset("images", dataset, dataset).data
    channels = 1 if len(shape) == 3 else 3
    assert data.input_shape == (channels, 5, 4) and data.train_inputs.dtype == np.float32
    for n, image in enumerate(dataset.items):
        for channel, band in enumerate(image[0].split()):
            for row, column in np.ndindex(5, 4):
                value = band.getpixel((column, row)) / 255
                assert data.train_inputs[n, channel, row, column] == pytest.approx(value)


def test_images_of_two_modes_are_refused() -> None:
    """A greyscale image among coloured ones is named with both shapes."""
    images = pytest.importorskip("PIL.Image", reason="install pillow")
    items = [(images.new(mode, (4, 5)), 0) for mode in ("RGB", "RGB", "L")]
    with pytest.raises(TaskError, match=r"\(3, 5, 4\) at item 0, \(1, 5, 4\) at item 2"):
        pool_of(items)


@in_turn("as_tensors", [True, False])
def test_bytes_are_divided_by_255_and_keep_their_axes(as_tensors: bool) -> None:
    """Tensors and arrays of bytes are scaled, and no axis is moved."""
    pixels = bytes_of(6, 5, 4, 3)
    items = [(torch.tensor(row) if as_tensors else row, n % 2) for n, row in enumerate(pixels)]
    data = pool_of(items)
    assert data.train_inputs.min() == 0 and data.train_inputs.max() == 1
    np.testing.assert_allclose(data.train_inputs, pixels / 255, rtol=1e-6)


@in_turn("kind", [torch.bfloat16, torch.float16, torch.float32, torch.float64, torch.int64])
def test_other_numbers_are_left_unscaled(kind: torch.dtype) -> None:
    """Floats and wider whole numbers have the values the data set gives."""
    inputs = torch.tensor([[0, 255], [3, 100]]).to(kind)
    dataset = TensorDataset(inputs, torch.tensor([0, 1]))
    data = from_dataset("mine", dataset, dataset).data
    assert data.train_inputs.tolist() == data.test_inputs.tolist() == [[0, 255], [3, 100]]


def test_tensors_with_a_gradient_are_read() -> None:
    """Their values are taken."""
    items = [(torch.ones(2, requires_grad=True) * n, n % 2) for n in range(4)]
    assert pool_of(items).train_inputs[:, 0].tolist() == [0, 1, 2, 3]


@in_turn(
    "labels",
    [
        [0, 1, 0],
        [np.int64(0), np.int32(1), np.uint8(0)],
        list(torch.tensor([0, 1, 0])),
        list(torch.tensor([[0], [1], [0]])),
        [np.array([0]), np.array([1]), np.array([0])],
    ],
)
def test_labels_are_single_numbers_of_any_kind(labels: list[Any]) -> None:
    """Whatever holds one whole number is a label."""
    data = pool_of([([float(n)], label) for n, label in enumerate(labels)])
    np.testing.assert_array_equal(data.train_labels, np.array([0, 1, 0]), strict=True)


@in_turn(
    ("input_key", "label_key"),
    [("image", "label"), ("img", "fine_label"), ("pixel_values", "labels"), ("x", "y")],
)
def test_dicts_are_read_under_the_usual_keys(input_key: str, label_key: str) -> None:
    """Other entries are left alone."""
    items = [{"id": n, input_key: x, "note": "-", label_key: y} for n, (x, y) in enumerate(DATA)]
    data = pool_of(items)
    assert data.train_inputs.tolist() == [x.tolist() for x, _ in DATA]
    assert data.train_labels.tolist() == [y for _, y in DATA]


def test_dicts_are_read_under_the_keys_that_are_said() -> None:
    """`input_key` and `label_key` win over the usual names, in pool and test set."""
    items = [{"image": 0, "label": 9, "features": x, "species": y} for x, y in DATA]
    keys: dict[str, Any] = {"input_key": "features", "label_key": "species"}
    data = from_dataset("mine", items[:4], items[4:], **keys).data
    assert data.train_inputs.tolist() == [x.tolist() for x, _ in DATA[:4]]
    assert data.test_inputs.tolist() == [x.tolist() for x, _ in DATA[4:]]
    assert (data.train_labels.tolist(), data.test_labels.tolist()) == ([0, 1, 0, 1], [0, 1])


def test_items_are_read_when_the_data_are_needed_and_once() -> None:
    """Making the task reads nothing; using its data twice reads every item once."""
    train, test = Listed(vectors(10)), Listed(vectors(4))
    task = from_dataset("mine", train, test)
    assert sum(train.reads) == sum(test.reads) == 0
    assert task.data is task.data
    assert train.reads == [1] * 10 and test.reads == [1] * 4


def test_a_part_is_held_out_in_the_classes_shares() -> None:
    """With `test_size`, each item is read once and stands in one part with its label."""
    dataset = Listed(vectors(20))
    data = from_dataset("mine", dataset, test_size=6).data
    assert dataset.reads == [1] * 20
    assert np.bincount(data.test_labels).tolist() == [3, 3]
    inputs = np.concatenate([data.train_inputs, data.test_inputs])
    labels = np.concatenate([data.train_labels, data.test_labels])
    assert sorted(inputs[:, 0].tolist()) == list(range(20))
    np.testing.assert_array_equal(labels, inputs[:, 0] % 2)


def test_how_subsets_are_drawn_is_handed_on() -> None:
    """`subsets` and `allow_missing_classes` reach the data, with either kind of test set."""
    rules: dict[str, Any] = {"subsets": "random", "allow_missing_classes": True}
    for parts in ({"test_size": 2}, {"test_dataset": DATA}):
        data = from_dataset("mine", DATA, **parts, **rules).data
        assert data.subsets == "random" and data.allow_missing_classes
