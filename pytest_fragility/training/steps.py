"""Optimizer steps of a stack, one after the other, without asking the device anything between."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch

from pytest_fragility.training.buffers import Carried
from pytest_fragility.training.cuda_streams import Replay, sent
from pytest_fragility.training.gradients import Tensors
from pytest_fragility.training.perceptron_stacks import Losses
from pytest_fragility.training.stacked_optimizers import Factors, StackedOptimizer

# of batches that are fetched at a time: samples come faster while they stay in a CPU's caches
FETCHED_BYTES = 1 << 22
# batches that wait on a device while its recorded step is played
CAPACITY = 256

Recording = Callable[[Replay], Replay]


@dataclass(frozen=True)
class Group:
    """Networks that stand together and have one update rule.

    Parameters
    ----------
    optimizer
        The rule.
    weights
        Their parameters, shape (networks, *shape) each.
    scale
        By what their gradients are multiplied, shape (networks,).
    """

    optimizer: StackedOptimizer
    weights: Tensors
    scale: torch.Tensor


@dataclass(frozen=True)
class StackStep:
    """One optimizer step of a stack.

    Parameters
    ----------
    losses
        Returns each network's loss on its batch and passes on its gradients.
    groups
        Together, all networks.
    inputs, labels
        All samples there are.
    carried
        What the stack carries along.
    loss_sums
        Shape (K,): the batches' losses are added to it.
    """

    losses: Losses
    groups: Sequence[Group]
    inputs: torch.Tensor
    labels: torch.Tensor
    carried: Carried
    loss_sums: torch.Tensor

    def labels_of(self, places: torch.Tensor) -> torch.Tensor:
        """Return the labels of samples at `places`, int64, in their shape."""
        return self.labels.index_select(0, places.flatten()).view(places.shape)

    def write_scales(self, factors: Sequence[Factors]) -> None:
        """Write by what gradients are multiplied: before a step whose factors are new."""
        for group, own in zip(self.groups, factors, strict=True):
            group.optimizer.write_scale(group.scale, own)

    def take(self, inputs: torch.Tensor, labels: torch.Tensor, factors: Sequence[Factors]) -> None:
        """Take the step on a batch for each network, with scales that have been written.

        Parameters
        ----------
        inputs
            Shape (K, batch, *input shape).
        labels
            Shape (K, batch).
        factors
            By group.
        """
        self.loss_sums.add_(self.losses(inputs, labels))
        for group, own in zip(self.groups, factors, strict=True):
            group.optimizer.step(group.weights, own)

    def factors(self, step: int) -> list[Factors]:
        """Return the factors of each group where `step` steps were taken before."""
        return [group.optimizer.factors(step) for group in self.groups]

    @cached_property
    def has_constant_factors(self) -> bool:
        """Whether these are the same for every step."""
        return all(group.optimizer.has_constant_factors for group in self.groups)

    @property
    def changed(self) -> list[torch.Tensor]:
        """Everything that outlives a step and is changed by it."""
        return [
            *(weight for group in self.groups for weight in group.weights),
            *(each for group in self.groups for state in group.optimizer.state for each in state),
            *self.carried.tensors.values(),
            self.carried.steps,
            self.loss_sums,
        ]


class PlainSteps:
    """Every operation is called for every step, on batches that are fetched for some at a time."""

    def __init__(self, step: StackStep) -> None:
        self._step = step
        self._factors: list[Factors] = []
        # memory for batches, which is written to anew
        self._inputs = step.inputs.new_empty(0)

    def take(self, places: torch.Tensor, start: int) -> None:
        """Take steps on samples at `places`, shape (steps, K, batch); `start` were taken before."""
        together = self._steps_together(places)
        for begin in range(0, len(places), together):
            self._take(places[begin : begin + together], start + begin)

    def _steps_together(self, places: torch.Tensor) -> int:
        """Return for how many steps batches are fetched at a time."""
        inputs = self._step.inputs
        sample_bytes = inputs.element_size() * math.prod(inputs.shape[1:])
        return max(1, FETCHED_BYTES // (sample_bytes * math.prod(places.shape[1:])))

    def _take(self, places: torch.Tensor, start: int) -> None:
        step = self._step
        shape = (*places.shape, *step.inputs.shape[1:])
        if self._inputs.shape != shape:
            self._inputs = step.inputs.new_empty(shape)
        torch.index_select(step.inputs, 0, places.flatten(), out=self._inputs.flatten(0, 2))
        batches = zip(self._inputs, step.labels_of(places), strict=True)
        for number, (inputs, labels) in enumerate(batches, start=start):
            if not (self._factors and step.has_constant_factors):
                self._change_factors(step.factors(number))
            step.take(inputs, labels, self._factors)

    def _change_factors(self, factors: list[Factors]) -> None:
        if factors != self._factors:
            self._step.write_scales(factors)
            self._factors = factors


class RecordedSteps:
    """A step is recorded once, and played for every batch: the device waits for nobody.

    Batches and factors lie in tables on the device, from which each step takes the next row.

    Parameters
    ----------
    step
        What is recorded.
    record
        Returns what plays a function again; the function has been called, or has not.
    """

    def __init__(self, step: StackStep, record: Recording) -> None:
        self._step = step
        self._record = record
        self._replay: Replay | None = None
        device = step.loss_sums.device
        self._row = torch.zeros(1, dtype=torch.int64, device=device)
        self._places = torch.empty(0, device=device)
        width = len(Factors._fields) * len(step.groups)
        self._factors = torch.ones(CAPACITY, width, dtype=step.loss_sums.dtype, device=device)
        self._rows: list[list[float]] = []

    def take(self, places: torch.Tensor, start: int) -> None:
        """See `PlainSteps.take`."""
        for begin in range(0, len(places), CAPACITY):
            part = places[begin : begin + CAPACITY]
            self._fill(part, start + begin)
            replay = self._recorded()
            for _ in range(len(part)):
                replay()

    def _fill(self, places: torch.Tensor, start: int) -> None:
        """Put batches and factors where the recorded step finds them."""
        if self._places.shape[1:] != places.shape[1:]:
            self._places = places.new_zeros(CAPACITY, *places.shape[1:])
        self._places[: len(places)] = places
        rows = [
            [value for own in self._step.factors(number) for value in own]
            for number in range(start, start + len(places))
        ]
        if rows != self._rows:
            values = torch.tensor(rows, dtype=self._factors.dtype)
            self._factors[: len(rows)] = sent(values, self._factors.device)
            self._rows = rows
        self._row.zero_()

    def _recorded(self) -> Replay:
        if self._replay is None:
            changed = [*self._step.changed, self._row]
            before = [tensor.clone() for tensor in changed]
            self._replay = self._record(self._take_next)
            for tensor, value in zip(changed, before, strict=True):
                tensor.copy_(value)
        return self._replay

    def _take_next(self) -> None:
        """Take the step on the next row of the tables."""
        places = self._places.index_select(0, self._row)[0]
        row = self._factors.index_select(0, self._row)[0]
        size = len(Factors._fields)
        factors = [
            Factors(*row[begin : begin + size].unbind()) for begin in range(0, len(row), size)
        ]
        self._step.write_scales(factors)
        chosen = self._step.inputs.index_select(0, places.flatten())
        inputs = chosen.view(*places.shape, *chosen.shape[1:])
        self._step.take(inputs, self._step.labels_of(places), factors)
        self._row.add_(1)


def stretches(keys: Sequence[object]) -> Iterator[tuple[int, int]]:
    """Yield begin and end of every stretch of equal neighbours."""
    begin = 0
    for end in range(1, len(keys) + 1):
        if end == len(keys) or keys[end] != keys[begin]:
            yield begin, end
            begin = end
