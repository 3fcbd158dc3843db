"""Tasks from data in memory: arrays, tensors, and what scikit-learn's loaders return."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pytest_fragility.errors import TaskError
from pytest_fragility.tasks.splits import held_out
from pytest_fragility.tasks.task import STRATIFIED, Task, TaskData


def from_arrays(
    name: str,
    inputs: Any,
    labels: Any,
    test_inputs: Any = None,
    test_labels: Any = None,
    *,
    test_size: int | None = None,
    subsets: str = STRATIFIED,
    allow_missing_classes: bool = False,
) -> Task:
    """Return a task from arrays, tensors or nested lists.

    Nothing is scaled: see `standardized` for inputs of mean zero and deviation one.

    Parameters
    ----------
    name
        How reports call it.
    inputs
        Training pool, shape (samples, *input shape); with `test_size`, all samples.
    labels
        Shape (samples,), classes counted from 0.
    test_inputs, test_labels
        Held-out samples of the same shapes.
    test_size
        In their place: how many of the samples to hold out, drawn once, in the classes' shares.
    subsets, allow_missing_classes
        How training subsets are drawn; see `TaskData`.

    Raises
    ------
    TaskError
        If both or neither of a test set and `test_size` are given. What is wrong with the data
        themselves is said when they are first needed.

    Examples
    --------
    >>> task = from_arrays("mine", x, y, test_size=500)
    """
    has_test = test_inputs is not None and test_labels is not None
    has_part = test_inputs is not None or test_labels is not None
    if has_test == (test_size is not None) or has_test != has_part:
        raise TaskError(
            f"task {name!r}: expected test_inputs and test_labels, or test_size= to hold out some "
            "of the samples"
        )
    rules: dict[str, Any] = {"subsets": subsets, "allow_missing_classes": allow_missing_classes}

    def load() -> TaskData:
        if test_size is not None:
            return held_out(name, inputs, labels, test_size=test_size, **rules)
        return TaskData(inputs, labels, test_inputs, test_labels, **rules)

    return Task(name, load)


def from_sklearn(
    loader: Callable[[], Any] | Any,
    *,
    test_size: int,
    name: str | None = None,
    subsets: str = STRATIFIED,
    allow_missing_classes: bool = False,
) -> Task:
    """Return a task from one of scikit-learn's loaders, such as `sklearn.datasets.load_wine`.

    Parameters
    ----------
    loader
        A function without arguments that returns a `Bunch` (called when the data are first
        needed), or a `Bunch`. Targets that are words are numbered in alphabetical order.
    test_size
        How many samples to hold out, drawn once, in the classes' shares.
    name
        How reports call it; by default the loader's name without ``load_`` or ``fetch_``.
    subsets, allow_missing_classes
        How training subsets are drawn; see `TaskData`.

    Raises
    ------
    TaskError
        If a `Bunch` comes without a name; when the data are read, if they are no classes.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> standardized(from_sklearn(load_wine, test_size=50), each_feature=True).name
    'wine+standardized-features'
    """
    chosen = name or _loader_name(loader)

    def load() -> TaskData:
        import numpy as np

        bunch = loader() if callable(loader) else loader
        if not hasattr(bunch, "data") or not hasattr(bunch, "target"):
            raise TaskError(
                f"task {chosen!r}: the loader returned {type(bunch).__name__}, expected a Bunch "
                "with data and target (leave out return_X_y)"
            )
        labels = np.asarray(bunch.target)
        if labels.dtype.kind == "f":
            raise TaskError(
                f"task {chosen!r}: targets of type {labels.dtype} are those of a regression; "
                "expected classes, as whole numbers or words"
            )
        if labels.dtype.kind in "OUS":
            labels = np.unique(labels.astype(str), return_inverse=True)[1]
        return held_out(
            chosen,
            np.asarray(bunch.data),
            labels,
            test_size=test_size,
            subsets=subsets,
            allow_missing_classes=allow_missing_classes,
        )

    return Task(chosen, load)


def _loader_name(loader: Any) -> str:
    name = getattr(loader, "__name__", None)
    if not isinstance(name, str):
        raise TaskError(f"a {type(loader).__name__} has no name of its own: say name='...'")
    return name.removeprefix("load_").removeprefix("fetch_")
