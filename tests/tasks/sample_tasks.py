"""Small tasks with distinct inputs, for tests of what changes them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from pytest_fragility.tasks import Task, TaskData

POOL_SIZE, TEST_SIZE = 24, 9


def parts(**changes: Any) -> dict[str, Any]:
    """Return sound arrays of a task of 6 and 3 samples, some of them replaced."""
    sound: dict[str, Any] = {
        "train_inputs": np.arange(12.0).reshape(6, 2),
        "train_labels": np.array([0, 1, 2, 0, 1, 2]),
        "test_inputs": np.ones((3, 2)),
        "test_labels": np.array([0, 1, 1]),
    }
    return sound | changes


def sample_data(*shape: int, classes: int = 3) -> TaskData:
    """Return normal inputs of a shape, no two numbers alike, with labels in turn."""
    generator = np.random.default_rng(7)
    return TaskData(
        generator.normal(2.0, 3.0, size=(POOL_SIZE, *shape)),
        np.arange(POOL_SIZE) % classes,
        generator.normal(2.0, 3.0, size=(TEST_SIZE, *shape)),
        np.arange(TEST_SIZE) % classes,
    )


def sample_task(*shape: int, classes: int = 3) -> Task:
    """Return a task with `sample_data`, read on first use."""
    return Task("sample", lambda: sample_data(*shape, classes=classes))


def flat(inputs: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return inputs of any shape as rows."""
    return inputs.reshape(len(inputs), -1)
