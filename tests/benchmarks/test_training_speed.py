"""Seconds per network: the batched trainer against a loop over ``torch.optim``, in one run.

Run with ``pytest tests/benchmarks``. Both train networks of the default recipe for the same number
of steps on the same samples, each in the process's default number of threads.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from pytest_fragility.perturbations import get_perturbation
from pytest_fragility.recipes import Recipe, fixed_steps
from pytest_fragility.runs import Run
from pytest_fragility.tasks import digits
from pytest_fragility.training.trainer import train
from tests.reference_training import train_alone

STEPS = 1000
LOOP_NETWORKS = 4
ROUNDS = 3

TASK = digits(label_noise=0.2)
SECONDS_ALONE: dict[str, float] = {}


def runs_of(optimizer: str, networks: int) -> list[Run]:
    """Return runs that differ in their seed alone."""
    baseline = Recipe(stopping=fixed_steps(STEPS))
    recipe = baseline if optimizer == "sgd" else get_perturbation(optimizer)(baseline)
    return [Run(TASK, 256, recipe, seed) for seed in range(networks)]


def time_per_network(benchmark: Any, work: Callable[[], object], networks: int) -> float:
    """Return the median seconds per network."""
    benchmark.pedantic(work, rounds=ROUNDS, warmup_rounds=1)
    seconds: float = benchmark.stats.stats.median / networks
    benchmark.extra_info["seconds_per_network"] = seconds
    return seconds


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_loop_over_torch_optim(benchmark: Any, optimizer: str) -> None:
    """One network after the other."""
    benchmark.group = optimizer
    runs = runs_of(optimizer, LOOP_NETWORKS)

    def work() -> None:
        for run in runs:
            train_alone(run)

    SECONDS_ALONE[optimizer] = time_per_network(benchmark, work, LOOP_NETWORKS)


@pytest.mark.parametrize("networks", [1, 8, 64, 128, 256])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_batched_trainer(benchmark: Any, optimizer: str, networks: int) -> None:
    """Many networks in stacks."""
    benchmark.group = optimizer
    runs = runs_of(optimizer, networks)
    device = torch.device("cpu")
    seconds = time_per_network(benchmark, lambda: list(train(runs, device)), networks)
    if optimizer not in SECONDS_ALONE:
        pytest.skip("the loop that this is compared with was not selected")
    ratio = SECONDS_ALONE[optimizer] / seconds
    benchmark.extra_info["times_faster_than_loop"] = ratio
    print(f"\n{optimizer}, {networks} networks: {ratio:.1f} times faster than the loop")
