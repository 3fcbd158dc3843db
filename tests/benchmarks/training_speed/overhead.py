"""What share of the trainer's time is neither forward nor backward pass nor optimizer step."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
import torch

from pytest_fragility.training.optimizers import StackedOptimizer
from pytest_fragility.training.stacking import StackedForm
from pytest_fragility.training.trainer import train
from tests.benchmarks.training_speed.cases import Case
from tests.benchmarks.training_speed.cores import threads_set


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

    def wrap_passes(self, stack: Callable[..., Any]) -> Callable[..., Any]:
        """Return what makes stacked networks whose forward and backward passes are timed."""

        def timed(*arguments: Any, **named: Any) -> Any:
            network = stack(*arguments, **named)
            bind = network.bind
            network.bind = lambda *tensors: self.wrap(bind(*tensors))
            return network

        return timed


def overhead(case: Case, networks: int) -> float:
    """Return the share for a family that one process trains."""
    clock = _Clock()
    with pytest.MonkeyPatch.context() as patch, threads_set(1):
        patch.setattr(StackedForm, "stack", clock.wrap_passes(StackedForm.stack))
        patch.setattr(StackedOptimizer, "step", clock.wrap(StackedOptimizer.step))
        begin = time.perf_counter()
        for _ in train(case.runs(networks), torch.device("cpu")):
            pass
        seconds = time.perf_counter() - begin
    return 1 - clock.seconds / seconds
