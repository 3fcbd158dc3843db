"""What is trained in the benchmark: recipes on digits, and the same work for every way."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from pytest_fragility.networks import InitialStates, build_network
from pytest_fragility.networks.runs import Run
from pytest_fragility.recipes import CNN, MLP, SGD, Recipe, fixed_steps
from pytest_fragility.settings import resolve_settings
from pytest_fragility.tasks import Task, TaskData, digits
from pytest_fragility.tasks.sampling import SampleOrder, training_subset

SAMPLES = 256
CLASSES = 10

DIGITS = digits(label_noise=0.2)


def _load_images() -> TaskData:
    """Return digits as images of one channel."""
    data = DIGITS.data
    return TaskData(
        data.train_inputs.reshape(-1, 1, 8, 8),
        data.train_labels,
        data.test_inputs.reshape(-1, 1, 8, 8),
        data.test_labels,
    )


IMAGES = Task("digit images", _load_images)


@dataclass(frozen=True)
class Case:
    """A task, a recipe, and how long it is trained.

    Parameters
    ----------
    task
        What is learned.
    plain_recipe
        How it is learned, but for the stopping rule.
    default_steps
        Optimizer steps of each network, unless ``TRAINING_SPEED_STEPS`` says otherwise.
    """

    task: Task
    plain_recipe: Recipe
    default_steps: int

    @property
    def steps(self) -> int:
        """Optimizer steps of each network."""
        return int(os.environ.get("TRAINING_SPEED_STEPS", self.default_steps))

    @property
    def recipe(self) -> Recipe:
        """The recipe, which stops at `steps`."""
        return self.plain_recipe.replace(stopping=fixed_steps(self.steps))

    def runs(self, networks: int) -> list[Run]:
        """Return runs that differ in their seed alone."""
        recipe = self.recipe
        return [Run(self.task, SAMPLES, recipe, seed) for seed in range(networks)]

    def network(self) -> torch.nn.Sequential:
        """Return the network without weights."""
        return build_network(self.recipe.architecture, self.task.data.input_shape, CLASSES)


CASES = {
    "mlp 64-64, batch 16": Case(DIGITS, Recipe(), default_steps=1000),
    "mlp 128-128, batch 64": Case(
        DIGITS,
        Recipe(architecture=MLP(hidden=(128, 128)), optimizer=SGD(momentum=0.9), batch_size=64),
        default_steps=200,
    ),
    "cnn 8-16, batch 16": Case(
        IMAGES, Recipe(architecture=CNN(channels=(8, 16))), default_steps=200
    ),
}


def family_runs(count: int) -> list[Run]:
    """Return about so many runs of the default family, by more seeds."""
    plan = resolve_settings({"ladder": "none"}).plan()
    seeds = -(-count // (len(plan.recipes) * len(plan.sizes)))
    return [
        Run(plan.task, n, recipe, seed)
        for recipe in plan.recipes.values()
        for n in plan.sizes
        for seed in range(seeds)
    ]


@dataclass(frozen=True)
class Work:
    """The same for every way: data, initial weights, and the rows of each network's batches.

    Parameters
    ----------
    case
        What is trained.
    networks
        How many.
    """

    case: Case
    networks: int

    @cached_property
    def inputs(self) -> torch.Tensor:
        """All training inputs that batches are drawn from."""
        return torch.from_numpy(self.case.task.data.train_inputs)

    @cached_property
    def labels(self) -> torch.Tensor:
        """Their labels."""
        return torch.from_numpy(self.case.task.data.train_labels)

    @cached_property
    def weights(self) -> list[dict[str, torch.Tensor]]:
        """Each network's initial weights by name."""
        network, recipe, shape = (
            self.case.network(),
            self.case.recipe,
            self.case.task.data.input_shape,
        )
        states = InitialStates(network, input_shape=shape, classes=CLASSES)
        return [states.draw(recipe, seed).weights for seed in range(self.networks)]

    @cached_property
    def stacked_weights(self) -> dict[str, torch.Tensor]:
        """The same in one tensor for each name, networks first."""
        return {
            name: torch.stack([each[name] for each in self.weights]) for name in self.weights[0]
        }

    @cached_property
    def rows(self) -> torch.Tensor:
        """Rows of `inputs`, shape (networks, steps, batch), int64."""
        steps, batch = self.case.steps, self.case.recipe.batch_size
        return torch.from_numpy(
            np.stack(
                [
                    training_subset(self.case.task.data, SAMPLES, seed)[
                        SampleOrder(SAMPLES, seed).take(0, steps * batch)
                    ].reshape(steps, batch)
                    for seed in range(self.networks)
                ]
            )
        )

    @property
    def optimizer(self) -> SGD:
        """Plain SGD, with momentum or without: the ways write its update out."""
        optimizer = self.case.recipe.optimizer
        assert isinstance(optimizer, SGD)
        assert not optimizer.nesterov
        assert optimizer.weight_decay == 0
        return optimizer
