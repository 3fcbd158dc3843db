"""Schedules against ``torch.optim.lr_scheduler``, alone and in training."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR, ExponentialLR, LinearLR, StepLR

from pytest_fragility.errors import SettingsError
from pytest_fragility.networks.runs import Run, TrainedRun
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
from pytest_fragility.training.trainer import find_trajectories, plan_shards, train
from tests.reference_training import rate_factor, train_alone

CPU = torch.device("cpu")
TOLERANCES = {"float32": (1e-4, 1e-5), "float64": (1e-10, 1e-10)}

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


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Threads inside an operation only slow such small networks down."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


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


@pytest.mark.parametrize(
    ("schedule", "make", "steps"),
    [
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
    ],
    ids=lambda value: str(value) if isinstance(value, Schedule) else "",
)
def test_rates_equal_torchs(schedule: Schedule, make: Callable[[Any], Any], steps: int) -> None:
    """The rate at each step is that of torch's scheduler of the same name."""
    found = [schedule.multiplier(step) for step in range(steps)]
    assert found == pytest.approx(torch_rates(make, steps), rel=1e-12)


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
def test_rates_equal_the_other_formula(schedule: Schedule) -> None:
    """The reference loop's own words for a schedule say the same, far past its end too."""
    for step in (*range(120), 1000):
        assert schedule.multiplier(step) == pytest.approx(rate_factor(schedule, step), rel=1e-12)


def test_a_cosine_stays_at_its_end() -> None:
    """From its last step on the rate is the factor; half-way it is in the middle."""
    schedule = cosine(40, factor=0.2)
    assert schedule.multiplier(0) == 1
    assert schedule.multiplier(20) == pytest.approx(0.6)
    assert [schedule.multiplier(step) for step in (40, 41, 80, 5000)] == pytest.approx([0.2] * 4)


def test_steps_come_at_once_and_exponentials_gradually() -> None:
    """Both have changed by the factor after so many steps."""
    at_once, gradual = step_decay(10, factor=0.25), exponential(10, factor=0.25)
    assert [at_once.multiplier(step) for step in (0, 9, 10, 19, 20)] == [1, 1, 0.25, 0.25, 0.0625]
    assert gradual.multiplier(5) == pytest.approx(0.5)
    assert gradual.multiplier(20) == pytest.approx(0.0625)


def test_warm_up_multiplies_the_schedule() -> None:
    """The rate grows by equal parts, is never zero, and is the schedule's own from the end on."""
    warm = Schedule(warmup=4)
    assert [warm.multiplier(step) for step in range(6)] == [0.25, 0.5, 0.75, 1, 1, 1]
    plain = exponential(3, factor=0.5)
    both = replace(plain, warmup=4)
    for step, share in enumerate([0.25, 0.5, 0.75, 1, 1, 1]):
        assert both.multiplier(step) == pytest.approx(share * plain.multiplier(step), rel=1e-15)


def test_only_a_constant_rate_is_constant() -> None:
    """A warm-up changes the rate as well."""
    assert [name for name, schedule in SCHEDULES.items() if schedule.is_constant] == ["constant"]
    assert not Schedule(warmup=1).is_constant


@pytest.mark.parametrize(
    ("build", "message"),
    [
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
    ],
)
def test_values_out_of_range_are_named(build: Callable[[], object], message: str) -> None:
    """The error names the setting, the value and what was expected."""
    with pytest.raises(SettingsError, match=message):
        build()


@pytest.mark.parametrize(
    ("schedule", "text"),
    [
        (Schedule(), "constant rate"),
        (Schedule(warmup=5), "constant rate after 5 steps of warm-up"),
        (cosine(100), "cosine to x0.1 in 100 steps"),
        (step_decay(30), "rate x0.5 every 30 steps"),
        (exponential(200, factor=2.0), "rate gradually x2 every 200 steps"),
        (
            replace(cosine(100, factor=0.25), warmup=10),
            "cosine to x0.25 in 100 steps after 10 steps of warm-up",
        ),
    ],
)
def test_descriptions(schedule: Schedule, text: str) -> None:
    """A schedule reads as a person would write it, and a recipe names one that is not constant."""
    assert str(schedule) == text
    assert (f", {text}, batch 16" in str(Recipe(schedule=schedule))) != schedule.is_constant


def train_all(runs: list[Run]) -> list[TrainedRun]:
    """Return the trained runs in the order of `runs`."""
    found = {id(one.run): one for batch in train(runs, CPU) for one in batch}
    return [found[id(run)] for run in runs]


def assert_like_alone(trained: TrainedRun) -> None:
    """Compare a run with the plain loop, to the rounding of its precision."""
    network, steps = train_alone(trained.run)
    assert trained.record.steps == steps
    rtol, atol = TOLERANCES[trained.run.recipe.precision]
    expected = dict(network.state_dict())
    torch.testing.assert_close(trained.weights, expected, rtol=rtol, atol=atol)


@pytest.mark.parametrize("precision", TOLERANCES)
def test_training_under_each_schedule_equals_a_plain_loop(blobs: Task, precision: str) -> None:
    """All schedules under two optimizers in one stack, whose members leave at different steps."""
    optimizers: list[Optimizer] = [
        SGD(lr=0.1, momentum=0.8, weight_decay=0.01, decoupled=True),
        AdamW(lr=0.01, weight_decay=0.05),
        Adam(lr=0.01),
        RMSprop(lr=0.003),
    ]
    stops = itertools.cycle([20, 33, 61])
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
            seed,
        )
        for shift in (0, 1)
        for place, schedule in enumerate(SCHEDULES.values())
        for seed in (2, 3)
    ]
    assert len(plan_shards(find_trajectories(runs), torch.device("cpu"), processes=1)) == 1
    for trained in train_all(runs):
        assert_like_alone(trained)


def test_schedules_that_differ_in_late_digits_are_kept_apart(blobs: Task) -> None:
    """Runs whose rates differ by parts in a million train with their own rates."""
    recipe = Recipe(
        architecture=MLP(hidden=(8,)), optimizer=SGD(lr=0.1), precision="float64", batch_size=8
    )
    runs = [
        Run(
            blobs,
            24,
            recipe.replace(
                schedule=exponential(1, factor=factor), stopping=fixed_steps(50 + place)
            ),
            0,
        )
        for place, factor in enumerate((1.0010015, 1.0010018))
    ]
    for trained in train_all(runs):
        assert_like_alone(trained)


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("factor", [1e3, 1e30])
def test_a_rate_that_outgrows_its_numbers_ends_the_run_alone(
    blobs: Task, precision: str, factor: float
) -> None:
    """A rate beyond what floats hold is a run that diverges, and no error; neighbours train on."""
    recipe = Recipe(architecture=MLP(hidden=()), batch_size=8, precision=precision)
    growing = recipe.replace(
        schedule=exponential(1, factor=factor), stopping=fixed_steps(400), optimizer=SGD(lr=1.0)
    )
    plain = recipe.replace(stopping=fixed_steps(30))
    lost, kept = train_all([Run(blobs, 24, growing, 0), Run(blobs, 24, plain, 0)])
    assert lost.record.diverged and not lost.record.reached_target
    assert_like_alone(kept)
