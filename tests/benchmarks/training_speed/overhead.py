"""What share of the trainer's time is neither forward nor backward pass nor optimizer step."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import pytest
import torch

from pytest_fragility.networks.runs import Run
from pytest_fragility.training.stacked_forms import StackedForm
from pytest_fragility.training.stacked_optimizers import StackedOptimizer
from pytest_fragility.training.trainer import train
from tests.benchmarks.training_speed.cores import threads_set


class Shares(NamedTuple):
    """Parts of a training's time.

    Parameters
    ----------
    steps
        Forward and backward passes on batches, and optimizer steps.
    evaluation
        Forward passes of evaluations, on training subsets and test sets.
    """

    steps: float
    evaluation: float

    @property
    def overhead(self) -> float:
        """The rest."""
        return 1 - self.steps - self.evaluation

    def __str__(self) -> str:
        return (
            f"steps {self.steps:.1%}, evaluations' forward passes {self.evaluation:.1%}, "
            f"overhead {self.overhead:.1%} of the time"
        )


class _Clock:
    """Adds up what the calls of wrapped functions take."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def wrap(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any, **named: Any) -> Any:
            begin = time.perf_counter()
            result = function(*arguments, **named)
            self.seconds += time.perf_counter() - begin
            return result

        return timed


def shares(runs: Sequence[Run]) -> Shares:
    """Return the shares for runs that one process trains."""
    steps, evaluation = _Clock(), _Clock()
    stack = StackedForm.stack

    def timed_stack(*arguments: Any, **named: Any) -> Any:
        network = stack(*arguments, **named)
        bind = network.bind
        network.bind = lambda *tensors: steps.wrap(bind(*tensors))
        network.logits = evaluation.wrap(network.logits)
        return network

    with pytest.MonkeyPatch.context() as patch, threads_set(1):
        patch.setattr(StackedForm, "stack", timed_stack)
        patch.setattr(StackedOptimizer, "step", steps.wrap(StackedOptimizer.step))
        begin = time.perf_counter()
        for _ in train(runs, torch.device("cpu")):
            pass
        seconds = time.perf_counter() - begin
    return Shares(steps.seconds / seconds, evaluation.seconds / seconds)
