"""Stacked optimizers against ``torch.optim``, step by step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch.nn.utils import clip_grad_norm_

from pytest_fragility.recipes import (
    SGD,
    Adam,
    AdamW,
    Optimizer,
    Recipe,
    RMSprop,
    Schedule,
    cosine,
    exponential,
    step_decay,
)
from pytest_fragility.training.stacked_optimizers import StackedOptimizer, optimizer_group
from tests.reference_training import torch_optimizer, torch_scheduler

PARAMETERS = 40
STEPS = 20

# rates, momenta and weight decays of the networks of a stack
RATES, MOMENTA, DECAYS = (0.1, 0.03, 0.05), (0.9, 0.5, 0.99), (0.1, 0.3, 0.01)


def three(kind: type[Optimizer], *unlike: str, **shared: Any) -> list[Optimizer]:
    """Return optimizers with rates of their own, and momenta or decays where they are named."""
    own = {"momentum": MOMENTA, "weight_decay": DECAYS}
    smaller = 1 if kind is SGD else 10
    return [
        kind(lr=rate / smaller, **{name: own[name][place] for name in unlike}, **shared)
        for place, rate in enumerate(RATES)
    ]


OPTIMIZERS: dict[str, list[Optimizer]] = {
    "sgd": three(SGD),
    "sgd-decay": three(SGD, "weight_decay"),
    "momentum": three(SGD, momentum=0.9),
    "momentum-decay": three(SGD, "momentum", "weight_decay"),
    "nesterov": three(SGD, "momentum", nesterov=True),
    "nesterov-decay": three(SGD, "momentum", "weight_decay", nesterov=True),
    "decoupled-decay": three(SGD, "weight_decay", decoupled=True),
    "momentum-decoupled-decay": three(SGD, "momentum", "weight_decay", decoupled=True),
    "nesterov-decoupled-decay": three(
        SGD, "momentum", "weight_decay", nesterov=True, decoupled=True
    ),
    "adam": three(Adam),
    "adam-betas": three(Adam, betas=(0.5, 0.9), eps=0.01),
    "adam-decay": three(Adam, "weight_decay"),
    "adamw": three(AdamW, "weight_decay"),
    "adamw-no-decay": three(AdamW, weight_decay=0),
    "rmsprop": three(RMSprop),
    "rmsprop-alpha": three(RMSprop, alpha=0.9, eps=0.01),
    "rmsprop-decay": three(RMSprop, "weight_decay"),
}
SCHEDULES: dict[str, Schedule] = {
    "cosine": cosine(12, factor=0.05),
    "step-decay": step_decay(3, factor=0.4),
    "exponential": exponential(7, factor=0.3),
    "growing": exponential(1, factor=1.1),
    "warm-up": Schedule(warmup=6),
    "cosine-warm-up": Schedule(kind="cosine", steps=15, factor=0.2, warmup=5),
}
# rows of 40 normal numbers have norms near 6.3: none, some and all of them are clipped
CLIPPINGS = (20.0, 6.3, 0.5)


def recipes_with(optimizers: Sequence[Optimizer]) -> list[Recipe]:
    """Return one recipe for each optimizer."""
    return [Recipe(optimizer=optimizer) for optimizer in optimizers]


STACKS: dict[str, list[Recipe]] = {
    **{name: recipes_with(optimizers) for name, optimizers in OPTIMIZERS.items()},
    **{
        f"{name}-{kind}": [recipe.replace(schedule=schedule) for recipe in recipes_with(optimizers)]
        for name, schedule in SCHEDULES.items()
        for kind, optimizers in OPTIMIZERS.items()
        if kind in ("nesterov-decoupled-decay", "adam-decay", "adamw", "rmsprop-decay")
    },
    **{
        f"clipped-{kind}": [
            recipe.replace(gradient_clipping=norm)
            for recipe, norm in zip(recipes_with(optimizers), CLIPPINGS, strict=True)
        ]
        for kind, optimizers in OPTIMIZERS.items()
        if kind in ("sgd-decay", "momentum", "adam", "rmsprop")
    },
}
TOLERANCES = {torch.float32: (1e-5, 2e-6), torch.float64: (1e-12, 1e-12)}

dtypes = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["32", "64"])


def random_rows(count: int, dtype: torch.dtype, seed: int) -> torch.Tensor:
    """Return `count` rows of normal numbers."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, PARAMETERS, generator=generator, dtype=torch.float64).to(dtype)


class Alone:
    """Rows of weights, each with a ``torch.optim`` optimizer and scheduler of its own."""

    def __init__(self, recipes: Sequence[Recipe], rows: torch.Tensor) -> None:
        self.recipes = list(recipes)
        self.parameters = [torch.nn.Parameter(row.clone()) for row in rows]
        self.optimizers = [
            torch_optimizer(recipe.optimizer, [parameter])
            for recipe, parameter in zip(recipes, self.parameters, strict=True)
        ]
        self.schedulers = [
            torch_scheduler(recipe.schedule, optimizer)
            for recipe, optimizer in zip(recipes, self.optimizers, strict=True)
        ]

    def step(self, gradients: torch.Tensor) -> None:
        """Update every row."""
        for place, recipe in enumerate(self.recipes):
            self.parameters[place].grad = gradients[place].clone()
            if recipe.gradient_clipping is not None:
                clip_grad_norm_([self.parameters[place]], recipe.gradient_clipping)
            self.optimizers[place].step()
            self.schedulers[place].step()

    def keep(self, rows: Sequence[int]) -> None:
        """Forget all other rows."""
        self.recipes = [self.recipes[row] for row in rows]
        self.parameters = [self.parameters[row] for row in rows]
        self.optimizers = [self.optimizers[row] for row in rows]
        self.schedulers = [self.schedulers[row] for row in rows]

    @property
    def rows(self) -> torch.Tensor:
        """The weights, one network a row."""
        return torch.stack([parameter.detach() for parameter in self.parameters])


def take_step(
    optimizer: StackedOptimizer, weights: torch.Tensor, gradients: torch.Tensor, step: int
) -> None:
    """Update weights in place, one network a row, as after a backward pass."""
    scale, factors = weights.new_ones(len(weights)), optimizer.factors(step)
    optimizer.write_scale(scale, factors)
    optimizer.sink([weights]).add(0, scale.unsqueeze(1) * gradients)
    optimizer.step([weights], factors)


@dtypes
@pytest.mark.parametrize("leaving", [{}, {7: [0, 2], 13: [1]}], ids=["all-stay", "some-leave"])
def test_steps_equal_torch(leaving: dict[int, list[int]], dtype: torch.dtype) -> None:
    """Each network's weights equal torch's after every step, also when others have left."""
    rtol, atol = TOLERANCES[dtype]
    for name, recipes in STACKS.items():
        weights = random_rows(len(recipes), dtype, 0)
        alone = Alone(recipes, weights)
        stacked = StackedOptimizer(recipes, [weights])
        for step in range(STEPS):
            if staying := leaving.get(step):
                alone.keep(staying)
                stacked.keep(torch.tensor(staying))
                weights = weights[staying].clone()
            gradients = random_rows(len(weights), dtype, 1 + step)
            alone.step(gradients)
            take_step(stacked, weights, gradients.clone(), step)
            torch.testing.assert_close(weights, alone.rows, rtol=rtol, atol=atol, msg=name)


def test_vanished_gradients_stay_finite() -> None:
    """Gradients of zero, as dead units give, move weights as torch does."""
    for recipes in STACKS.values():
        weights = random_rows(len(recipes), torch.float64, 0)
        alone = Alone(recipes, weights)
        stacked = StackedOptimizer(recipes, [weights])
        for step in range(3):
            gradients = torch.zeros_like(weights)
            alone.step(gradients)
            take_step(stacked, weights, gradients.clone(), step)
        torch.testing.assert_close(weights, alone.rows, rtol=1e-12, atol=1e-12)


def test_decoupled_decay_is_written_out() -> None:
    """Weights shrink by lr * decay a step, the velocity knows of no decay: a loop by hand."""
    lr, momentum, decay = 0.2, 0.7, 0.3
    recipe = Recipe(
        optimizer=SGD(lr=lr, momentum=momentum, weight_decay=decay, decoupled=True),
        schedule=step_decay(4, factor=0.5),
    )
    weights = random_rows(1, torch.float64, 0)
    expected, velocity = weights[0].tolist(), [0.0] * PARAMETERS
    stacked = StackedOptimizer([recipe], [weights])
    for step in range(STEPS):
        gradients = random_rows(1, torch.float64, 1 + step)
        rate = lr * 0.5 ** (step // 4)
        velocity = [
            momentum * old + new for old, new in zip(velocity, gradients[0].tolist(), strict=True)
        ]
        expected = [
            (1 - rate * decay) * weight - rate * speed
            for weight, speed in zip(expected, velocity, strict=True)
        ]
        take_step(stacked, weights, gradients, step)
    assert weights[0].tolist() == pytest.approx(expected, rel=1e-12, abs=1e-14)


def test_decoupled_decay_differs_from_a_penalty_under_momentum_alone() -> None:
    """Without momentum both decays are one, to rounding; with it they are two."""
    for momentum, are_one in ((0.0, True), (0.9, False)):
        found = []
        for decoupled in (False, True):
            optimizer = SGD(lr=0.1, momentum=momentum, weight_decay=0.2, decoupled=decoupled)
            weights = random_rows(1, torch.float64, 0)
            stacked = StackedOptimizer([Recipe(optimizer=optimizer)], [weights])
            for step in range(STEPS):
                gradients = random_rows(1, torch.float64, 1 + step)
                take_step(stacked, weights, gradients, step)
            found.append(weights)
        assert torch.allclose(found[0], found[1], rtol=1e-12, atol=1e-12) == are_one


def test_each_network_is_clipped_at_its_own_norm() -> None:
    """A step at rate 1 is as long as the clipped gradient, in its direction."""
    recipes = [
        Recipe(optimizer=SGD(lr=1.0), gradient_clipping=norm) for norm in (0.5, 2.0, 10.0, 100.0)
    ]
    weights = torch.zeros(4, PARAMETERS, dtype=torch.float64)
    gradients = random_rows(4, torch.float64, 0)
    gradients *= torch.tensor([[1.0], [4.0], [9.0], [9.0]]) / gradients.norm(dim=1, keepdim=True)
    stacked = StackedOptimizer(recipes, [weights])
    take_step(stacked, weights, gradients.clone(), 0)
    lengths = weights.norm(dim=1).tolist()
    # torch's clipping divides by the norm plus 1e-6
    assert lengths == pytest.approx([0.5, 2.0, 9.0, 9.0], rel=2e-6)
    cosines = torch.nn.functional.cosine_similarity(weights, -gradients)
    torch.testing.assert_close(cosines, torch.ones(4, dtype=torch.float64))


def test_rates_and_decays_may_differ_within_a_group() -> None:
    """Networks that differ in rate, decay, momentum or clipping's size are updated together."""
    for recipes in STACKS.values():
        assert len({optimizer_group(recipe) for recipe in recipes}) == 1


def test_other_rules_are_other_groups() -> None:
    """What one update cannot serve is kept apart."""
    for one, other in [
        (SGD(), SGD(momentum=0.9)),
        (SGD(momentum=0.9), SGD(momentum=0.9, nesterov=True)),
        (SGD(), SGD(weight_decay=0.1)),
        (SGD(weight_decay=0.1), SGD(weight_decay=0.1, decoupled=True)),
        (Adam(), AdamW()),
        (Adam(), AdamW(weight_decay=0.0)),
        (Adam(), Adam(betas=(0.9, 0.99))),
        (Adam(), Adam(eps=1e-6)),
        (Adam(), RMSprop()),
        (RMSprop(), RMSprop(alpha=0.9)),
        (RMSprop(), RMSprop(eps=1e-6)),
    ]:
        first, second = recipes_with([one, other])
        assert optimizer_group(first) != optimizer_group(second)


def test_other_schedules_and_clipping_are_other_groups() -> None:
    """Networks share a group only where one rate factor and one decision to clip serve them."""
    for changes in [
        {"gradient_clipping": 1.0},
        {"schedule": cosine(100)},
        {"schedule": step_decay(100)},
        {"schedule": step_decay(101)},
        {"schedule": step_decay(100, factor=0.25)},
        {"schedule": exponential(100, factor=0.5)},
        {"schedule": Schedule(warmup=10)},
        {"schedule": Schedule(warmup=11)},
        # a schedule that grows as weight decay shrinks has a factor that is all in its last digits
        {"schedule": exponential(1, factor=1.0010015)},
        {"schedule": exponential(1, factor=1.0010018)},
    ]:
        others = [
            Recipe(),
            Recipe(schedule=step_decay(100, factor=0.500000001)),
            Recipe(schedule=exponential(1, factor=1.0010016)),
        ]
        for other in others:
            assert optimizer_group(Recipe(**changes)) != optimizer_group(other)
