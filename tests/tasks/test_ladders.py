"""Ladders: which tasks they hold, and under what names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from pytest_fragility.errors import TaskError
from pytest_fragility.tasks import (
    Ladder,
    Task,
    TaskData,
    get_ladder,
    get_task,
    label_noise_ladder,
    standardized,
    teacher_depth_ladder,
    with_classes,
    with_label_noise,
)
from tests.in_turn import in_turn
from tests.tasks.sample_tasks import sample_data, sample_task

NOISE_NAMES = ["sample", "sample+label-noise-0.2", "sample+label-noise-0.5"]


def names(ladder: Ladder) -> list[str]:
    """Return what the ladder's tasks are called."""
    return [task.name for task in ladder.tasks]


def test_a_ladder_keeps_its_tasks() -> None:
    """They are the tasks given, in their order, and a list that is changed later is no concern."""
    tasks = [sample_task(3), standardized(sample_task(3))]
    ladder = Ladder("two", tasks)
    expected = tuple(tasks)
    tasks.clear()
    assert ladder.name == "two"
    assert ladder.tasks == expected


def test_label_noise_ladder_of_a_clean_task() -> None:
    """It holds the task itself, and the task with 20 % and 50 % of random labels."""
    task = sample_task(3)
    ladder = label_noise_ladder(task)
    assert ladder.name == "sample-label-noise"
    assert names(ladder) == NOISE_NAMES
    assert ladder.tasks[0] is task
    for rung, fraction in zip(ladder.tasks[1:], (0.2, 0.5), strict=True):
        expected = with_label_noise(sample_task(3), fraction)
        assert rung.data.fingerprint == expected.data.fingerprint


@in_turn("place", [1, 2])
def test_label_noise_ladder_takes_noise_away_first(place: int) -> None:
    """A noisy task has the ladder of the clean one, and is itself the rung of its fraction."""
    clean = sample_task(3)
    task = with_label_noise(clean, [0.0, 0.2, 0.5][place])
    ladder = label_noise_ladder(task)
    assert (ladder.name, names(ladder)) == ("sample-label-noise", NOISE_NAMES)
    assert ladder.tasks[0] is clean
    assert ladder.tasks[place] is task


def test_label_noise_ladder_without_the_task_s_own_fraction() -> None:
    """Where its fraction is none of the ladder's, the task is no rung."""
    task = with_label_noise(sample_task(3), 0.3)
    assert names(label_noise_ladder(task)) == NOISE_NAMES


def test_label_noise_ladder_takes_noise_away_below_other_operations() -> None:
    """Noise that came before another operation does not stay in all rungs."""
    task = standardized(with_label_noise(sample_task(3), 0.2))
    ladder = label_noise_ladder(task)
    assert names(ladder)[0] == "sample+standardized"
    expected = standardized(sample_task(3)).data
    assert ladder.tasks[0].data.fingerprint == expected.fingerprint


def test_label_noise_ladder_with_other_fractions() -> None:
    """They are those given."""
    ladder = label_noise_ladder(sample_task(3), (1.0, 0.1))
    assert names(ladder) == ["sample+label-noise-1", "sample+label-noise-0.1"]


def test_a_ladder_reads_no_data() -> None:
    """Data are read when they are first needed, and once for the task and its rung."""
    reads = []

    def load() -> TaskData:
        reads.append(1)
        return sample_data(3)

    task = with_label_noise(Task("counted", load), 0.5)
    ladder = label_noise_ladder(task)
    assert not reads
    prints = {rung.data.fingerprint for rung in ladder.tasks} | {task.data.fingerprint}
    assert (len(prints), len(reads)) == (3, 1)


def test_teacher_depth_ladder() -> None:
    """A linear teacher and ReLU teachers of 1, 2 and 4 hidden layers, whatever task is learned."""
    expected = ["teacher-linear", "teacher-relu-1", "teacher-relu-2", "teacher-relu-4"]
    assert names(teacher_depth_ladder()) == expected
    ladder = get_ladder("teacher-depth", sample_task(3))
    assert (ladder.name, names(ladder)) == ("teacher-depth", expected)
    assert len({task.data.fingerprint for task in ladder.tasks}) == 4


OPERATIONS = ("binary", "label-noise-0.2", "permuted-pixels", "input-noise-0.5", "standardized")


@in_turn("operations", [OPERATIONS[:1], OPERATIONS[1:2], OPERATIONS[2:], OPERATIONS])
@in_turn("ladder", ["teacher-depth", "mnist-to-fashion"])
@in_turn("base", ["mnist-5k", "teacher-relu-1", "digits"])
def test_what_the_task_has_undergone_its_ladder_undergoes(
    base: str, ladder: str, operations: Sequence[str]
) -> None:
    """A named ladder of a task with operations is of tasks with the same ones, in their order."""
    asked = "+".join([base, *operations])
    plain, changed = (get_ladder(ladder, get_task(name)) for name in (base, asked))
    assert changed.name == ladder
    assert names(changed) == ["+".join([name, *operations]) for name in names(plain)]
    noisy = "label-noise-0.2" in operations
    assert all((task.clean is not None) == noisy for task in changed.tasks)


@in_turn("operations", ["binary", "dimensions-5+standardized", "label-noise-0.5+label-noise-0.2"])
def test_a_ladder_s_data_have_undergone_it_too(operations: str) -> None:
    """Each rung has the data that its own name stands for, and the audited task is one of them."""
    task = get_task(f"teacher-relu-2+{operations}")
    ladder = get_ladder("teacher-depth", task)
    for rung in ladder.tasks:
        assert rung.data.fingerprint == get_task(rung.name).data.fingerprint
    assert task.data.fingerprint in {rung.data.fingerprint for rung in ladder.tasks}


def test_operations_of_one_s_own_are_undergone_too() -> None:
    """What `Task.changed` did to the task, it does to the ladder's tasks."""
    task = sample_task(20).changed(
        "fewer", lambda data: replace(data, test_labels=data.test_labels * 0)
    )
    ladder = get_ladder("teacher-depth", task)
    assert names(ladder)[1] == "teacher-relu-1+fewer"
    assert all(not rung.data.test_labels.any() for rung in ladder.tasks)


@in_turn("task", ["teacher-linear-in-50", "teacher-relu-4-in-50+binary"])
def test_teachers_have_as_many_inputs_as_the_audited_one(task: str) -> None:
    """So that the audited teacher is a rung of its own ladder."""
    ladder = get_ladder("teacher-depth", get_task(task))
    assert task in names(ladder)
    assert {rung.data.input_shape for rung in ladder.tasks} == {(50,)}
    assert names(ladder) == [
        rung.name + task.removeprefix("teacher-linear-in-50").removeprefix("teacher-relu-4-in-50")
        for rung in teacher_depth_ladder(dimensions=50).tasks
    ]


def test_a_ladder_of_teachers_has_the_inputs_of_a_parity() -> None:
    """The number is part of the task's name, as it is of a teacher's."""
    ladder = get_ladder("teacher-depth", get_task("parity-2-in-7+binary"))
    assert names(ladder)[0] == "teacher-linear-in-7+binary"


def test_an_operation_that_a_ladder_s_tasks_cannot_undergo_is_an_error() -> None:
    """Teachers have two classes: the error names the one that is not there, and the task."""
    ladder = get_ladder("teacher-depth", with_classes(sample_task(3), [0, 2]))
    with pytest.raises(TaskError, match="class 2: task 'teacher-linear' has classes 0, 1"):
        _ = ladder.tasks[0].data


def test_ladders_by_name() -> None:
    """The ladder of label noise is that of the task given."""
    task = with_label_noise(sample_task(3), 0.5)
    ladder = get_ladder("label-noise", task)
    assert names(ladder) == names(label_noise_ladder(task)) and ladder.tasks[2] is task
