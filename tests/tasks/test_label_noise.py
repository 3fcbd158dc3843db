"""Random training labels: which are redrawn, and all that stays as it was."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from pytest_fragility.tasks import (
    Task,
    TaskData,
    digits,
    standardized,
    with_label_noise,
)
from tests.in_turn import in_turn
from tests.tasks.sample_tasks import sample_task

MANY_CLASSES = 1_000_000


@pytest.fixture(scope="module")
def plain_zeros() -> Task:
    """A task with 200 training labels of zero, among so many classes that a redraw shows."""
    return Task(
        "zeros",
        lambda: TaskData(
            np.ones((200, 2), dtype=np.float32),
            np.zeros(200, dtype=np.int64),
            np.ones((2, 2), dtype=np.float32),
            np.array([0, MANY_CLASSES - 1]),
            classes=MANY_CLASSES,
        ),
    )


def redrawn(task: Task) -> npt.NDArray[np.intp]:
    """Return the positions of `plain_zeros` whose label is no longer zero."""
    return np.flatnonzero(task.data.train_labels)


@in_turn(("fraction", "count"), [(0.1, 20), (0.25, 50), (0.333, 67), (1.0, 200)])
def test_label_noise_redraws_its_fraction(plain_zeros: Task, fraction: float, count: int) -> None:
    """Exactly the fraction of training labels is drawn anew, over all classes."""
    noisy = with_label_noise(plain_zeros, fraction)
    assert len(redrawn(noisy)) == count
    labels = noisy.data.train_labels[redrawn(noisy)]
    assert labels.max() < MANY_CLASSES
    assert labels.mean() == pytest.approx(MANY_CLASSES / 2, rel=0.3)


def test_more_label_noise_redraws_a_superset(plain_zeros: Task) -> None:
    """What 20 % have changed, 50 % have changed in the same way."""
    some, more = (with_label_noise(plain_zeros, fraction) for fraction in (0.2, 0.5))
    assert set(redrawn(some)) < set(redrawn(more))
    chosen = redrawn(some)
    np.testing.assert_array_equal(
        some.data.train_labels[chosen], more.data.train_labels[chosen], strict=True
    )


@in_turn("fractions", [(0.2, 0.5), (0.5, 0.2), (0.3, 0.3)])
def test_a_second_noise_comes_on_top(plain_zeros: Task, fractions: tuple[float, float]) -> None:
    """Neither is left out: both redraw their share, independently of one another."""
    first, second = fractions
    once = with_label_noise(plain_zeros, first)
    twice = with_label_noise(once, second)
    union = 200 * (first + second - first * second)
    assert max(200 * first, 200 * second) < len(redrawn(twice)) == pytest.approx(union, abs=20)
    again = twice.data.train_labels != once.data.train_labels
    assert again.sum() == 200 * second


def test_label_noise_touches_nothing_else() -> None:
    """Inputs, test labels and the clean task are as they were."""
    clean = digits()
    noisy = with_label_noise(clean, 0.3)
    before = clean.data.train_labels.copy()
    changed = noisy.data.train_labels != before
    np.testing.assert_array_equal(clean.data.train_labels, before)
    np.testing.assert_array_equal(noisy.data.train_inputs, clean.data.train_inputs)
    np.testing.assert_array_equal(noisy.data.test_inputs, clean.data.test_inputs)
    np.testing.assert_array_equal(noisy.data.test_labels, clean.data.test_labels)
    # of 389 redrawn labels a tenth meets its own class again: 350 +- 6 differ
    assert changed.sum() == pytest.approx(0.9 * 389, abs=30)


@in_turn("fraction", [0.01, 0.5, 1.0])
def test_strata_are_the_labels_before_the_noise(fraction: float) -> None:
    """Subsets stay balanced by the clean labels, however many are redrawn, and however often."""
    clean = sample_task(4)
    once = with_label_noise(clean, fraction)
    twice = with_label_noise(once, 0.7)
    for noisy in (once, twice):
        np.testing.assert_array_equal(noisy.data.strata, clean.data.train_labels, strict=True)
    assert (twice.data.train_labels != clean.data.train_labels).any()


def test_classes_that_noise_leaves_out_remain() -> None:
    """The number of classes is the clean task's, whatever labels were drawn."""
    data = TaskData(np.ones((2, 1)), [0, 40], np.ones((1, 1)), [40])
    noisy = with_label_noise(Task("two", lambda: data), 1.0)
    assert noisy.data.classes == 41
    assert noisy.data.train_labels.max() < 40


def test_a_noisy_task_knows_the_clean_one() -> None:
    """The same object; after another operation, one with the same inputs and clean labels."""
    clean = sample_task(4)
    once = with_label_noise(clean, 0.2)
    assert once.clean is clean and with_label_noise(once, 0.5).clean is clean
    assert with_label_noise(clean, 0) is clean and clean.clean is None
    changed = standardized(with_label_noise(clean, 0.5))
    assert changed.clean is not None
    assert changed.clean.name == "sample+standardized"
    assert changed.clean.data.fingerprint == standardized(clean).data.fingerprint
