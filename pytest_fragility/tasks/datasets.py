"""Tasks from map-style data sets: PyTorch's, torchvision's, Hugging Face's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pytest_fragility.errors import TaskError
from pytest_fragility.tasks.splits import held_out
from pytest_fragility.tasks.task import STRATIFIED, Task, TaskData, as_array, require_room

if TYPE_CHECKING:
    import numpy.typing as npt

INPUT_KEYS = ("image", "img", "pixel_values", "input", "inputs", "x", "data")
LABEL_KEYS = ("label", "labels", "target", "y", "fine_label")


def from_dataset(
    name: str,
    dataset: Any,
    test_dataset: Any = None,
    *,
    test_size: int | None = None,
    input_key: str | None = None,
    label_key: str | None = None,
    subsets: str = STRATIFIED,
    allow_missing_classes: bool = False,
) -> Task:
    """Return a task from a map-style data set: anything with a length and items by number.

    Items are pairs of input and label, as torchvision's, or dicts, as Hugging Face's. Inputs are
    tensors, arrays or images; whole numbers of one byte, as images have, are divided by 255, and
    images get their channel as first axis: shape (channels, height, width). All items are read
    once, when they are first needed, and kept in memory.

    Parameters
    ----------
    name
        How reports call it.
    dataset
        The training pool; with `test_size`, all samples.
    test_dataset
        Held-out samples.
    test_size
        In its place: how many of the samples to hold out, drawn once, in the classes' shares.
    input_key, label_key
        Where a dict has input and label; by default under the usual names. For pairs, neither.
    subsets, allow_missing_classes
        How training subsets are drawn; see `TaskData`.

    Raises
    ------
    TaskError
        If the data set has no length or items, or both or neither of `test_dataset` and
        `test_size` are given. What is wrong with the items is said when they are first needed.

    Examples
    --------
    >>> train, test = (CIFAR10("data", train=part) for part in (True, False))
    >>> task = from_dataset("cifar10", train, test)
    """
    if (test_dataset is None) == (test_size is None):
        raise TaskError(
            f"task {name!r}: expected test_dataset, or test_size= to hold out some of the samples"
        )
    for part in (dataset, test_dataset):
        if part is not None:
            _require_map_style(name, part)
    rules: dict[str, Any] = {"subsets": subsets, "allow_missing_classes": allow_missing_classes}
    keys = (input_key, label_key)

    def load() -> TaskData:
        samples = _read(name, dataset, keys)
        if test_size is not None:
            return held_out(name, *samples, test_size=test_size, **rules)
        return TaskData(*samples, *_read(name, test_dataset, keys), **rules)

    return Task(name, load)


def _require_map_style(name: str, dataset: Any) -> None:
    from torch.utils.data import IterableDataset

    if isinstance(dataset, Mapping):
        raise TaskError(
            f"task {name!r}: a {type(dataset).__name__} of several data sets "
            f"({', '.join(map(str, dataset))}); hand over one, such as dataset['train']"
        )
    has_items = hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")
    if not has_items or isinstance(dataset, IterableDataset):
        raise TaskError(
            f"task {name!r}: a {type(dataset).__name__} has no length or no items by number; "
            "expected a map-style data set (turn an iterable one into a list)"
        )


def _read(
    name: str, dataset: Any, keys: tuple[str | None, str | None]
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Return all inputs, shape (samples, *input shape), and labels."""
    import numpy as np

    inputs: list[npt.NDArray[Any]] = []
    labels: list[Any] = []
    for place in range(_length(name, dataset)):
        sample, label = _parts(name, dataset[place], keys, place)
        values = _values(sample, f"task {name!r}, item {place}")
        if inputs and values.shape != inputs[0].shape:
            raise TaskError(
                f"task {name!r}: inputs of two shapes: {inputs[0].shape} at item 0, "
                f"{values.shape} at item {place}; resize them to one"
            )
        if not inputs:
            require_room(values.size * _length(name, dataset), f"task {name!r}")
        inputs.append(values)
        labels.append(_class_number(label, f"task {name!r}, item {place}"))
    if not inputs:
        raise TaskError(f"task {name!r}: the data set has no items")
    return np.stack(inputs), np.asarray(labels)


def _length(name: str, dataset: Any) -> int:
    try:
        return len(dataset)
    # what Python says of a negative length, and of one that no list can have
    except (ValueError, OverflowError) as error:
        raise TaskError(f"task {name!r}: the data set's length: {error}") from error


def _parts(
    name: str, item: Any, keys: tuple[str | None, str | None], place: int
) -> tuple[Any, Any]:
    if isinstance(item, Mapping):
        input_key = _key(name, item, keys[0], INPUT_KEYS, "input")
        label_key = _key(name, item, keys[1], LABEL_KEYS, "label")
        return item[input_key], item[label_key]
    if isinstance(item, tuple | list) and len(item) == 2:
        if any(keys):
            raise TaskError(
                f"task {name!r}: item {place} is a pair of input and label, which has no keys; "
                "leave out input_key and label_key"
            )
        return item[0], item[1]
    raise TaskError(
        f"task {name!r}: item {place} is a {type(item).__name__}"
        + (f" of {len(item)}" if isinstance(item, tuple | list) else "")
        + ", expected a pair of input and label, or a dict"
    )


def _key(
    name: str, item: Mapping[str, Any], chosen: str | None, usual: tuple[str, ...], what: str
) -> str:
    found = [key for key in ((chosen,) if chosen else usual) if key in item]
    if len(found) != 1:
        raise TaskError(
            f"task {name!r}: items have the keys {', '.join(map(str, item))}; "
            f"say which is the {what}: {what}_key='...'"
        )
    return found[0]


def _values(sample: Any, where: str) -> npt.NDArray[Any]:
    """Return an input as an array, its channel first where it was an image."""
    import numpy as np

    values = as_array(sample, where)
    if hasattr(sample, "getbands"):
        values = values[None] if values.ndim == 2 else np.moveaxis(values, -1, 0)
    if values.dtype == np.uint8:
        values = values.astype(np.float32) / 255
    return values


def _class_number(label: Any, where: str) -> Any:
    values = as_array(label, where)
    if values.size != 1:
        raise TaskError(
            f"{where}: a label of shape {values.shape}; expected one class number (of one-hot "
            "labels, the argmax)"
        )
    return values.item()
