"""When training ends, and what is recorded then."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch.nn import functional

from pytest_fragility.networks import build_network
from pytest_fragility.networks.runs import Run, TrainedRun, TrainingRecord
from pytest_fragility.recipes import (
    MLP,
    SGD,
    Adam,
    Recipe,
    StoppingRule,
    cross_entropy_below,
    fixed_steps,
    full_train_accuracy,
)
from pytest_fragility.tasks import Task
from pytest_fragility.tasks.sampling import training_subset
from pytest_fragility.training.trajectories import Trajectory, is_met, loss_gate, next_check
from tests.reference_training import train_all

pytestmark = pytest.mark.usefixtures("one_thread")
LAYERS = MLP(hidden=(16,))


def train_one(task: Task, stopping: StoppingRule, optimizer: SGD | Adam) -> TrainedRun:
    """Return one trained run on 32 samples."""
    recipe = Recipe(architecture=LAYERS, optimizer=optimizer, batch_size=8, stopping=stopping)
    return train_all([Run(task, 32, recipe, 0)])[0]


def evaluate(trained: TrainedRun) -> tuple[float, float, int]:
    """Return train loss, train error and test mistakes, from the weights and plain torch."""
    data, run = trained.run.task.data, trained.run
    network = build_network(run.recipe.architecture, data.input_shape, data.classes).double()
    network.load_state_dict(trained.weights)
    subset = training_subset(data, run.n, run.seed)
    with torch.no_grad():
        labels = torch.from_numpy(data.train_labels[subset])
        logits = network(torch.from_numpy(data.train_inputs[subset]).double())
        loss = functional.cross_entropy(logits, labels).item()
        error = (logits.argmax(dim=1) != labels).double().mean().item()
        test_logits = network(torch.from_numpy(data.test_inputs).double())
        mistakes = (test_logits.argmax(dim=1) != torch.from_numpy(data.test_labels)).sum()
    return loss, error, int(mistakes)


def test_checks_come_every_ten_steps_then_every_five_percent() -> None:
    """Checks are ten steps apart, or at most 5 % and ten steps, and fall on tens."""
    step, checks = 0, []
    while step < 20_000:
        step = next_check(step)
        checks.append(step)
    assert checks[:20] == list(range(10, 210, 10))
    assert all(check % 10 == 0 for check in checks)
    for before, after in itertools.pairwise(checks[20:]):
        assert 1.05 * before <= after + 1e-9 <= 1.05 * before + 10 or after == before + 10


def test_rules_are_met_below_their_target() -> None:
    """The cross-entropy must be below the target, the error zero, the steps taken."""
    below = cross_entropy_below(0.1)
    assert is_met(below, step=1, train_loss=0.0999, train_error=0.5)
    assert not is_met(below, step=1, train_loss=0.1, train_error=0.0)
    assert not is_met(below, step=1, train_loss=float("nan"), train_error=0.0)
    accurate = full_train_accuracy()
    assert is_met(accurate, step=1, train_loss=5.0, train_error=0.0)
    assert not is_met(accurate, step=1, train_loss=0.0, train_error=0.001)
    assert is_met(fixed_steps(7), step=7, train_loss=5.0, train_error=1.0)
    assert not is_met(fixed_steps(7), step=6, train_loss=0.0, train_error=0.0)


def test_a_full_pass_is_spared_far_from_the_target() -> None:
    """Only a loss above twice the target, or a fixed number of steps, spares the pass."""
    assert loss_gate(cross_entropy_below(0.1)) == 0.2
    assert loss_gate(full_train_accuracy()) == math.inf
    assert loss_gate(fixed_steps(10)) == -math.inf


def test_only_runs_near_their_target_are_looked_at(blobs: Task) -> None:
    """At checks; at other steps none is, but at its limit."""
    for rule, recent_loss, is_looked_at in [
        (cross_entropy_below(0.1), 0.2, True),
        (cross_entropy_below(0.1), 0.201, False),
        (full_train_accuracy(), 100.0, True),
        (fixed_steps(10), 0.0, False),
        (fixed_steps(10), math.nan, True),
    ]:
        run = Run(blobs, 32, Recipe(architecture=LAYERS, stopping=rule), 0)
        trajectory = Trajectory([run])
        assert len(trajectory.to_look_at(5, recent_loss, is_check=True)) == is_looked_at
        assert trajectory.to_look_at(5, recent_loss, is_check=False) == []
        (pending,) = trajectory.to_look_at(trajectory.next_limit, recent_loss, is_check=False)
        assert pending.run is run


def test_a_diverged_run_ends_and_says_so(blobs: Task) -> None:
    """Its loss is not finite, it has reached nothing, and it ends soon."""
    for stopping in [
        fixed_steps(200),
        fixed_steps(10),
        cross_entropy_below(0.1),
        full_train_accuracy(),
    ]:
        record = train_one(blobs, stopping, SGD(lr=1e6, momentum=0.9)).record
        assert record.diverged and not record.reached_target
        assert not torch.isfinite(torch.tensor(record.train_loss))
        assert record.steps < 200


def test_records_equal_a_recomputation(blobs: Task) -> None:
    """Loss, error and mistakes are those of the weights that come with them."""
    recipes = [
        Recipe(architecture=LAYERS, optimizer=optimizer, batch_size=8, stopping=stopping)
        for optimizer in (SGD(lr=0.1), Adam(lr=0.01))
        for stopping in (
            fixed_steps(25),
            cross_entropy_below(0.4),
            full_train_accuracy(),
            cross_entropy_below(0.01, step_limit=30),
        )
    ]
    runs = [Run(blobs, n, recipe, seed) for recipe in recipes for n in (16, 48) for seed in (0, 1)]
    for trained in train_all(runs):
        loss, error, mistakes = evaluate(trained)
        record = trained.record
        assert record.train_loss == pytest.approx(loss, rel=1e-5)
        assert record.train_error == pytest.approx(error, abs=1e-12)
        assert (record.test_mistakes, record.test_size) == (mistakes, 60)


def test_test_error_is_never_zero() -> None:
    """Mistakes are corrected for continuity: a half more, of one more."""
    record = TrainingRecord(10, True, False, 0.1, 0.0, 0, 499)
    assert record.test_error == pytest.approx(0.001)
    worst = TrainingRecord(10, True, False, 0.1, 0.0, 499, 499)
    assert worst.test_error == pytest.approx(0.999)


def test_overtimes_multiply() -> None:
    """Overtime on overtime is a rule of its own; times one is none."""
    rule = cross_entropy_below(0.2, step_limit=70)
    assert rule.with_overtime(2).with_overtime(3) == rule.with_overtime(6)
    assert rule.with_overtime(1) == rule != rule.with_overtime(2)
    assert rule.with_overtime(6).last_step(35) == 210
    assert rule.with_overtime(1.5).last_step(35) == 53
    assert str(fixed_steps(30).with_overtime(2)) == str(fixed_steps(60)) == "60 steps"


def test_overtime_is_described() -> None:
    """A rule says how far it goes on."""
    for rule, text in [
        (
            cross_entropy_below(0.1).with_overtime(4),
            "train cross-entropy < 0.1 and on to x4 the steps",
        ),
        (
            full_train_accuracy().with_overtime(1.5),
            "100 % train accuracy and on to x1.5 the steps",
        ),
        (full_train_accuracy().with_overtime(1), "100 % train accuracy"),
        (fixed_steps(7).with_overtime(1.5), "11 steps"),
    ]:
        assert str(rule) == text
