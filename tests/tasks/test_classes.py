"""Fewer classes: which samples stay, and what their labels become."""

from __future__ import annotations

from typing import Any

import numpy as np

from pytest_fragility.tasks import (
    Task,
    TaskData,
    with_binary_split,
    with_classes,
    with_label_noise,
)
from tests.in_turn import in_turn
from tests.tasks.sample_tasks import sample_data, sample_task

PARTS = ("train", "test")


def samples(data: TaskData, part: str) -> list[tuple[tuple[float, ...], int]]:
    """Return the inputs of a part with their labels, in order."""
    inputs, labels = getattr(data, f"{part}_inputs"), getattr(data, f"{part}_labels")
    return [(tuple(x.ravel().tolist()), int(y)) for x, y in zip(inputs, labels, strict=True)]


@in_turn("kept", [[0, 1], [3, 1], [4, 0, 2], [4, 3, 2, 1, 0]])
@in_turn("shape", [(3,), (1, 2, 2)])
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


@in_turn("classes", [2, 3, 4, 5, 9])
def test_a_binary_split_is_the_upper_half(classes: int) -> None:
    """Labels of at least half the number of classes become 1: the middle one of an odd number 0."""
    plain = sample_data(3, classes=classes)
    changed = with_binary_split(sample_task(3, classes=classes)).data
    for part in PARTS:
        expected = [(x, int(y >= classes / 2)) for x, y in samples(plain, part)]
        assert samples(changed, part) == expected
    assert changed.classes == 2
    np.testing.assert_array_equal(changed.strata, changed.train_labels, strict=True)


@in_turn("positive", [[0], [4, 1], {0, 1, 2, 3}])
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


@in_turn("change", [lambda task: with_classes(task, [4, 1]), with_binary_split])
def test_label_noise_draws_from_the_classes_that_are_left(change: Any) -> None:
    """After the change, noise redraws both classes, and subsets stay balanced by the clean ones."""
    clean = change(sample_task(3, classes=5))
    noisy = with_label_noise(clean, 1.0)
    assert set(noisy.data.train_labels.tolist()) == {0, 1} and noisy.data.classes == 2
    assert (noisy.data.train_labels != clean.data.train_labels).any()
    np.testing.assert_array_equal(noisy.data.strata, clean.data.train_labels)
    np.testing.assert_array_equal(noisy.data.test_labels, clean.data.test_labels)
