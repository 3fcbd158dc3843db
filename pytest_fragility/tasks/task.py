"""A task: a data set to learn, with a training pool, a held-out test set and a name."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pytest_fragility._util.text import error_text, shown
from pytest_fragility._util.validation import PrintsItsRepr, is_whole, require_name
from pytest_fragility.errors import FragilityError, TaskError

if TYPE_CHECKING:
    import numpy.typing as npt

    Inputs = npt.NDArray[Any]
    Labels = npt.NDArray[Any]

# of all inputs of one part, as 32-bit numbers: what a machine can hold beside its networks
LARGEST_BYTES = 1 << 34
LARGEST_CLASSES = 1_000_000

STRATIFIED, RANDOM = "stratified", "random"
SUBSETS = (STRATIFIED, RANDOM)


@dataclass(frozen=True, eq=False)
class TaskData:
    """The arrays of a task, and how training subsets are drawn from them.

    All of it is part of the identity of every run.

    Parameters
    ----------
    train_inputs
        Training pool, shape (pool size, *input shape), float32. Runs train on subsets of it.
        Arrays, tensors and nested lists are converted, and copied: they may change afterwards.
    train_labels
        Shape (pool size,), int64, classes counted from 0.
    test_inputs
        Held-out samples, shape (test size, *input shape), float32. No measure sees them.
    test_labels
        Shape (test size,), int64.
    classes
        Number of classes; by default the largest label in either part, plus one.
    subsets
        ``"stratified"``: every training subset has the pool's class shares, to within one sample
        of each class. ``"random"``: drawn without regard to classes.
    allow_missing_classes
        Whether a training subset may lack one of the pool's classes; by default that is an error,
        since a network cannot learn what it never sees.
    strata
        What stratified subsets are balanced by, and what no subset may lack: by default the
        training labels. Label noise leaves it at the labels before the noise, so that the same
        samples are chosen.

    Raises
    ------
    TaskError
        If shapes disagree, an input is not finite, or a label is out of range.
    """

    train_inputs: Inputs
    train_labels: Labels
    test_inputs: Inputs
    test_labels: Labels
    classes: int = 0
    subsets: str = STRATIFIED
    allow_missing_classes: bool = False
    strata: Any = None

    def __post_init__(self) -> None:
        import numpy as np

        for part in ("train", "test"):
            inputs = _finite_numbers(getattr(self, f"{part}_inputs"), f"{part}_inputs")
            labels = _whole_numbers(getattr(self, f"{part}_labels"), f"{part}_labels")
            _require_samples(part, inputs, labels)
            object.__setattr__(self, f"{part}_inputs", inputs)
            object.__setattr__(self, f"{part}_labels", np.ascontiguousarray(labels))
        train_shape, test_shape = self.train_inputs.shape[1:], self.test_inputs.shape[1:]
        if train_shape != test_shape:
            raise TaskError(
                f"inputs of two shapes: train {train_shape}, test {test_shape}; expected the same"
            )
        if self.subsets not in SUBSETS:
            raise TaskError(f"subsets={shown(self.subsets)}: expected one of {', '.join(SUBSETS)}")
        strata = self.train_labels
        if self.strata is not None:
            strata = np.ascontiguousarray(_whole_numbers(self.strata, "strata"))
        if not is_whole(self.classes, 0, LARGEST_CLASSES):
            raise TaskError(
                f"classes={shown(self.classes)}: expected a whole number up to "
                f"{LARGEST_CLASSES:,}, or 0 to count them"
            )
        object.__setattr__(self, "classes", int(self.classes))
        object.__setattr__(self, "allow_missing_classes", bool(self.allow_missing_classes))
        if strata.shape != self.train_labels.shape:
            raise TaskError(
                f"strata of shape {strata.shape}: expected one for each of the "
                f"{len(self.train_labels)} training samples"
            )
        object.__setattr__(self, "strata", strata)
        self._settle_classes()

    def _settle_classes(self) -> None:
        import numpy as np

        largest = int(max(self.train_labels.max(), self.test_labels.max()))
        if self.classes == 0:
            never = np.setdiff1d(self.test_labels, self.train_labels)
            if len(never):
                raise TaskError(
                    f"test_labels: class {never[0]} never occurs among the training pool's labels "
                    f"({self.train_labels.min()} to {self.train_labels.max()}); count classes from "
                    "0 in both parts, or say classes=..."
                )
            if largest >= LARGEST_CLASSES:
                raise TaskError(
                    f"train_labels: label {largest}, expected classes counted from 0 and below "
                    f"{LARGEST_CLASSES:,}"
                )
            object.__setattr__(self, "classes", largest + 1)
        elif largest >= self.classes:
            part = "train" if self.train_labels.max() == largest else "test"
            raise TaskError(
                f"{part}_labels: label {largest} is out of range, expected 0 to {self.classes - 1} "
                f"for classes={self.classes}"
            )

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input."""
        return self.train_inputs.shape[1:]

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over all fields, in hexadecimal: part of the identity of every run."""
        # spelled out: it is part of stored runs' names, and of what measures' randomness comes from
        rules = f"({self.classes}, '{self.subsets}', {self.allow_missing_classes})"
        digest = hashlib.sha256(rules.encode())
        arrays = (self.train_inputs, self.train_labels, self.test_inputs, self.test_labels)
        for array in (*arrays, self.strata):
            digest.update(f"({array.shape}, '{array.dtype.str}')".encode())
            digest.update(array.tobytes())
        return digest.hexdigest()


def as_array(values: Any, name: str) -> npt.NDArray[Any]:
    """Return an array of an array, a tensor on any device, or nested lists.

    Raises
    ------
    TaskError
        If the values are of several shapes, or a tensor is sparse or has no values.
    """
    import numpy as np

    try:
        plain = _without_tensors(values)
    # torch's errors for sparse tensors and for those without values
    except (TypeError, NotImplementedError, RuntimeError) as error:
        raise TaskError(f"{name}: expected dense values; {error_text(error)}") from error
    if np.ma.isMaskedArray(plain):
        raise TaskError(f"{name}: a masked array, whose masked values are none; fill them first")
    try:
        return np.asarray(plain)
    except ValueError:
        shapes = [_shape(value) for value in plain]
        odd = next((row for row, shape in enumerate(shapes) if shape != shapes[0]), 0)
        raise TaskError(
            f"{name}: inputs of two shapes: {shapes[0]} at row 0, {shapes[odd]} at row {odd}; "
            "expected the same for all"
        ) from None


def _without_tensors(values: Any) -> Any:
    """Return tensors, and lists of them, as arrays; everything else as it is."""
    if isinstance(values, list | tuple) and hasattr(_first_leaf(values), "detach"):
        return [_without_tensors(value) for value in values]
    if not hasattr(values, "detach"):
        return values
    tensor = values.detach().cpu()
    # NumPy knows no bfloat16, and float32 holds each of its numbers
    return tensor.float().numpy() if tensor.is_floating_point() else tensor.numpy()


def _first_leaf(values: Any) -> Any:
    while isinstance(values, list | tuple) and values:
        values = values[0]
    return values


def _shape(value: Any) -> tuple[int, ...] | str:
    import numpy as np

    try:
        return tuple(np.shape(value))
    except ValueError:
        return "several shapes"


def _finite_numbers(inputs: Any, name: str) -> Inputs:
    import numpy as np

    array = as_array(inputs, name)
    if array.dtype.kind not in "biuf":
        raise TaskError(f"{name}: expected numbers, got values of type {array.dtype}")
    require_room(array.size, name)
    with np.errstate(over="ignore"):
        kept = np.ascontiguousarray(array, dtype=np.float32)
    return kept if _is_kept(kept) else _kept(kept.copy() if kept is array else kept)


def _kept(array: Inputs) -> Inputs:
    """Return a view of an array that nobody else writes to; by its owner it is known as such."""
    view = array.view()
    array.flags.writeable = False
    return view


def _is_kept(array: Inputs) -> bool:
    import numpy as np

    return isinstance(array.base, np.ndarray) and not array.base.flags.writeable


def require_room(entries: int, name: str) -> None:
    """Raise a TaskError where so many entries would take more memory than a task may."""
    size = 4 * entries
    if size > LARGEST_BYTES:
        raise TaskError(
            f"{name}: {entries:,} numbers take {size / 1e9:,.0f} GB; expected at most "
            f"{LARGEST_BYTES / 1e9:,.0f} GB; hand over fewer samples"
        )


def _whole_numbers(labels: Any, name: str) -> Labels:
    import numpy as np

    array = as_array(labels, name)
    if array.dtype.kind not in "iuf":
        raise TaskError(f"{name}: expected class numbers, got values of type {array.dtype}")
    with np.errstate(invalid="ignore"):
        whole = array.astype(np.int64)
    if not np.array_equal(array, whole):
        raise TaskError(f"{name}: expected class numbers, got {array.dtype} with fractions or NaN")
    return whole


def _require_samples(part: str, inputs: Inputs, labels: Labels) -> None:
    import numpy as np

    rows = len(inputs) if inputs.ndim else 0
    if labels.ndim != 1 or rows != len(labels) or len(labels) == 0:
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


@dataclass(frozen=True, eq=False, repr=False)
class Task(PrintsItsRepr):
    """A named data set that is read when it is first needed.

    Parameters
    ----------
    name
        How reports call it; operations on a task extend it (``digits+label-noise-0.2``).
    load
        A function without arguments that returns the data. Called once, and not at collection.
    clean
        The same task without label noise; None where it has none.
    code
        Code that makes it, which its repr shows; filled in for tasks that have a name of their own.
    operations
        What it has undergone, as functions from task to task; filled in by `changed`.

    Raises
    ------
    TaskError
        If the name is no text of one line, or `load` no function.

    Examples
    --------
    >>> task = Task("mine", lambda: TaskData(train_x, train_y, test_x, test_y))
    """

    name: str
    load: Callable[[], TaskData]
    clean: Task | None = None
    code: str = ""
    operations: tuple[Callable[[Task], Task], ...] = ()

    def __post_init__(self) -> None:
        require_name(self.name, "task", TaskError)
        if not callable(self.load):
            raise TaskError(
                f"task {self.name!r}: load={shown(self.load)}, expected a function without "
                "arguments that returns TaskData"
            )

    def __repr__(self) -> str:
        return self.code or f"Task({self.name!r}, {self.load!r})"

    @cached_property
    def data(self) -> TaskData:
        """The arrays, read on first use."""
        try:
            data = self.load()
        except (KeyboardInterrupt, FragilityError):
            raise
        except BaseException as error:
            raise TaskError(f"task {self.name!r}: load() raised {error_text(error)}") from error
        if not isinstance(data, TaskData):
            raise TaskError(
                f"task {self.name!r}: load() returned {type(data).__name__}, expected TaskData"
            )
        return data

    def changed(
        self,
        operation: str,
        change: Callable[[TaskData], TaskData],
        *,
        clean: Task | None = None,
        again: Callable[[Task], Task] | None = None,
    ) -> Task:
        """Return the task after an operation on its data, whose name is added to its own.

        Its version without label noise, where it has one, undergoes the operation too.

        Parameters
        ----------
        operation
            Added to the name, after a ``+``.
        change
            Maps the data to the changed data; called when they are first needed.
        clean
            The task without label noise, where the operation adds some.
        again
            Does the operation to another task, as to those of a ladder; by default, `change` does.
        """
        if again is None:
            again = lambda other: other.changed(operation, change)  # noqa: E731
        if clean is None and self.clean is not None:
            clean = again(self.clean)
        return Task(
            f"{self.name}+{operation}",
            lambda: change(self.data),
            clean,
            operations=(*self.operations, again),
        )

    def times_done(self, operation: Callable[..., Task]) -> int:
        """Return how often the task has undergone an operation, whatever its numbers."""
        return sum(getattr(each, "func", each) is operation for each in self.operations)


def number_in_name(value: float) -> str:
    """Return a number as names spell it: all its digits, and neither ``.0`` nor ``+``."""
    return repr(float(value)).removesuffix(".0").replace("e+", "e")
