"""Fewer classes: which samples stay, and what their labels become."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pytest_fragility.errors import TaskError
from pytest_fragility.tasks import (
    Task,
    TaskData,
    standardized,
    with_binary_split,
    with_classes,
    with_label_noise,
)
from tests.tables import each
from tests.tasks.sample_tasks import sample_data, sample_task

PARTS = ("train", "test")


def samples(data: TaskData, part: str) -> list[tuple[tuple[float, ...], int]]:
    """Return the inputs of a part with their labels, in order."""
    inputs, labels = getattr(data, f"{part}_inputs"), getattr(data, f"{part}_labels")
    return [(tuple(x.ravel().tolist()), int(y)) for x, y in zip(inputs, labels, strict=True)]


@each("kept", [[0, 1], [3, 1], [4, 0, 2], [4, 3, 2, 1, 0]])
@each("shape", [(3,), (1, 2, 2)])
def test_some_classes_are_numbered_in_the_order_given(
    kept: list[int], shape: tuple[int, ...]
) -> None:
    """Both parts hold those classes' samples alone, in their order, numbered from 0."""
    plain = sample_data(*shape, classes=5)
    changed = with_classes(sample_task(*shape, classes=5), kept).data
    for part in PARTS:
        expected = [(x, kept.index(y)) for x, y in samples(plain, part) if y in kept]
        assert samples(changed, part) == expected
    assert changed.classes == len(kept)
    np.testing.assert_array_equal(changed.strata, changed.train_labels, strict=True)


def test_the_task_is_left_as_it_is() -> None:
    """Its data are those of a fresh one after both operations."""
    task, fresh = sample_task(3, classes=5), sample_data(3, classes=5)
    changed = [with_classes(task, [1, 2]), with_binary_split(task), with_binary_split(task, [0])]
    assert len({one.data.fingerprint for one in changed} | {fresh.fingerprint}) == 4
    for part in PARTS:
        assert samples(task.data, part) == samples(fresh, part)
    assert task.data.classes == 5


def test_names_say_which_classes() -> None:
    """Classes stand in the order that gives them their numbers; a split has no order."""
    task = sample_task(3, classes=5)
    assert with_classes(task, (4, 0, 2)).name == "sample+classes-4-0-2"
    assert with_binary_split(task).name == "sample+binary"
    assert with_binary_split(task, [3, 1, 3]).name == "sample+binary-1-3"


@each("kept", [[], [1], [1, 1], [0, 2, 0]])
def test_too_few_or_repeated_classes_are_refused(kept: list[int]) -> None:
    """The error names them, before any data are read."""
    with pytest.raises(TaskError, match=r"classes \[.*\]: expected at least two, each once") as one:
        with_classes(sample_task(3), kept)
    assert repr(kept) in str(one.value)


@each("unknown", [3, 17])
def test_unknown_classes_are_refused(unknown: int) -> None:
    """The error names the class, the task and what it has."""
    task = with_classes(sample_task(3), [0, unknown])
    with pytest.raises(TaskError, match=f"class {unknown}: task 'sample' has classes 0, 1, 2"):
        _ = task.data


def test_a_class_that_never_occurs_is_unknown() -> None:
    """A number below the number of classes is not enough: there have to be samples."""
    data = TaskData(np.ones((3, 1)), [0, 2, 2], np.ones((1, 1)), [0], classes=4)
    task = with_classes(Task("gaps", lambda: data), [2, 1])
    with pytest.raises(TaskError, match="class 1: task 'gaps' has classes 0, 2"):
        _ = task.data


def test_rules_for_subsets_are_kept() -> None:
    """A task of fewer classes draws its training subsets as the task does."""
    rules: dict[str, Any] = {"subsets": "random", "allow_missing_classes": True}
    data = TaskData(np.ones((3, 1)), [0, 1, 2], np.ones((2, 1)), [0, 1], **rules)
    task = Task("rules", lambda: data)
    for changed in (with_classes(task, [1, 0]), with_binary_split(task)):
        assert changed.data.subsets == "random" and changed.data.allow_missing_classes


def test_strata_of_one_s_own_are_kept() -> None:
    """Subsets that are balanced by something else than the labels stay so."""
    groups = [5, 5, 6, 6, 7, 7]
    data = TaskData(np.ones((6, 1)), [0, 1, 2, 0, 1, 2], np.ones((3, 1)), [0, 1, 2], strata=groups)
    task = Task("grouped", lambda: data)
    assert with_binary_split(task).data.strata.tolist() == groups
    assert with_classes(task, [2, 0]).data.strata.tolist() == [5, 6, 6, 7]


@each("classes", [2, 3, 4, 5, 9])
def test_a_binary_split_is_the_upper_half(classes: int) -> None:
    """Labels of at least half the number of classes become 1: the middle one of an odd number 0."""
    plain = sample_data(3, classes=classes)
    changed = with_binary_split(sample_task(3, classes=classes)).data
    for part in PARTS:
        expected = [(x, int(y >= classes / 2)) for x, y in samples(plain, part)]
        assert samples(changed, part) == expected
    assert changed.classes == 2
    np.testing.assert_array_equal(changed.strata, changed.train_labels, strict=True)


@each("positive", [[0], [4, 1], {0, 1, 2, 3}])
def test_a_binary_split_by_given_classes(positive: Any) -> None:
    """Those become 1 and all others 0, in both parts."""
    plain = sample_data(3, classes=5)
    changed = with_binary_split(sample_task(3, classes=5), positive).data
    for part in PARTS:
        assert samples(changed, part) == [(x, int(y in positive)) for x, y in samples(plain, part)]


def test_a_binary_split_by_what_can_be_read_once() -> None:
    """The classes may come from a generator."""
    changed = with_binary_split(sample_task(3, classes=5), (one for one in (4, 1)))
    listed = with_binary_split(sample_task(3, classes=5), [1, 4])
    assert (changed.name, changed.data.fingerprint) == (listed.name, listed.data.fingerprint)


@each("positive", [[], [0, 1, 2], [7], [0, 1, 2, 7]])
def test_a_split_into_one_part_is_refused(positive: list[int]) -> None:
    """The error names the task, the split and the classes there are."""
    task = with_binary_split(sample_task(3), positive)
    with pytest.raises(TaskError, match=r"binary split of 'sample' by .* classes 0 to 2, and not"):
        _ = task.data


@each("fraction", [0.2, 1.0])
def test_label_noise_comes_after_a_change_of_classes(fraction: float) -> None:
    """Before it, the noise is refused at once by the task's name."""
    noisy = with_label_noise(sample_task(3, classes=5), fraction)
    with pytest.raises(TaskError, match=r"task 'sample\+label-noise-[\d.]+' has label noise; "):
        with_classes(noisy, [0, 1])
    with pytest.raises(TaskError, match=r"'sample\+label-noise-.*\+standardized' has label noise"):
        with_binary_split(standardized(noisy))


@each("change", [lambda task: with_classes(task, [4, 1]), with_binary_split])
def test_label_noise_draws_from_the_classes_that_are_left(change: Any) -> None:
    """After the change, noise redraws both classes, and subsets stay balanced by the clean ones."""
    clean = change(sample_task(3, classes=5))
    noisy = with_label_noise(clean, 1.0)
    assert set(noisy.data.train_labels.tolist()) == {0, 1} and noisy.data.classes == 2
    assert (noisy.data.train_labels != clean.data.train_labels).any()
    np.testing.assert_array_equal(noisy.data.strata, clean.data.train_labels)
    np.testing.assert_array_equal(noisy.data.test_labels, clean.data.test_labels)
