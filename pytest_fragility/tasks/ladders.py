"""Ladders: several tasks of different complexity, compared by their learning curves."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from pytest_fragility._util.text import shown
from pytest_fragility._util.validation import require_name
from pytest_fragility.errors import TaskError
from pytest_fragility.tasks.labels import with_label_noise
from pytest_fragility.tasks.named import get_task
from pytest_fragility.tasks.task import Task
from pytest_fragility.tasks.teachers import DIMENSIONS, dimension_suffix

LABEL_NOISE = "label-noise"
NOISE_FRACTIONS = (0.0, 0.2, 0.5)
TEACHERS = ("teacher-linear", "teacher-relu-1", "teacher-relu-2", "teacher-relu-4")


@dataclass(frozen=True, eq=False)
class Ladder:
    """Several tasks of different complexity.

    Their order means nothing: which is harder is read off test error's own learning curves.

    Parameters
    ----------
    name
        How reports call it.
    tasks
        At least two, each under a name of its own.

    Raises
    ------
    TaskError
        If the name cannot be shown, there are fewer than two tasks, or two of one name.

    Examples
    --------
    >>> Ladder("digits-classes", [digits(), with_binary_split(digits())])
    """

    name: str
    tasks: Sequence[Task]

    def __post_init__(self) -> None:
        require_name(self.name, "ladder", TaskError)
        if not isinstance(self.tasks, Iterable):
            raise TaskError(
                f"ladder {self.name!r}: expected at least two tasks, got {shown(self.tasks)}"
            )
        object.__setattr__(self, "tasks", tuple(self.tasks))
        if not all(isinstance(task, Task) for task in self.tasks) or len(self.tasks) < 2:
            raise TaskError(
                f"ladder {self.name!r}: expected at least two tasks, got {shown(self.tasks)}"
            )
        names = [task.name for task in self.tasks]
        twice = [name for name in names if names.count(name) > 1]
        if twice:
            raise TaskError(f"ladder {self.name!r}: two tasks are called {twice[0]!r}")


def label_noise_ladder(task: Task, fractions: Sequence[float] = NOISE_FRACTIONS) -> Ladder:
    """Return a task with growing fractions of random training labels.

    Parameters
    ----------
    task
        The task; label noise that it has already is taken away first.
    fractions
        In [0, 1], each once.
    """
    clean = task.clean or task
    rungs = [with_label_noise(clean, fraction) for fraction in fractions]
    # the task itself, where it is one of the rungs, so that its data are read once
    rungs = [task if rung.name == task.name else rung for rung in rungs]
    return Ladder(f"{clean.name}-{LABEL_NOISE}", rungs)


def teacher_depth_ladder(*, dimensions: int = DIMENSIONS) -> Ladder:
    """Return a linear teacher and random ReLU teachers of 1, 2 and 4 hidden layers.

    Parameters
    ----------
    dimensions
        Number of inputs.
    """
    inputs = dimension_suffix(dimensions)
    return Ladder("teacher-depth", [get_task(f"{name}{inputs}") for name in TEACHERS])


def mnist_to_fashion_ladder() -> Ladder:
    """Return MNIST-5k and Fashion-MNIST, where both are on this machine."""
    return Ladder("mnist-to-fashion", [get_task("mnist-5k"), get_task("fashion-mnist")])


def _with_operations_of(task: Task, ladder: Ladder) -> Ladder:
    """Return the ladder with its tasks changed as a task is."""
    rungs = list(ladder.tasks)
    for operation in task.operations:
        rungs = [operation(rung) for rung in rungs]
    return Ladder(ladder.name, rungs)


def _teachers_beside(task: Task) -> Ladder:
    """Return the ladder of teachers, with as many inputs as the name of a task says."""
    found = re.match(
        r"(?:teacher-linear|teacher-relu-[0-9]+|parity-[0-9]+)-in-([0-9]+)(?:\+|$)", task.name
    )
    return teacher_depth_ladder(dimensions=int(found[1])) if found else teacher_depth_ladder()


LADDERS: dict[str, Callable[[Task], Ladder]] = {
    LABEL_NOISE: label_noise_ladder,
    "teacher-depth": lambda task: _with_operations_of(task, _teachers_beside(task)),
    "mnist-to-fashion": lambda task: _with_operations_of(task, mnist_to_fashion_ladder()),
}


def get_ladder(name: str, task: Task) -> Ladder:
    """Return a built-in ladder by name.

    Parameters
    ----------
    name
        ``label-noise``, of `task`; ``teacher-depth``; ``mnist-to-fashion``.
    task
        What the audit's baseline learns. The ladder's tasks undergo the operations that it has
        undergone.

    Raises
    ------
    TaskError
        If there is no such ladder.
    """
    if name not in LADDERS:
        raise TaskError(f"unknown ladder {name!r}: expected one of {', '.join(LADDERS)}")
    return LADDERS[name](task)
