"""Optimizers over stacks of networks, each network with hyperparameters of its own.

The updates are those of ``torch.optim``, step by step, to float32 rounding.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch

from pytest_fragility.recipes import SGD, Adam, AdamW, Optimizer, Recipe, RMSprop

PER_NETWORK = ("lr", "weight_decay", "momentum")

# torch.nn.utils.clip_grad_norm_ adds it to the norm, too
CLIPPING_EPSILON = 1e-6


def optimizer_group(recipe: Recipe) -> tuple[Any, ...]:
    """Return what networks must share to be updated together.

    All but learning rate, weight decay, momentum and the size of clipped gradients.
    """
    optimizer = recipe.optimizer
    shared = {
        name: value
        for name, value in dataclasses.asdict(optimizer).items()
        if name not in PER_NETWORK
    }
    has_momentum = isinstance(optimizer, SGD) and optimizer.momentum > 0
    return (
        optimizer.kind,
        has_momentum,
        bool(optimizer.weight_decay),
        *shared.values(),
        recipe.gradient_clipping is not None,
        recipe.schedule,
    )


class Factors(NamedTuple):
    """What an update depends on besides gradients: numbers, or scalars on the weights' device.

    Parameters
    ----------
    rate
        The schedule's multiple of the learning rate.
    mean_correction, square_correction
        What Adam divides its running mean by, and the root of what it divides its running square
        by, for having started at zero.
    """

    rate: Any
    mean_correction: Any = 1.0
    square_correction: Any = 1.0


class StackedOptimizer:
    """One update rule over a stack of networks.

    Parameters
    ----------
    recipes
        One per network, all of one `optimizer_group`.
    weights
        All parameters of each network in a row, shape (K, P): gives shape, dtype and device.
    """

    def __init__(self, recipes: Sequence[Recipe], weights: torch.Tensor) -> None:
        first = recipes[0].optimizer
        self._update = _UPDATES[type(first)]
        self._shared = first
        self._schedule = recipes[0].schedule
        self._largest_rate = torch.finfo(weights.dtype).max
        self._decays = first.weight_decay > 0
        self._columns = {
            name: weights.new_tensor([[getattr(recipe.optimizer, name)] for recipe in recipes])
            for name in PER_NETWORK
            if hasattr(first, name)
        }
        self._clips = recipes[0].gradient_clipping is not None
        if self._clips:
            norms = [[recipe.gradient_clipping] for recipe in recipes]
            self._columns["gradient_clipping"] = weights.new_tensor(norms)
        self.state = [torch.zeros_like(weights) for _ in range(_state_size(first))]

    def factors(self, step: int) -> Factors:
        """Return what the update depends on where `step` steps were taken before."""
        multiplier = self._schedule.multiplier(step)
        rate = multiplier if multiplier <= self._largest_rate else math.inf
        if not isinstance(self._shared, Adam):
            return Factors(rate)
        mean_beta, square_beta = self._shared.betas
        return Factors(rate, 1 - mean_beta ** (step + 1), (1 - square_beta ** (step + 1)) ** 0.5)

    def step(self, weights: torch.Tensor, gradients: torch.Tensor, factors: Factors) -> None:
        """Update `weights` in place; `gradients` are used up. Both have shape (K, P)."""
        if self._clips:
            self._clip(gradients)
        self._update(self, weights, gradients, factors)

    def keep(self, rows: torch.Tensor) -> None:
        """Keep only these networks: `rows` is int64, sorted, on the weights' device."""
        self._columns = {
            name: column.index_select(0, rows) for name, column in self._columns.items()
        }
        self.state = [buffer.index_select(0, rows) for buffer in self.state]

    def _clip(self, gradients: torch.Tensor) -> None:
        norms = torch.linalg.vector_norm(gradients, dim=1, keepdim=True)
        shrink = self._columns["gradient_clipping"] / (norms + CLIPPING_EPSILON)
        gradients.mul_(shrink.clamp_(max=1.0))

    def _add_weight_decay(self, weights: torch.Tensor, gradients: torch.Tensor) -> None:
        if self._decays:
            gradients.addcmul_(weights, self._columns["weight_decay"])

    def _shrink(self, weights: torch.Tensor, rates: torch.Tensor) -> None:
        if self._decays:
            weights.mul_(1 - rates * self._columns["weight_decay"])

    def _sgd(self, weights: torch.Tensor, gradients: torch.Tensor, factors: Factors) -> None:
        assert isinstance(self._shared, SGD)
        rates = self._columns["lr"] * factors.rate
        if self._shared.decoupled:
            self._shrink(weights, rates)
        else:
            self._add_weight_decay(weights, gradients)
        if self.state:
            (velocity,), momentum = self.state, self._columns["momentum"]
            velocity.mul_(momentum).add_(gradients)
            if self._shared.nesterov:
                gradients.addcmul_(velocity, momentum)
            else:
                gradients = velocity
        weights.addcmul_(gradients, rates, value=-1)

    def _adam(self, weights: torch.Tensor, gradients: torch.Tensor, factors: Factors) -> None:
        self._add_weight_decay(weights, gradients)
        self._adam_step(weights, gradients, factors)

    def _adamw(self, weights: torch.Tensor, gradients: torch.Tensor, factors: Factors) -> None:
        self._shrink(weights, self._columns["lr"] * factors.rate)
        self._adam_step(weights, gradients, factors)

    def _adam_step(self, weights: torch.Tensor, gradients: torch.Tensor, factors: Factors) -> None:
        assert isinstance(self._shared, Adam)
        mean_beta, square_beta = self._shared.betas
        mean, square = self.state
        mean.mul_(mean_beta).add_(gradients, alpha=1 - mean_beta)
        square.mul_(square_beta).addcmul_(gradients, gradients, value=1 - square_beta)
        denominator = square.sqrt()
        denominator.add_(self._shared.eps * factors.square_correction)
        share = factors.rate * factors.square_correction / factors.mean_correction
        denominator.div_(self._columns["lr"] * share)
        weights.addcdiv_(mean, denominator, value=-1)

    def _rmsprop(self, weights: torch.Tensor, gradients: torch.Tensor, factors: Factors) -> None:
        assert isinstance(self._shared, RMSprop)
        self._add_weight_decay(weights, gradients)
        (square,), alpha = self.state, self._shared.alpha
        square.mul_(alpha).addcmul_(gradients, gradients, value=1 - alpha)
        denominator = square.sqrt().add_(self._shared.eps)
        denominator.div_(self._columns["lr"] * factors.rate)
        weights.addcdiv_(gradients, denominator, value=-1)


def _state_size(optimizer: Optimizer) -> int:
    """Return how many buffers of the weights' size the update rule keeps."""
    if isinstance(optimizer, SGD):
        return 1 if optimizer.momentum else 0
    return 2 if isinstance(optimizer, Adam) else 1


_UPDATES: dict[type, Callable[[StackedOptimizer, torch.Tensor, torch.Tensor, Factors], None]] = {
    SGD: StackedOptimizer._sgd,
    Adam: StackedOptimizer._adam,
    AdamW: StackedOptimizer._adamw,
    RMSprop: StackedOptimizer._rmsprop,
}
