"""Optimizers over stacks of networks, each network with hyperparameters of its own.

The updates are those of ``torch.optim``, step by step, to float32 rounding.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import accumulate, groupby
from typing import Any, NamedTuple

import torch

from pytest_fragility.recipes import SGD, Adam, AdamW, Optimizer, Recipe, RMSprop
from pytest_fragility.training.gradients import Sink, Tensors, like, rows_of

PER_NETWORK = ("lr", "weight_decay", "momentum")
# torch.nn.utils.clip_grad_norm_ adds it to the norm, too
CLIPPING_EPSILON = 1e-6


@lru_cache(maxsize=256)
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
        momentum if adds_alone(recipe) else momentum > 0,
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
    is_plain
        Whether the update adds up gradients alone, in a velocity or in the weights.
    """

    def __init__(self, recipes: Sequence[Recipe], weights: Tensors) -> None:
        first = recipes[0].optimizer
        self._update = _UPDATES[type(first)]
        self._shared = first
        self._schedule = recipes[0].schedule
        self._largest_rate = torch.finfo(weights[0].dtype).max
        self._decays = first.weight_decay > 0
        self._is_decoupled = isinstance(first, AdamW) or getattr(first, "decoupled", False)
        self._clips = recipes[0].gradient_clipping is not None
        self.is_plain = adds_alone(recipes[0])
        self._columns = {
            name: weights[0].new_tensor([getattr(recipe.optimizer, name) for recipe in recipes])
            for name in PER_NETWORK
            if hasattr(first, name)
        }
        if self._clips:
            norms = [recipe.gradient_clipping for recipe in recipes]
            self._columns["gradient_clipping"] = weights[0].new_tensor(norms)
        self.state = [[like(weight) for weight in weights] for _ in range(_state_size(first))]
        is_constant = self._schedule.is_constant and not isinstance(first, Adam)
        self._constant = Factors(1.0) if is_constant else None
        self._gradients: Tensors = []
        self._views: dict[str, Tensors] = {}

    @property
    def has_constant_factors(self) -> bool:
        """Whether the update depends on no number of steps."""
        return self._constant is not None

    def sink(self, weights: Tensors, begin: int = 0) -> Sink:
        """Return where the gradients of these networks go, the first of them at `begin`.

        Where the update is a sum alone, straight into the velocity or the weights.
        """
        end = begin + len(weights[0])
        if not self.is_plain:
            self._gradients = [like(weight) for weight in weights]
            return Sink(begin, end, self._gradients, keep=0)
        if self.state:
            assert isinstance(self._shared, SGD)
            return Sink(begin, end, self.state[0], keep=self._shared.momentum)
        return Sink(begin, end, weights, keep=1)

    def take_gradients_from(self, gradients: Tensors) -> None:
        """Have the update read gradients that somebody else's sink has, of these networks alone."""
        self._gradients = gradients

    def factors(self, step: int) -> Factors:
        """Return what the update depends on where `step` steps were taken before."""
        if self._constant is not None:
            return self._constant
        multiplier = self._schedule.multiplier(step)
        rate = multiplier if multiplier <= self._largest_rate else math.inf
        if not isinstance(self._shared, Adam):
            return Factors(rate)
        mean_beta, square_beta = self._shared.betas
        return Factors(rate, 1 - mean_beta ** (step + 1), (1 - square_beta ** (step + 1)) ** 0.5)

    def write_scale(self, scale: torch.Tensor, factors: Factors) -> None:
        """Write by what each network's gradients have to be multiplied: shape (K,), ones before."""
        if self.is_plain and not self.state:
            torch.mul(self._columns["lr"], -factors.rate, out=scale)

    def step(self, weights: Tensors, factors: Factors) -> None:
        """Update `weights` in place by what has come into the sink.

        Each operation is called once for all parameters: most of a small stack's time is calls.
        """
        if self.is_plain:
            if self.state:
                rates = self._rates(weights, factors)
                torch._foreach_addcmul_(weights, self.state[0], rates, value=-1)
            return
        if self._clips:
            self._clip(self._gradients)
        if self._decays:
            self._decay(weights, factors)
        self._update(self, weights, self._gradients, factors)

    def _over(self, weights: Tensors, values: torch.Tensor) -> Tensors:
        """Return one value for each network, shape (K,), in shapes that multiply each parameter."""
        return [values.view(-1, *(1 for _ in weight.shape[1:])) for weight in weights]

    def _column(self, weights: Tensors, name: str) -> Tensors:
        """Return a hyperparameter in shapes that multiply each parameter, made once."""
        if name not in self._views:
            self._views[name] = self._over(weights, self._columns[name])
        return self._views[name]

    def _rates(self, weights: Tensors, factors: Factors) -> Tensors:
        """Return the learning rates in shapes that multiply each parameter."""
        if isinstance(factors.rate, float) and factors.rate == 1:
            return self._column(weights, "lr")
        return self._over(weights, self._columns["lr"] * factors.rate)

    def keep(self, rows: torch.Tensor) -> None:
        """Keep only these networks, which need a sink anew: `rows` is int64, sorted."""
        self._columns = {
            name: column.index_select(0, rows) for name, column in self._columns.items()
        }
        self._views = {}
        self.state = [[rows_of(each, rows) for each in buffers] for buffers in self.state]

    def _clip(self, gradients: Tensors) -> None:
        norms = torch.stack(
            [torch.linalg.vector_norm(each.unsqueeze(1).flatten(1), dim=1) for each in gradients]
        )
        norm = torch.linalg.vector_norm(norms, dim=0)
        shrink = (self._columns["gradient_clipping"] / (norm + CLIPPING_EPSILON)).clamp_(max=1.0)
        torch._foreach_mul_(gradients, self._over(gradients, shrink))

    def _decay(self, weights: Tensors, factors: Factors) -> None:
        """Shrink the weights, or add to their gradients what would."""
        if self._is_decoupled:
            rates = self._columns["lr"] * factors.rate
            kept = 1 - rates * self._columns["weight_decay"]
            torch._foreach_mul_(weights, self._over(weights, kept))
        else:
            decay = self._column(weights, "weight_decay")
            torch._foreach_addcmul_(self._gradients, weights, decay)

    def _sgd(self, weights: Tensors, gradients: Tensors, factors: Factors) -> None:
        assert isinstance(self._shared, SGD)
        if self.state:
            (velocity,), momentum = self.state, self._column(weights, "momentum")
            torch._foreach_mul_(velocity, momentum)
            torch._foreach_add_(velocity, gradients)
            if self._shared.nesterov:
                torch._foreach_addcmul_(gradients, velocity, momentum)
            else:
                gradients = velocity
        torch._foreach_addcmul_(weights, gradients, self._rates(weights, factors), value=-1)

    def _adam(self, weights: Tensors, gradients: Tensors, factors: Factors) -> None:
        assert isinstance(self._shared, Adam)
        mean_beta, square_beta = self._shared.betas
        mean, square = self.state
        torch._foreach_mul_(mean, mean_beta)
        torch._foreach_add_(mean, gradients, alpha=1 - mean_beta)
        torch._foreach_mul_(square, square_beta)
        torch._foreach_addcmul_(square, gradients, gradients, value=1 - square_beta)
        denominators = torch._foreach_sqrt(square)
        _add_to_each([*denominators], self._shared.eps * factors.square_correction)
        share = factors.rate * factors.square_correction / factors.mean_correction
        torch._foreach_div_(denominators, self._over(weights, self._columns["lr"] * share))
        torch._foreach_addcdiv_(weights, mean, denominators, value=-1)

    def _rmsprop(self, weights: Tensors, gradients: Tensors, factors: Factors) -> None:
        assert isinstance(self._shared, RMSprop)
        (square,), alpha = self.state, self._shared.alpha
        torch._foreach_mul_(square, alpha)
        torch._foreach_addcmul_(square, gradients, gradients, value=1 - alpha)
        denominators = torch._foreach_sqrt(square)
        torch._foreach_add_(denominators, self._shared.eps)
        torch._foreach_div_(denominators, self._rates(weights, factors))
        torch._foreach_addcdiv_(weights, gradients, denominators, value=-1)


def _add_to_each(tensors: Tensors, number: Any) -> None:
    """Add a number, or a scalar tensor, whose value torch would ask the device for."""
    is_tensor = isinstance(number, torch.Tensor)
    torch._foreach_add_(tensors, [number] * len(tensors) if is_tensor else number)


def sinks_of(members: Sequence[tuple[StackedOptimizer, Tensors]]) -> list[Sink]:
    """Return where the gradients of neighbours go, whose optimizers and weights these are.

    Neighbours whose updates read gradients share a sink: each costs a call for each parameter.
    """
    sinks: list[Sink] = []
    begin = 0
    for is_plain, neighbours in groupby(members, key=lambda member: member[0].is_plain):
        stretch = list(neighbours)
        if is_plain:
            for optimizer, weights in stretch:
                sinks.append(optimizer.sink(weights, begin))
                begin += len(weights[0])
            continue
        counts = [len(weights[0]) for _, weights in stretch]
        gradients = [like(weight, sum(counts)) for weight in stretch[0][1]]
        sinks.append(Sink(begin, begin + sum(counts), gradients, keep=0))
        ends = [*accumulate(counts)]
        for (optimizer, _), count, end in zip(stretch, counts, ends, strict=True):
            optimizer.take_gradients_from([each[end - count : end] for each in gradients])
        begin += sum(counts)
    return sinks


def adds_alone(recipe: Recipe) -> bool:
    """Return whether the update adds up gradients alone, in a velocity or in the weights."""
    optimizer = recipe.optimizer
    if not isinstance(optimizer, SGD) or recipe.gradient_clipping is not None:
        return False
    return not optimizer.nesterov and optimizer.weight_decay == 0


def _state_size(optimizer: Optimizer) -> int:
    """Return how many buffers of the weights' size the update rule keeps."""
    if isinstance(optimizer, SGD):
        return 1 if optimizer.momentum else 0
    return 2 if isinstance(optimizer, Adam) else 1


_UPDATES: dict[type, Callable[[StackedOptimizer, Tensors, Tensors, Factors], None]] = {
    SGD: StackedOptimizer._sgd,
    Adam: StackedOptimizer._adam,
    AdamW: StackedOptimizer._adam,
    RMSprop: StackedOptimizer._rmsprop,
}
