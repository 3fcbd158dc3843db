"""Changes of a task's inputs: permuted pixels, noise, fewer dimensions, standardization."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
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

    Floats = npt.NDArray[np.float32]


def with_permuted_pixels(task: Task) -> Task:
    """Return `task` with the entries of all inputs, test inputs too, in one fixed random order.

    What a fully connected network can learn stays the same; what lies beside each other does not.

    Parameters
    ----------
    task
        The task to change; it is left as it is.
    """

    def change(data: TaskData) -> TaskData:
        size = math.prod(data.input_shape)
        order = derive_generator("permuted pixels", size).permutation(size)
        return _with_inputs(data, lambda inputs, _: _flat(inputs)[:, order])

    return task.changed("permuted-pixels", change, again=with_permuted_pixels)


def with_shuffled_pixels(task: Task, *, test: bool = False) -> Task:
    """Return `task` with the entries of each training input in a random order of its own.

    Zhang et al. 2017, section 2.1, "random pixels". What is left to learn is the distribution of
    an input's values.

    Parameters
    ----------
    task
        The task to change; it is left as it is.
    test
        Whether to shuffle the test inputs too; by default they stay clean.
    """
    name = "shuffled-pixels" + ("-test" if test else "")
    change = partial(_with_inputs, change=_shuffled, test=test)
    return task.changed(name, change, again=partial(with_shuffled_pixels, test=test))


def _shuffled(inputs: Floats, part: str) -> Floats:
    shuffled: Floats = derive_generator("shuffled pixels", part, len(inputs)).permuted(
        _flat(inputs), axis=1
    )
    return shuffled


def with_input_noise(task: Task, deviation: float, *, test: bool = False) -> Task:
    """Return `task` with Gaussian noise added to its training inputs.

    The noise of one sample is the same under every deviation, but for its size. A second noise is
    drawn anew.

    Parameters
    ----------
    task
        The task to change; it is left as it is.
    deviation
        The noise's standard deviation, in the inputs' own units; 0 returns `task` itself.
    test
        Whether to add noise to the test inputs too; by default they stay clean.

    Raises
    ------
    TaskError
        If `deviation` is negative or not finite.
    """
    if not is_number(deviation) or deviation < 0:
        raise TaskError(
            f"input noise {shown(deviation)}: expected a standard deviation, zero or more"
        )
    if deviation == 0:
        return task
    before = task.times_done(with_input_noise)
    which = [before] if before else []

    def noisy(inputs: Floats, part: str) -> Any:
        generator = derive_generator("input noise", part, list(inputs.shape), *which)
        return inputs + deviation * generator.standard_normal(inputs.shape)

    name = f"input-noise-{number_in_name(deviation)}" + ("-test" if test else "")
    change = partial(_with_inputs, change=noisy, test=test)
    return task.changed(
        name, change, again=partial(with_input_noise, deviation=deviation, test=test)
    )


def with_fewer_dimensions(task: Task, dimensions: int) -> Task:
    """Return `task` with only some of the entries of each input, the same for all, as flat inputs.

    Which ones is drawn at random; fewer are a subset of more.

    Parameters
    ----------
    task
        The task to change; it is left as it is.
    dimensions
        How many entries to keep.

    Raises
    ------
    TaskError
        If `dimensions` is not positive, or, when the data are read, larger than there are.
    """
    if not is_whole(dimensions, 1):
        raise TaskError(f"dimensions {shown(dimensions)}: expected at least 1, a whole number")

    def change(data: TaskData) -> TaskData:
        size = math.prod(data.input_shape)
        if dimensions > size:
            raise TaskError(
                f"dimensions {dimensions}: the inputs of task {task.name!r} have only {size}"
            )
        kept = derive_generator("fewer dimensions", size).permutation(size)[:dimensions]
        kept.sort()
        return dataclasses.replace(
            data,
            train_inputs=_flat(data.train_inputs)[:, kept],
            test_inputs=_flat(data.test_inputs)[:, kept],
        )

    return task.changed(
        f"dimensions-{dimensions}",
        change,
        again=partial(with_fewer_dimensions, dimensions=dimensions),
    )


def standardized(task: Task, *, each_feature: bool = False) -> Task:
    """Return `task` with inputs of mean zero and deviation one over the training pool.

    Mean and deviation are those of the training pool alone, and are applied to the test inputs
    too.

    Parameters
    ----------
    task
        The task to change; it is left as it is.
    each_feature
        Whether each entry of the inputs has a mean and deviation of its own; entries that never
        change become zero. By default all entries share one.

    Raises
    ------
    TaskError
        If no input ever changes, when the data are read.
    """

    def change(data: TaskData) -> TaskData:
        import numpy as np

        pool = data.train_inputs.astype(np.float64)
        axis = 0 if each_feature else None
        mean, deviation = pool.mean(axis=axis), pool.std(axis=axis)
        if not np.any(deviation > 0):
            raise TaskError(f"task {task.name!r}: all training inputs are the same")
        deviation = np.where(deviation > 0, deviation, 1.0)
        return dataclasses.replace(
            data,
            train_inputs=(pool - mean) / deviation,
            test_inputs=(data.test_inputs - mean) / deviation,
        )

    name = "standardized" + ("-features" if each_feature else "")
    return task.changed(name, change, again=partial(standardized, each_feature=each_feature))


def _flat(inputs: Floats) -> Floats:
    return inputs.reshape(len(inputs), -1)


def _with_inputs(
    data: TaskData, change: Callable[[Floats, str], Floats], *, test: bool = True
) -> TaskData:
    """Return the data with other inputs of the same shapes, in the test set too or not there."""
    changed: dict[str, Any] = {
        f"{part}_inputs": change(inputs, part).reshape(inputs.shape)
        for part, inputs in (("train", data.train_inputs), ("test", data.test_inputs))
        if part == "train" or test
    }
    return dataclasses.replace(data, **changed)
