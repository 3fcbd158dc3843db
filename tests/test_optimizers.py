"""Stacked optimizers against ``torch.optim``, step by step."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from pytest_fragility.recipes import SGD, Adam, AdamW, Optimizer, Recipe, RMSprop
from pytest_fragility.training.optimizers import StackedOptimizer, optimizer_group
from tests.reference_training import torch_optimizer

PARAMETERS = 40
STEPS = 20

STACKS: dict[str, list[Optimizer]] = {
    "sgd": [SGD(lr=0.1), SGD(lr=0.03), SGD(lr=0.5)],
    "sgd-decay": [
        SGD(lr=0.1, weight_decay=0.1),
        SGD(lr=0.03, weight_decay=0.5),
        SGD(lr=0.5, weight_decay=0.01),
    ],
    "momentum": [
        SGD(lr=0.1, momentum=0.9),
        SGD(lr=0.03, momentum=0.5),
        SGD(lr=0.05, momentum=0.99),
    ],
    "momentum-decay": [
        SGD(lr=0.1, momentum=0.9, weight_decay=0.1),
        SGD(lr=0.03, momentum=0.5, weight_decay=0.3),
        SGD(lr=0.05, momentum=0.99, weight_decay=0.01),
    ],
    "nesterov": [
        SGD(lr=0.1, momentum=0.9, nesterov=True),
        SGD(lr=0.03, momentum=0.5, nesterov=True),
        SGD(lr=0.05, momentum=0.99, nesterov=True),
    ],
    "nesterov-decay": [
        SGD(lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.1),
        SGD(lr=0.03, momentum=0.5, nesterov=True, weight_decay=0.3),
        SGD(lr=0.05, momentum=0.99, nesterov=True, weight_decay=0.01),
    ],
    "adam": [Adam(lr=0.01), Adam(lr=0.1), Adam(lr=0.001)],
    "adam-betas": [Adam(lr=lr, betas=(0.5, 0.9), eps=0.01) for lr in (0.01, 0.1, 0.2)],
    "adam-decay": [
        Adam(lr=0.01, weight_decay=0.1),
        Adam(lr=0.1, weight_decay=0.5),
        Adam(lr=0.001, weight_decay=0.01),
    ],
    "adamw": [
        AdamW(lr=0.01, weight_decay=0.1),
        AdamW(lr=0.1, weight_decay=0.5),
        AdamW(lr=0.001),
    ],
    "adamw-no-decay": [AdamW(lr=lr, weight_decay=0) for lr in (0.01, 0.1, 0.2)],
    "rmsprop": [RMSprop(lr=0.01), RMSprop(lr=0.1), RMSprop(lr=0.001)],
    "rmsprop-alpha": [RMSprop(lr=lr, alpha=0.9, eps=0.01) for lr in (0.01, 0.1, 0.2)],
    "rmsprop-decay": [
        RMSprop(lr=0.01, weight_decay=0.1),
        RMSprop(lr=0.1, weight_decay=0.5),
        RMSprop(lr=0.001, weight_decay=0.01),
    ],
}
TOLERANCES = {torch.float32: (1e-5, 2e-6), torch.float64: (1e-12, 1e-12)}

stacks = pytest.mark.parametrize("optimizers", STACKS.values(), ids=STACKS)
dtypes = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["32", "64"])


def random_rows(count: int, dtype: torch.dtype, seed: int) -> torch.Tensor:
    """Return `count` rows of normal numbers."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, PARAMETERS, generator=generator, dtype=torch.float64).to(dtype)


def recipes_with(optimizers: Sequence[Optimizer]) -> list[Recipe]:
    """Return one recipe for each optimizer."""
    return [Recipe(optimizer=optimizer) for optimizer in optimizers]


class Alone:
    """Rows of weights, each with a ``torch.optim`` optimizer of its own."""

    def __init__(self, optimizers: Sequence[Optimizer], rows: torch.Tensor) -> None:
        self.parameters = [torch.nn.Parameter(row.clone()) for row in rows]
        self.optimizers = [
            torch_optimizer(optimizer, [parameter])
            for optimizer, parameter in zip(optimizers, self.parameters, strict=True)
        ]

    def step(self, gradients: torch.Tensor) -> None:
        """Update every row."""
        for parameter, optimizer, row in zip(
            self.parameters, self.optimizers, gradients, strict=True
        ):
            parameter.grad = row.clone()
            optimizer.step()

    def keep(self, rows: Sequence[int]) -> None:
        """Forget all other rows."""
        self.parameters = [self.parameters[row] for row in rows]
        self.optimizers = [self.optimizers[row] for row in rows]

    @property
    def rows(self) -> torch.Tensor:
        """The weights, one network a row."""
        return torch.stack([parameter.detach() for parameter in self.parameters])


@stacks
@dtypes
def test_steps_equal_torch(optimizers: list[Optimizer], dtype: torch.dtype) -> None:
    """Each network's weights equal torch's after every step."""
    weights = random_rows(len(optimizers), dtype, 0)
    alone = Alone(optimizers, weights)
    stacked = StackedOptimizer(recipes_with(optimizers), weights)
    rtol, atol = TOLERANCES[dtype]
    for step in range(STEPS):
        gradients = random_rows(len(optimizers), dtype, 1 + step)
        alone.step(gradients)
        stacked.step(weights, gradients.clone())
        torch.testing.assert_close(weights, alone.rows, rtol=rtol, atol=atol)


@stacks
@dtypes
def test_steps_equal_torch_after_others_have_left(
    optimizers: list[Optimizer], dtype: torch.dtype
) -> None:
    """Networks that stay keep their own state and hyperparameters."""
    weights = random_rows(len(optimizers), dtype, 0)
    alone = Alone(optimizers, weights)
    stacked = StackedOptimizer(recipes_with(optimizers), weights)
    rtol, atol = TOLERANCES[dtype]
    for step in range(STEPS):
        for moment, staying in ((7, [0, 2]), (13, [1])):
            if step == moment:
                alone.keep(staying)
                stacked.keep(torch.tensor(staying))
                weights = weights[staying].clone()
        gradients = random_rows(len(weights), dtype, 1 + step)
        alone.step(gradients)
        stacked.step(weights, gradients.clone())
        torch.testing.assert_close(weights, alone.rows, rtol=rtol, atol=atol)


@stacks
def test_vanished_gradients_stay_finite(optimizers: list[Optimizer]) -> None:
    """Gradients of zero, as dead units give, move weights as torch does."""
    weights = random_rows(len(optimizers), torch.float64, 0)
    alone = Alone(optimizers, weights)
    stacked = StackedOptimizer(recipes_with(optimizers), weights)
    for _ in range(3):
        gradients = torch.zeros_like(weights)
        alone.step(gradients)
        stacked.step(weights, gradients.clone())
    torch.testing.assert_close(weights, alone.rows, rtol=1e-12, atol=1e-12)


def test_rates_and_decays_may_differ_within_a_group() -> None:
    """Networks that differ in rate, decay or momentum alone are updated together."""
    for optimizers in STACKS.values():
        assert len({optimizer_group(recipe) for recipe in recipes_with(optimizers)}) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (SGD(), SGD(momentum=0.9)),
        (SGD(momentum=0.9), SGD(momentum=0.9, nesterov=True)),
        (SGD(), SGD(weight_decay=0.1)),
        (Adam(), AdamW()),
        (Adam(), AdamW(weight_decay=0.0)),
        (Adam(), Adam(betas=(0.9, 0.99))),
        (Adam(), Adam(eps=1e-6)),
        (Adam(), RMSprop()),
        (RMSprop(), RMSprop(alpha=0.9)),
        (RMSprop(), RMSprop(eps=1e-6)),
    ],
)
def test_other_rules_are_other_groups(one: Optimizer, other: Optimizer) -> None:
    """What one update cannot serve is kept apart."""
    first, second = recipes_with([one, other])
    assert optimizer_group(first) != optimizer_group(second)
