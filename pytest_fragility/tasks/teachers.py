"""Synthetic tasks with a closed definition: labels given by a teacher."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pytest_fragility._util.seeds import derive_generator
from pytest_fragility._util.text import shown
from pytest_fragility._util.validation import is_whole
from pytest_fragility.errors import TaskError
from pytest_fragility.tasks.task import Task, TaskData

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

POOL_SIZE, TEST_SIZE = 4000, 2000
DIMENSIONS = 20
WIDTH = 32
# of a pool that is drawn and kept in memory
MOST_DIMENSIONS = 100_000
MOST_LAYERS = 1_000

Sampler = Callable[[Any, int], Any]


def linear_teacher(*, dimensions: int = DIMENSIONS) -> Task:
    """Return two classes separated by a plane: ``y = [w . x > m]``.

    ``x ~ N(0, 1)``, ``w ~ N(0, 1)``, m the median over the training pool, so that both classes
    are as large. 4,000 samples to train on, 2,000 to test on.

    Parameters
    ----------
    dimensions
        Number of inputs.

    Raises
    ------
    TaskError
        If there are none.
    """
    return _teacher(f"teacher-linear{dimension_suffix(dimensions)}", dimensions, 0)


def relu_teacher(depth: int, *, dimensions: int = DIMENSIONS) -> Task:
    """Return two classes given by a random ReLU network: ``y = [f(x) > m]``.

    f has `depth` hidden layers of 32 ReLUs, weights ``N(0, 2 / fan_in)`` and no biases;
    ``x ~ N(0, 1)`` and m is the median of f over the training pool, so that both classes are as
    large. 4,000 samples to train on, 2,000 to test on. The inputs are the same for all depths.

    Parameters
    ----------
    depth
        Number of hidden layers, at least 1.
    dimensions
        Number of inputs.

    Raises
    ------
    TaskError
        If there are no layers or no inputs.
    """
    if not is_whole(depth, 1, MOST_LAYERS):
        raise TaskError(
            f"depth {shown(depth)}: expected at least one hidden layer and at most {MOST_LAYERS:,}"
        )
    return _teacher(f"teacher-relu-{depth}{dimension_suffix(dimensions)}", dimensions, depth)


def sparse_parity(relevant: int, *, dimensions: int = DIMENSIONS) -> Task:
    """Return two classes given by the parity of a few of many signs.

    x uniform over ``{-1, 1}^dimensions``, ``y = [x_1 x_2 ... x_k < 0]`` with k the number of
    relevant entries (Barak et al. 2022, "Hidden progress in deep learning"). 4,000 samples to
    train on, 2,000 to test on, drawn independently.

    Parameters
    ----------
    relevant
        k.
    dimensions
        Number of inputs, at least k.

    Raises
    ------
    TaskError
        If k is not between 1 and the number of inputs.
    """
    _require_dimensions(dimensions)
    if not is_whole(relevant, 1, dimensions):
        raise TaskError(f"parity of {shown(relevant)} entries: expected between 1 and {dimensions}")

    def load() -> TaskData:
        inputs = _generator("signs", dimensions).choice([-1.0, 1.0], size=_shape(dimensions))
        return _task_data(inputs, inputs[:, :relevant].prod(axis=1) < 0)

    return Task(f"parity-{relevant}{dimension_suffix(dimensions)}", load)


def _require_dimensions(dimensions: int) -> None:
    if not is_whole(dimensions, 1, MOST_DIMENSIONS):
        raise TaskError(
            f"dimensions {shown(dimensions)}: expected at least one input and at most "
            f"{MOST_DIMENSIONS:,}"
        )


def _teacher(name: str, dimensions: int, depth: int) -> Task:
    _require_dimensions(dimensions)

    def load() -> TaskData:
        import numpy as np

        inputs = _generator("normal inputs", dimensions).standard_normal(_shape(dimensions))
        outputs = _network(inputs, depth)
        return _task_data(inputs, outputs > np.median(outputs[:POOL_SIZE]))

    return Task(name, load)


def _network(inputs: Floats, depth: int) -> Floats:
    """Return the teacher's outputs, shape (samples,)."""
    import numpy as np

    generator = _generator("teacher's weights", inputs.shape[1], depth)
    hidden = inputs
    for _ in range(depth):
        fan_in = hidden.shape[1]
        weights = math.sqrt(2 / fan_in) * generator.standard_normal((fan_in, WIDTH))
        hidden = np.maximum(hidden @ weights, 0.0)
    outputs: Floats = hidden @ generator.standard_normal(hidden.shape[1])
    return outputs


def _task_data(inputs: Floats, labels: Any) -> TaskData:
    train, test = slice(POOL_SIZE), slice(POOL_SIZE, None)
    return TaskData(
        inputs[train], labels[train].astype(int), inputs[test], labels[test].astype(int), classes=2
    )


def _generator(purpose: str, *identity: int) -> np.random.Generator:
    return derive_generator("teacher task", purpose, *identity)


def _shape(dimensions: int) -> tuple[int, int]:
    return POOL_SIZE + TEST_SIZE, dimensions


def dimension_suffix(dimensions: int) -> str:
    """Return how names spell a number of inputs; empty for the usual one."""
    return "" if dimensions == DIMENSIONS else f"-in-{dimensions}"
