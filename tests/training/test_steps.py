"""Steps that are recorded once and played for every batch, as on CUDA; here they are called."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from pytest_fragility.networks.runs import Run, TrainedRun
from pytest_fragility.recipes import (
    CNN,
    MLP,
    SGD,
    Adam,
    AdamW,
    Recipe,
    ResNet,
    RMSprop,
    ViT,
    cosine,
    cross_entropy_below,
    fixed_steps,
)
from pytest_fragility.training import steps as steps_module
from pytest_fragility.training.cuda_streams import Replay
from pytest_fragility.training.steps import Recording
from pytest_fragility.training.trainer import find_trajectories, plan_shards
from pytest_fragility.training.training_loop import Shard
from tests.sample_architectures import BUILT_IN, OWN
from tests.training.test_architectures import IMAGES

CPU = torch.device("cpu")
MAPPED = {**BUILT_IN, **OWN}


class Tape:
    """Records by remembering the function; counts recordings and plays.

    Parameters
    ----------
    warm_up
        How often the function is called while it is recorded.
    """

    def __init__(self, warm_up: int) -> None:
        self.warm_up = warm_up
        self.recorded = self.played = 0

    def record(self, function: Replay) -> Replay:
        """Return what calls the function again."""
        self.recorded += 1
        for _ in range(self.warm_up):
            function()

        def replay() -> None:
            self.played += 1
            function()

        return replay


class AsksNothing(TorchDispatchMode):
    """Raises where a value is asked for: a device could not be recorded so."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default):
            raise AssertionError(f"{func} is called while a step is recorded")
        return func(*args, **(kwargs or {}))


def train_in_one_stack(runs: Sequence[Run], recording: Recording | None) -> list[TrainedRun]:
    """Return the trained runs in the order of `runs`."""
    (stack,) = plan_shards(find_trajectories(runs), CPU, processes=1)
    found = {id(one.run): one for batch in Shard(stack, CPU, recording).train() for one in batch}
    return [found[id(run)] for run in runs]


OPTIMIZERS = [
    SGD(lr=0.1, weight_decay=0.01),
    SGD(lr=0.02, momentum=0.9, nesterov=True),
    SGD(lr=0.02, momentum=0.9, weight_decay=0.01, decoupled=True),
    Adam(lr=0.01, weight_decay=0.01),
    AdamW(lr=0.01),
    RMSprop(lr=0.0005),
]


@pytest.mark.parametrize("architecture", MAPPED)
def test_a_recorded_step_asks_the_device_for_no_value(architecture: str) -> None:
    """It could not be recorded; every optimizer, schedule and clipping."""
    recipe = Recipe(
        architecture=MAPPED[architecture],
        batch_size=8,
        stopping=fixed_steps(1),
        schedule=cosine(40).with_warmup(5),
    )
    runs = [
        Run(IMAGES, 20, recipe.replace(optimizer=optimizer, gradient_clipping=clipping), 0)
        for optimizer in OPTIMIZERS
        for clipping in (None, 1.0)
    ]

    def record(function: Replay) -> Replay:
        with AsksNothing():
            function()
        return function

    assert len(train_in_one_stack(runs, record)) == len(runs)


@pytest.mark.parametrize("warm_up", [0, 3])
@pytest.mark.parametrize(
    "architecture",
    [
        MLP(hidden=(8,)),
        CNN(channels=(3,)),
        ResNet(width=3),
        ViT(width=8, heads=2, depth=1, dropout=0.2),
    ],
    ids=str,
)
def test_recorded_steps_are_those_that_are_called(
    architecture: MLP | CNN | ResNet | ViT, warm_up: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every optimizer, schedules and clipping, stops at several times; tables that are refilled.

    What a recording does to weights, statistics and dropout is undone.
    """
    monkeypatch.setattr(steps_module, "CAPACITY", 16)
    recipe = Recipe(architecture=architecture, batch_size=8, precision="float64")
    runs = [
        Run(
            IMAGES,
            n,
            recipe.replace(
                optimizer=optimizer,
                stopping=fixed_steps(count),
                schedule=cosine(40).with_warmup(5),
                gradient_clipping=1.0 if n == 20 else None,
            ),
            seed,
        )
        for optimizer in OPTIMIZERS
        for n, count, seed in ((20, 60, 0), (33, 25, 1))
    ]
    tape = Tape(warm_up)
    found = train_in_one_stack(runs, tape.record)
    expected = train_in_one_stack(runs, None)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours.state.weights, theirs.state.weights, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(ours.state.buffers, theirs.state.buffers, rtol=1e-9, atol=1e-9)
        assert ours.record.steps == theirs.record.steps
        assert ours.record.train_loss == pytest.approx(theirs.record.train_loss, rel=1e-7)
    # half of the networks leave at step 25: a second recording
    assert tape.recorded == 2
    assert tape.played == 60


def test_a_few_that_are_done_stay_in_a_recorded_stack() -> None:
    """A recording is made anew where a quarter is gone; those that stay on change nothing."""
    recipe = Recipe(architecture=MLP(hidden=(8,)), batch_size=8, precision="float64")
    counts = [10, 20, 30, 40, 50, 60, 70, 80]
    runs = [
        Run(IMAGES, 20, recipe.replace(stopping=fixed_steps(count)), seed)
        for seed, count in enumerate(counts)
    ]
    tape = Tape(0)
    found = train_in_one_stack(runs, tape.record)
    for one, count in zip(found, counts, strict=True):
        assert one.record.steps == count
    # 8 networks, then 6, 4, 3, 2 and 1
    assert tape.recorded == 6
    for ours, theirs in zip(found, train_in_one_stack(runs, None), strict=True):
        torch.testing.assert_close(ours.weights, theirs.weights, rtol=1e-9, atol=1e-9)


def test_targets_are_met_at_the_same_step() -> None:
    """Losses that decide when to look are summed up in a recording as well."""
    recipe = Recipe(
        architecture=MLP(hidden=(8,)), precision="float64", stopping=cross_entropy_below(0.5)
    )
    runs = [Run(IMAGES, n, recipe, seed) for n in (20, 40) for seed in (0, 1)]
    tape = Tape(1)
    found, expected = train_in_one_stack(runs, tape.record), train_in_one_stack(runs, None)
    assert [one.record.steps for one in found] == [one.record.steps for one in expected]
    assert all(one.record.reached_target for one in found)
