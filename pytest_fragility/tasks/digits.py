"""Handwritten digits: real data that come with scikit-learn, so that nothing is downloaded."""

from __future__ import annotations

from pytest_fragility.tasks.label_noise import with_label_noise
from pytest_fragility.tasks.task import Task, TaskData

TEST_SIZE = 500


def digits(*, label_noise: float = 0.0) -> Task:
    """Return the UCI optical handwritten digits, 8 x 8 pixels, ten classes.

    1,797 images (`sklearn.datasets.load_digits`): 500 drawn once at random are the test set, the
    other 1,297 are the training pool. Inputs have shape (64,) and lie in [0, 1].

    Parameters
    ----------
    label_noise
        Fraction of training labels that are drawn at random, in [0, 1]; test labels stay clean.

    Raises
    ------
    TaskError
        If `label_noise` is outside [0, 1].
    """
    return with_label_noise(Task("digits", _load), label_noise)


def _load() -> TaskData:
    from sklearn.datasets import load_digits

    from pytest_fragility._util.seeds import derive_generator

    images, labels = load_digits(return_X_y=True)
    order = derive_generator("digits test set").permutation(len(labels))
    test, train = order[:TEST_SIZE], order[TEST_SIZE:]
    pixels = images / 16
    return TaskData(pixels[train], labels[train], pixels[test], labels[test])
