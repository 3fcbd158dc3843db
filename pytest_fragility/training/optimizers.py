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
from pytest_fragility.training.sinks import Sink, Tensors, like, rows_of

State = tuple[torch.Tensor, ...]
Columns = dict[str, torch.Tensor]

PER_NETWORK = ("lr", "weight_decay", "momentum")

# torch.nn.utils.clip_grad_norm_ adds it to the norm, too
CLIPPING_EPSILON = 1e-6


def optimizer_group(recipe: Recipe) -> tuple[Any, ...]:
    """Return what networks must share to be updated together.

    All but learning rate, weight decay, the size of clipped gradients, and momentum where more
    than gradients comes into the velocity.
    """
    optimizer = recipe.optimizer
    shared = {
        name: value
        for name, value in dataclasses.asdict(optimizer).items()
        if name not in PER_NETWORK
    }
    momentum = optimizer.momentum if isinstance(optimizer, SGD) else 0.0
    return (
        optimizer.kind,
        momentum if _is_plain(recipe) else momentum > 0,
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

    For each step: `write_scale`, a backward pass into its `sink`, `step`.

    Parameters
    ----------
    recipes
        One per network, all of one `optimizer_group`.
    weights
        The networks' parameters, shape (K, *shape) each: gives shapes, dtype and device.

    Attributes
    ----------
    state
        For each buffer of the rule, one tensor for each parameter.
    """

    def __init__(self, recipes: Sequence[Recipe], weights: Tensors) -> None:
        first = recipes[0].optimizer
        self._update = _UPDATES[type(first)]
        self._shared = first
        self._schedule = recipes[0].schedule
        self._largest_rate = torch.finfo(weights[0].dtype).max
        self._decays = first.weight_decay > 0
        self._clips = recipes[0].gradient_clipping is not None
        self._is_plain = _is_plain(recipes[0])
        self._columns = {
            name: weights[0].new_tensor([getattr(recipe.optimizer, name) for recipe in recipes])
            for name in PER_NETWORK
            if hasattr(first, name)
        }
        if self._clips:
            norms = [recipe.gradient_clipping for recipe in recipes]
            self._columns["gradient_clipping"] = weights[0].new_tensor(norms)
        self.state = [[like(weight) for weight in weights] for _ in range(_state_size(first))]
        self._gradients = [] if self._is_plain else [like(weight) for weight in weights]

    def sink(self, weights: Tensors, begin: int = 0) -> Sink:
        """Return where the gradients of these networks go, the first of them at `begin`.

        Where the update is a sum alone, straight into the velocity or the weights.
        """
        end = begin + len(weights[0])
        if not self._is_plain:
            return Sink(begin, end, self._gradients, keep=0)
        if self.state:
            assert isinstance(self._shared, SGD)
            return Sink(begin, end, self.state[0], keep=self._shared.momentum)
        return Sink(begin, end, weights, keep=1)

    def factors(self, step: int) -> Factors:
        """Return what the update depends on where `step` steps were taken before."""
        multiplier = self._schedule.multiplier(step)
        rate = multiplier if multiplier <= self._largest_rate else math.inf
        if not isinstance(self._shared, Adam):
            return Factors(rate)
        mean_beta, square_beta = self._shared.betas
        return Factors(rate, 1 - mean_beta ** (step + 1), (1 - square_beta ** (step + 1)) ** 0.5)

    def write_scale(self, scale: torch.Tensor, factors: Factors) -> None:
        """Write by what each network's gradients have to be multiplied: shape (K,), ones before."""
        if self._is_plain and not self.state:
            torch.mul(self._columns["lr"], -factors.rate, out=scale)

    def step(self, weights: Tensors, factors: Factors) -> None:
        """Update `weights` in place by what has come into the sink."""
        if self._is_plain:
            if self.state:
                rates = self._columns["lr"] * factors.rate
                for weight, velocity in zip(weights, self.state[0], strict=True):
                    weight.addcmul_(velocity, _column(rates, weight), value=-1)
            return
        if self._clips:
            self._clip(self._gradients)
        states = zip(*self.state, strict=True) if self.state else [()] * len(weights)
        for weight, gradient, state in zip(weights, self._gradients, states, strict=True):
            columns = {name: _column(each, weight) for name, each in self._columns.items()}
            self._update(self, weight, gradient, state, columns, factors)

    def keep(self, rows: torch.Tensor) -> None:
        """Keep only these networks: `rows` is int64, sorted, on the weights' device."""
        self._columns = {
            name: column.index_select(0, rows) for name, column in self._columns.items()
        }
        self.state = [[rows_of(each, rows) for each in buffers] for buffers in self.state]
        self._gradients = [rows_of(each, rows) for each in self._gradients]

    def _clip(self, gradients: Tensors) -> None:
        norms = torch.stack(
            [torch.linalg.vector_norm(each.flatten(1), dim=1) for each in gradients]
        )
        norm = torch.linalg.vector_norm(norms, dim=0)
        shrink = (self._columns["gradient_clipping"] / (norm + CLIPPING_EPSILON)).clamp_(max=1.0)
        for gradient in gradients:
            gradient.mul_(_column(shrink, gradient))

    def _add_weight_decay(
        self, weights: torch.Tensor, gradients: torch.Tensor, columns: Columns
    ) -> None:
        if self._decays:
            gradients.addcmul_(weights, columns["weight_decay"])

    def _shrink(self, weights: torch.Tensor, rates: torch.Tensor, columns: Columns) -> None:
        if self._decays:
            weights.mul_(1 - rates * columns["weight_decay"])

    def _sgd(
        self,
        weights: torch.Tensor,
        gradients: torch.Tensor,
        state: State,
        columns: Columns,
        factors: Factors,
    ) -> None:
        assert isinstance(self._shared, SGD)
        rates = columns["lr"] * factors.rate
        if self._shared.decoupled:
            self._shrink(weights, rates, columns)
        else:
            self._add_weight_decay(weights, gradients, columns)
        if state:
            (velocity,), momentum = state, columns["momentum"]
            velocity.mul_(momentum).add_(gradients)
            if self._shared.nesterov:
                gradients.addcmul_(velocity, momentum)
            else:
                gradients = velocity
        weights.addcmul_(gradients, rates, value=-1)

    def _adam(
        self,
        weights: torch.Tensor,
        gradients: torch.Tensor,
        state: State,
        columns: Columns,
        factors: Factors,
    ) -> None:
        self._add_weight_decay(weights, gradients, columns)
        self._adam_step(weights, gradients, state, columns, factors)

    def _adamw(
        self,
        weights: torch.Tensor,
        gradients: torch.Tensor,
        state: State,
        columns: Columns,
        factors: Factors,
    ) -> None:
        self._shrink(weights, columns["lr"] * factors.rate, columns)
        self._adam_step(weights, gradients, state, columns, factors)

    def _adam_step(
        self,
        weights: torch.Tensor,
        gradients: torch.Tensor,
        state: State,
        columns: Columns,
        factors: Factors,
    ) -> None:
        assert isinstance(self._shared, Adam)
        mean_beta, square_beta = self._shared.betas
        mean, square = state
        mean.mul_(mean_beta).add_(gradients, alpha=1 - mean_beta)
        square.mul_(square_beta).addcmul_(gradients, gradients, value=1 - square_beta)
        denominator = square.sqrt()
        denominator.add_(self._shared.eps * factors.square_correction)
        share = factors.rate * factors.square_correction / factors.mean_correction
        denominator.div_(columns["lr"] * share)
        weights.addcdiv_(mean, denominator, value=-1)

    def _rmsprop(
        self,
        weights: torch.Tensor,
        gradients: torch.Tensor,
        state: State,
        columns: Columns,
        factors: Factors,
    ) -> None:
        assert isinstance(self._shared, RMSprop)
        self._add_weight_decay(weights, gradients, columns)
        (square,), alpha = state, self._shared.alpha
        square.mul_(alpha).addcmul_(gradients, gradients, value=1 - alpha)
        denominator = square.sqrt().add_(self._shared.eps)
        denominator.div_(columns["lr"] * factors.rate)
        weights.addcdiv_(gradients, denominator, value=-1)


def _is_plain(recipe: Recipe) -> bool:
    """Return whether the update adds up gradients alone, in a velocity or in the weights."""
    optimizer = recipe.optimizer
    if not isinstance(optimizer, SGD) or recipe.gradient_clipping is not None:
        return False
    return not optimizer.nesterov and optimizer.weight_decay == 0


def _column(values: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Return one value for each network in a shape that multiplies its weights."""
    return values.view(-1, *(1 for _ in weights.shape[1:]))


def _state_size(optimizer: Optimizer) -> int:
    """Return how many buffers of the weights' size the update rule keeps."""
    if isinstance(optimizer, SGD):
        return 1 if optimizer.momentum else 0
    return 2 if isinstance(optimizer, Adam) else 1


_UPDATES: dict[
    type,
    Callable[[StackedOptimizer, torch.Tensor, torch.Tensor, State, Columns, Factors], None],
] = {
    SGD: StackedOptimizer._sgd,
    Adam: StackedOptimizer._adam,
    AdamW: StackedOptimizer._adamw,
    RMSprop: StackedOptimizer._rmsprop,
}
