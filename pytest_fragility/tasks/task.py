"""A task: a data set to learn, with a training pool, a held-out test set and a name."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pytest_fragility.errors import TaskError

if TYPE_CHECKING:
    import numpy.typing as npt

    Inputs = npt.NDArray[Any]
    Labels = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class TaskData:
    """The arrays of a task.

    Parameters
    ----------
    train_inputs
        Training pool, shape (pool size, *input shape), float32. Runs train on subsets of it.
    train_labels
        Shape (pool size,), int64, classes counted from 0.
    test_inputs
        Held-out samples, shape (test size, *input shape), float32. No measure sees them.
    test_labels
        Shape (test size,), int64.

    Raises
    ------
    TaskError
        If shapes disagree, an input is not finite, or a label is negative.
    """

    train_inputs: Inputs
    train_labels: Labels
    test_inputs: Inputs
    test_labels: Labels

    def __post_init__(self) -> None:
        import numpy as np

        for part in ("train", "test"):
            inputs, labels = getattr(self, f"{part}_inputs"), getattr(self, f"{part}_labels")
            with np.errstate(over="ignore"):
                inputs = np.ascontiguousarray(inputs, dtype=np.float32)
            labels = np.ascontiguousarray(_whole_numbers(labels, f"{part}_labels"))
            _require_samples(part, inputs, labels)
            object.__setattr__(self, f"{part}_inputs", inputs)
            object.__setattr__(self, f"{part}_labels", labels)
        train_shape, test_shape = self.train_inputs.shape[1:], self.test_inputs.shape[1:]
        if train_shape != test_shape:
            raise TaskError(
                f"inputs of two shapes: train {train_shape}, test {test_shape}; expected the same"
            )

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input."""
        return self.train_inputs.shape[1:]

    @cached_property
    def classes(self) -> int:
        """Number of classes: the largest label in either part, plus one."""
        return int(max(self.train_labels.max(), self.test_labels.max())) + 1

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over shapes and contents, in hexadecimal: part of the identity of every run."""
        digest = hashlib.sha256()
        for array in (self.train_inputs, self.train_labels, self.test_inputs, self.test_labels):
            digest.update(repr((array.shape, array.dtype.str)).encode())
            digest.update(array.tobytes())
        return digest.hexdigest()


def _whole_numbers(labels: Any, name: str) -> Labels:
    import numpy as np

    array = np.asarray(labels)
    if array.dtype.kind not in "iuf":
        raise TaskError(f"{name}: expected class numbers, got values of type {array.dtype}")
    with np.errstate(invalid="ignore"):
        whole = array.astype(np.int64)
    if not np.array_equal(array, whole):
        raise TaskError(f"{name}: expected class numbers, got {array.dtype} with fractions or NaN")
    return whole


def _require_samples(part: str, inputs: Inputs, labels: Labels) -> None:
    import numpy as np

    if labels.ndim != 1 or len(inputs) != len(labels) or len(labels) == 0:
        raise TaskError(
            f"{part} data: expected as many inputs as labels and at least one, "
            f"got inputs of shape {inputs.shape} and labels of shape {labels.shape}"
        )
    if inputs.ndim < 2 or inputs[0].size == 0:
        raise TaskError(
            f"{part}_inputs: expected shape (samples, features, ...), got {inputs.shape}"
        )
    bad_rows = np.flatnonzero(~np.isfinite(inputs.reshape(len(inputs), -1)).all(axis=1))
    if len(bad_rows):
        raise TaskError(
            f"{part}_inputs: {len(bad_rows)} samples are not finite, the first at row {bad_rows[0]}"
        )
    if labels.min() < 0:
        raise TaskError(f"{part}_labels: expected classes counted from 0, got {labels.min()}")


@dataclass(frozen=True, eq=False)
class Task:
    """A named data set that is read when it is first needed.

    Parameters
    ----------
    name
        How reports call it; operations on a task extend it (``digits+label-noise-0.2``).
    load
        A function without arguments that returns the data. Called once, and not at collection.

    Examples
    --------
    >>> task = Task("mine", lambda: TaskData(train_x, train_y, test_x, test_y))
    """

    name: str
    load: Callable[[], TaskData] = field(repr=False)

    @cached_property
    def data(self) -> TaskData:
        """The arrays, read on first use."""
        data = self.load()
        if not isinstance(data, TaskData):
            raise TaskError(
                f"task {self.name!r}: load() returned {type(data).__name__}, expected TaskData"
            )
        return data
