"""Random training labels: the simplest way to make a task harder without touching its inputs."""

from __future__ import annotations

import dataclasses
from functools import partial

from pytest_fragility._util.text import shown
from pytest_fragility._util.validation import is_number
from pytest_fragility.errors import TaskError
from pytest_fragility.tasks.task import Task, TaskData, number_in_name


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

    def change(data: TaskData) -> TaskData:
        from pytest_fragility._util.seeds import derive_generator

        # a second noise that chose the same samples would be no more than the larger of the two
        which = [before] if before else []
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
