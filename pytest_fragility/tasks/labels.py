"""Fewer classes: some of them alone, or two made of all."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from pytest_fragility._util.seeds import derive_generator
from pytest_fragility._util.text import shown
from pytest_fragility._util.validation import is_number, is_whole
from pytest_fragility.errors import TaskError
from pytest_fragility.tasks.task import Task, TaskData, number_in_name

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Labels = npt.NDArray[np.int64]


def with_classes(task: Task, classes: Sequence[int]) -> Task:
    """Return `task` with the samples of some classes alone, counted from 0 in the order given.

    Parameters
    ----------
    task
        The task to change; it is left as it is.
    classes
        At least two, each once.

    Raises
    ------
    TaskError
        If there are fewer than two classes or one is given twice, or the task has label noise,
        which has to come last; when the data are read, if the task has no such class.
    """
    _require_no_noise(task)
    _require_class_numbers(classes)
    if len(classes) < 2 or len(set(classes)) != len(classes):
        raise TaskError(f"classes {list(classes)!r}: expected at least two, each once")

    def change(data: TaskData) -> TaskData:
        import numpy as np

        present = set(np.unique(data.train_labels).tolist())
        unknown = [one for one in classes if one not in present]
        if unknown:
            raise TaskError(
                f"class {unknown[0]}: task {task.name!r} has classes "
                f"{', '.join(map(str, sorted(present)))}"
            )
        numbers = np.full(data.classes, -1)
        numbers[list(classes)] = np.arange(len(classes))
        train, test = numbers[data.train_labels] >= 0, numbers[data.test_labels] >= 0
        return dataclasses.replace(
            data,
            train_inputs=data.train_inputs[train],
            train_labels=numbers[data.train_labels[train]],
            test_inputs=data.test_inputs[test],
            test_labels=numbers[data.test_labels[test]],
            classes=len(classes),
            strata=None if _are_labels(data) else data.strata[train],
        )

    return task.changed(
        f"classes-{'-'.join(map(str, classes))}",
        change,
        again=partial(with_classes, classes=tuple(classes)),
    )


def with_binary_split(task: Task, positive: Iterable[int] | None = None) -> Task:
    """Return `task` with two classes: 1 for some of its classes, 0 for all others.

    Parameters
    ----------
    task
        The task to change; it is left as it is.
    positive
        Classes that become 1; by default the upper half, ``label >= classes / 2``.

    Raises
    ------
    TaskError
        If the task has label noise, which has to come last; when the data are read, if the
        classes do not make two parts.
    """
    _require_no_noise(task)
    if positive is not None:
        positive = list(positive)
        _require_class_numbers(positive)
    chosen = None if positive is None else sorted(set(positive))

    def change(data: TaskData) -> TaskData:
        import numpy as np

        ones = (
            [c for c in range(data.classes) if 2 * c >= data.classes] if chosen is None else chosen
        )

        def split(labels: Labels) -> Labels:
            return np.isin(labels, ones).astype(np.int64)

        train, test = split(data.train_labels), split(data.test_labels)
        if not 0 < train.mean() < 1 or max(ones) >= data.classes:
            raise TaskError(
                f"binary split of {task.name!r} by {ones}: expected some of its classes 0 to "
                f"{data.classes - 1}, and not all"
            )
        return dataclasses.replace(
            data,
            train_labels=train,
            test_labels=test,
            classes=2,
            strata=None if _are_labels(data) else data.strata,
        )

    name = "binary" if chosen is None else f"binary-{'-'.join(map(str, chosen))}"
    return task.changed(name, change, again=partial(with_binary_split, positive=chosen))


def _are_labels(data: TaskData) -> bool:
    """Return whether subsets are balanced by the labels, which change, and by nothing else."""
    import numpy as np

    return np.array_equal(data.strata, data.train_labels)


def _require_class_numbers(classes: Iterable[Any]) -> None:
    for one in classes:
        if not is_whole(one, 0):
            raise TaskError(f"class {shown(one)}: expected a class number, 0 or more")


def _require_no_noise(task: Task) -> None:
    if task.clean is not None:
        raise TaskError(
            f"task {task.name!r} has label noise; change its classes first, then add the noise"
        )


def with_label_noise(task: Task, fraction: float) -> Task:
    """Return `task` with a fraction of its training labels drawn at random.

    Each chosen label is redrawn uniformly from all classes, its own included (Zhang et al. 2017,
    section 2.1), so that about ``fraction * (1 - 1 / classes)`` of the labels end up wrong.
    Which samples are chosen depends on the pool's size alone; a larger fraction changes a
    superset of them. Test labels stay clean. Training subsets are balanced by the labels before
    the noise, so that every fraction trains on the same samples. A second noise is drawn anew, and
    comes on top of the first.

    Parameters
    ----------
    task
        The task to change; it is left as it is.
    fraction
        In [0, 1]; 0 returns `task` itself.

    Raises
    ------
    TaskError
        If `fraction` is outside [0, 1].
    """
    if not is_number(fraction) or not 0 <= fraction <= 1:
        raise TaskError(f"label noise {shown(fraction)}: expected a fraction in [0, 1]")
    if fraction == 0:
        return task
    before = task.times_done(with_label_noise)
    # a second noise that chose the same samples would be no more than the larger of the two
    which = [before] if before else []

    def change(data: TaskData) -> TaskData:
        generator = derive_generator("label noise", len(data.train_labels), *which)
        order = generator.permutation(len(data.train_labels))
        random_labels = generator.integers(data.classes, size=len(data.train_labels))
        chosen = order[: round(fraction * len(order))]
        labels = data.train_labels.copy()
        labels[chosen] = random_labels[chosen]
        return dataclasses.replace(data, train_labels=labels)

    return task.changed(
        f"label-noise-{number_in_name(fraction)}",
        change,
        clean=task.clean or task,
        again=partial(with_label_noise, fraction=fraction),
    )
