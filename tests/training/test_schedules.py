"""Schedules against ``torch.optim.lr_scheduler``, alone and in training."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR, ExponentialLR, LinearLR, StepLR

from pytest_fragility.errors import SettingsError
from pytest_fragility.networks.runs import Run
from pytest_fragility.recipes import (
    MLP,
    SGD,
    Adam,
    AdamW,
    Optimizer,
    Recipe,
    RMSprop,
    Schedule,
    cosine,
    exponential,
    fixed_steps,
    step_decay,
)
from pytest_fragility.tasks import Task
from pytest_fragility.training.trainer import find_trajectories, plan_shards
from tests.reference_training import TOLERANCES, assert_like_alone, rate_factor, train_all

pytestmark = pytest.mark.usefixtures("one_thread")

SCHEDULES: dict[str, Schedule] = {
    "constant": Schedule(),
    "cosine": cosine(40, factor=0.05),
    "short-cosine": cosine(9),
    "rising-cosine": cosine(30, factor=3.0),
    "step-decay": step_decay(7, factor=0.6),
    "step-growth": step_decay(10, factor=1.5),
    "exponential": exponential(20, factor=0.2),
    "growing": exponential(1, factor=1.02),
    "warm-up": Schedule(warmup=12),
    "cosine-warm-up": replace(cosine(40, factor=0.1), warmup=8),
    "exponential-warm-up": replace(exponential(25, factor=2.0), warmup=5),
}


def torch_rates(make: Callable[[Any], Any], steps: int) -> list[float]:
    """Return the rates that a scheduler of torch gives, for an initial rate of 1."""
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    scheduler = make(optimizer)
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


def test_rates_equal_torchs() -> None:
    """The rate at each step is that of torch's scheduler of the same name."""
    for schedule, make, steps in [
        # past its half wave torch's cosine rises again, where ours stays
        (cosine(50), lambda o: CosineAnnealingLR(o, T_max=50, eta_min=0.1), 51),
        (cosine(30, factor=2.0), lambda o: CosineAnnealingLR(o, T_max=30, eta_min=2.0), 31),
        (step_decay(8), lambda o: StepLR(o, step_size=8, gamma=0.5), 60),
        (step_decay(5, factor=1.3), lambda o: StepLR(o, step_size=5, gamma=1.3), 60),
        (exponential(1, factor=0.9), lambda o: ExponentialLR(o, gamma=0.9), 60),
        (exponential(1, factor=1.05), lambda o: ExponentialLR(o, gamma=1.05), 60),
        (exponential(4, factor=16.0), lambda o: ExponentialLR(o, gamma=2.0), 60),
        (
            Schedule(warmup=10),
            lambda o: LinearLR(o, start_factor=0.1, end_factor=1.0, total_iters=9),
            60,
        ),
    ]:
        found = [schedule.multiplier(step) for step in range(steps)]
        assert found == pytest.approx(torch_rates(make, steps), rel=1e-12)


def test_rates_equal_the_other_formula() -> None:
    """The reference loop's own words for a schedule say the same, far past its end too."""
    for schedule in SCHEDULES.values():
        for step in (*range(120), 1000):
            assert schedule.multiplier(step) == pytest.approx(
                rate_factor(schedule, step), rel=1e-12
            )


def test_only_a_constant_rate_is_constant() -> None:
    """A warm-up changes the rate as well."""
    assert [name for name, schedule in SCHEDULES.items() if schedule.is_constant] == ["constant"]
    assert not Schedule(warmup=1).is_constant


def test_values_out_of_range_are_named() -> None:
    """The error names the setting, the value and what was expected."""
    for build, message in [
        (lambda: Schedule(kind="mood"), r"Schedule\.kind='mood': expected one of constant, cos"),
        (lambda: cosine(0), r"Schedule\.steps=0: expected a whole number, at least 1"),
        (lambda: cosine(10, factor=0), r"Schedule\.factor=0: expected a positive number"),
        (lambda: cosine(2.5), r"Schedule\.steps=2\.5"),  # type: ignore[arg-type]
        (lambda: step_decay(-1), r"Schedule\.steps=-1"),
        (lambda: step_decay(5, factor=-0.5), r"Schedule\.factor=-0\.5"),
        (lambda: exponential(5, factor=float("inf")), r"Schedule\.factor=inf"),
        (lambda: exponential(5, factor=float("nan")), r"Schedule\.factor=nan"),
        (lambda: Schedule(steps=100), r"kind='constant', steps=100, factor=1\): expected a factor"),
        (
            lambda: Schedule(factor=0.5),
            r"kind='constant', steps=1, factor=0\.5\): expected a factor",
        ),
        (lambda: Schedule(kind="cosine", steps=9), r"steps=9, factor=1\): expected a factor other"),
        (lambda: exponential(5, factor=1), r"factor=1\): expected a factor other than 1"),
        (lambda: Schedule(warmup=-1), r"Schedule\.warmup=-1: expected a whole number, zero or"),
        (lambda: Schedule(warmup=1.5), r"Schedule\.warmup=1\.5"),  # type: ignore[arg-type]
        (lambda: Schedule(warmup=True), r"Schedule\.warmup=True"),
    ]:
        with pytest.raises(SettingsError, match=message):
            build()


def test_descriptions() -> None:
    """A schedule reads as a person would write it, and a recipe names one that is not constant."""
    for schedule, text in [
        (Schedule(), "constant rate"),
        (Schedule(warmup=5), "constant rate after 5 steps of warm-up"),
        (cosine(100), "cosine to x0.1 in 100 steps"),
        (step_decay(30), "rate x0.5 every 30 steps"),
        (exponential(200, factor=2.0), "rate gradually x2 every 200 steps"),
        (
            replace(cosine(100, factor=0.25), warmup=10),
            "cosine to x0.25 in 100 steps after 10 steps of warm-up",
        ),
    ]:
        assert str(schedule) == text
        assert (f", {text}, batch 16" in str(Recipe(schedule=schedule))) != schedule.is_constant


def test_training_under_each_schedule_equals_a_plain_loop(blobs: Task) -> None:
    """All schedules under two optimizers in one stack, whose members leave at different steps."""
    for precision in TOLERANCES:
        optimizers: list[Optimizer] = [
            SGD(lr=0.1, momentum=0.8, weight_decay=0.01, decoupled=True),
            AdamW(lr=0.01, weight_decay=0.05),
            Adam(lr=0.01),
            RMSprop(lr=0.003),
        ]
        stops = itertools.cycle([15, 26, 45])
        runs = [
            Run(
                blobs,
                24,
                Recipe(
                    architecture=MLP(hidden=(8, 5)),
                    optimizer=optimizers[(place + shift) % 4],
                    schedule=schedule,
                    batch_size=8,
                    precision=precision,
                    stopping=fixed_steps(next(stops)),
                ),
                2 + shift,
            )
            for shift in (0, 1)
            for place, schedule in enumerate(SCHEDULES.values())
        ]
        assert len(plan_shards(find_trajectories(runs), torch.device("cpu"), processes=1)) == 1
        for trained in train_all(runs):
            assert_like_alone(trained)


def test_a_rate_that_outgrows_its_numbers_ends_the_run_alone(blobs: Task) -> None:
    """A rate beyond what floats hold is a run that diverges, and no error; neighbours train on."""
    for factor in [1e3, 1e30]:
        for precision in ["float32", "float64"]:
            recipe = Recipe(architecture=MLP(hidden=()), batch_size=8, precision=precision)
            growing = recipe.replace(
                schedule=exponential(1, factor=factor),
                stopping=fixed_steps(400),
                optimizer=SGD(lr=1.0),
            )
            plain = recipe.replace(stopping=fixed_steps(30))
            lost, kept = train_all([Run(blobs, 24, growing, 0), Run(blobs, 24, plain, 0)])
            assert lost.record.diverged and not lost.record.reached_target
            assert_like_alone(kept)
