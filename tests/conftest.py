"""Fixtures that many tests share: a task, a recipe and a family that trains in a moment."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack

import numpy as np
import pytest
import torch

from pytest_fragility.families.family import Family
from pytest_fragility.families.plan import FamilyPlan
from pytest_fragility.families.train import train_families
from pytest_fragility.parallel.cores import ALONE, sharing
from pytest_fragility.perturbations import BASELINE, get_perturbation
from pytest_fragility.recipes import MLP, SGD, Recipe, fixed_steps
from pytest_fragility.tasks import Task, TaskData

pytest_plugins = ["pytester"]


def pytest_configure(config: pytest.Config) -> None:
    """Divide the cores between the processes that run tests, and those that these start.

    The plugin's own division is what some tests are about: they name their share.
    """
    alone = ExitStack()
    alone.enter_context(sharing(ALONE))
    config.add_cleanup(alone.close)
    processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if processes > 1:
        threads = max(1, torch.get_num_threads() // processes)
        torch.set_num_threads(threads)
        os.environ["OMP_NUM_THREADS"] = str(threads)
    # by default, a twentieth of all time goes into looking for garbage
    gc.set_threshold(200_000, 50, 100)


def pytest_collection_finish() -> None:
    """Leave out of every search for garbage what stays to the end: modules and tests."""
    gc.freeze()


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Have Python raise at an interruption, also where tests run in a shell's background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Threads inside an operation only slow such small networks down."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def blobs() -> Task:
    """Three overlapping Gaussian blobs in 6 dimensions: 200 to train on, 60 to test on."""

    def load() -> TaskData:
        generator = np.random.default_rng(0)
        centres = generator.normal(size=(3, 6))
        labels = generator.integers(3, size=260)
        inputs = centres[labels] + 0.8 * generator.normal(size=(260, 6))
        return TaskData(inputs[:200], labels[:200], inputs[200:], labels[200:])

    return Task("blobs", load)


@pytest.fixture(scope="session")
def small_recipe() -> Recipe:
    """A recipe whose training takes a moment."""
    return Recipe(
        architecture=MLP(hidden=(8,)),
        optimizer=SGD(lr=0.1),
        batch_size=8,
        stopping=fixed_steps(60),
    )


@pytest.fixture(scope="session")
def small_family(blobs: Task, small_recipe: Recipe) -> Family:
    """Baseline and Adam, three sizes, three seeds: 18 networks."""
    recipes = {BASELINE: small_recipe, "adam": get_perturbation("adam")(small_recipe)}
    plan = FamilyPlan(blobs, recipes, (16, 32, 64), (0, 1, 2))
    return train_families([plan], device=torch.device("cpu"))[0]
