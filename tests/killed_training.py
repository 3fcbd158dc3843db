"""A training that stores many runs, for other processes to kill or to run beside."""

from __future__ import annotations

import time
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pytest_fragility.families.family import Family
from pytest_fragility.families.plan import FamilyPlan
from pytest_fragility.families.train import train_families
from pytest_fragility.recipes import MLP, Recipe, fixed_steps
from pytest_fragility.store import Store
from pytest_fragility.tasks import Task, TaskData
from pytest_fragility.training import trainer

SIZES = tuple(range(16, 32))
RECIPE = Recipe(architecture=MLP(hidden=(128, 128)), batch_size=8, stopping=fixed_steps(2))


def load() -> TaskData:
    """Return noise to learn."""
    generator = np.random.default_rng(0)
    labels = np.arange(40) % 2
    inputs = generator.normal(size=(2, 40, 3))
    return TaskData(inputs[0], labels, inputs[1], labels)


TASK = Task("noise", load)


def train(folder: Path, seeds: int) -> Family:
    """Return the family with so many seeds, in a store."""
    torch.set_num_threads(1)
    plan = FamilyPlan(TASK, {"baseline": RECIPE}, SIZES, tuple(range(seeds)))
    return train_families([plan], device=torch.device("cpu"), store=Store(folder))[0]


def train_and_tell(folder: Path, seeds: int, replies: SimpleQueue[Any], both: Barrier) -> None:
    """Train when another process does, and say how many networks, and what came out."""
    plain, given = trainer.train, []

    def slowly(runs: Any, device: Any, executors: Any) -> Any:
        given.extend(runs)
        time.sleep(0.3)
        return plain(runs, device)

    trainer.train = slowly
    both.wait(60)
    weights = [float(each.model[1].weight.double().sum()) for each in train(folder, seeds)]
    replies.put((len(given), weights))


def train_in_process(folder: Path, seeds: int) -> None:
    """Train, and return nothing, which would have to be sent."""
    train(folder, seeds)
