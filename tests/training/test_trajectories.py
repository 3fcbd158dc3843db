"""Runs that differ in their stopping rule alone: trained once, with the results of each alone."""

from __future__ import annotations

import dataclasses
import math
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_fragility.networks.runs import Run, TrainedRun
from pytest_fragility.recipes import (
    MLP,
    SGD,
    Adam,
    Recipe,
    StoppingRule,
    cosine,
    cross_entropy_below,
    fixed_steps,
    full_train_accuracy,
    step_decay,
)
from pytest_fragility.tasks import Task, TaskData
from pytest_fragility.training.stacked_optimizers import StackedOptimizer
from pytest_fragility.training.trainer import find_trajectories
from pytest_fragility.training.trajectories import Trajectory, next_check
from tests.reference_training import assert_same, train_all

pytestmark = pytest.mark.usefixtures("one_thread")
# reaches accuracy and cross-entropies of 0.6 to 0.05 after some tens to hundreds of steps
RECIPE = Recipe(architecture=MLP(hidden=(16,)), optimizer=SGD(lr=0.1), batch_size=8)
DIVERGING = RECIPE.replace(optimizer=SGD(lr=1e6, momentum=0.9))


@pytest.fixture
def updates(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A list that gets, for every optimizer step, the number of networks updated."""
    counts: list[int] = []
    plain_step = StackedOptimizer.step

    def step(self: StackedOptimizer, weights: list[torch.Tensor], *others: Any) -> None:
        counts.append(len(weights[0]))
        plain_step(self, weights, *others)

    monkeypatch.setattr(StackedOptimizer, "step", step)
    return counts


def load_blobs() -> TaskData:
    """Return three Gaussian blobs that overlap: 100 samples to train on, 40 to test on."""
    generator = np.random.default_rng(0)
    centres = generator.normal(size=(3, 6))
    labels = generator.integers(3, size=140)
    inputs = centres[labels] + 0.8 * generator.normal(size=(140, 6))
    return TaskData(inputs[:100], labels[:100], inputs[100:], labels[100:])


TASK = Task("overlapping blobs", load_blobs)


def make_run(rule: StoppingRule, seed: int = 0, recipe: Recipe = RECIPE) -> Run:
    """Return a run on 32 samples."""
    return Run(TASK, 32, recipe.replace(stopping=rule), seed)


@cache
def train_alone(rule: StoppingRule, seed: int = 0, recipe: Recipe = RECIPE) -> TrainedRun:
    """Return the run with one stopping rule, trained by itself."""
    return train_all([make_run(rule, seed, recipe)])[0]


MIXED: list[StoppingRule] = [
    fixed_steps(3),
    fixed_steps(40),
    fixed_steps(57).with_overtime(2),
    cross_entropy_below(0.5),
    cross_entropy_below(0.3).with_overtime(1.5),
    cross_entropy_below(0.3).with_overtime(3),
    cross_entropy_below(1e-9, step_limit=33),
    full_train_accuracy(),
    full_train_accuracy().with_overtime(2),
    full_train_accuracy(step_limit=7),
]


def test_runs_that_differ_in_stopping_alone_share_a_trajectory() -> None:
    """One trajectory for each data, size, seed and rest of the recipe."""
    courses = [
        RECIPE,
        RECIPE.replace(batch_size=4),
        RECIPE.replace(optimizer=SGD(lr=0.2)),
        RECIPE.replace(schedule=cosine(100)),
        RECIPE.replace(label_smoothing=0.1),
        RECIPE.replace(gradient_clipping=1.0),
        RECIPE.replace(sample_order=1),
        RECIPE.replace(initialization="orthogonal"),
        RECIPE.replace(initialization_scale=2.0),
        RECIPE.replace(precision="float64"),
        RECIPE.replace(architecture=MLP(hidden=(8,))),
    ]
    runs = [
        Run(TASK, n, course.replace(stopping=rule), seed)
        for rule in (fixed_steps(5), cross_entropy_below(0.2), full_train_accuracy())
        for course in courses
        for n in (16, 32)
        for seed in (0, 1)
    ]
    found = find_trajectories(runs)
    assert len(found) == len(runs) / 3
    assert len({id(trajectory.first) for trajectory in found}) == len(found)


def test_a_trajectory_is_trained_once(updates: list[int]) -> None:
    """As many updates as the longest run takes steps, for as many networks as trajectories."""
    trained = train_all([make_run(rule) for rule in MIXED])
    longest = max(one.record.steps for one in trained)
    assert updates == [1] * longest
    assert sum(one.record.steps for one in trained) > 2 * longest


def test_two_trajectories_end_each_with_its_last_run(updates: list[int]) -> None:
    """A network leaves the stack when its last run has ended, and not with the first."""
    lengths = {0: (5, 20, 47), 1: (12, 33)}
    runs = [make_run(fixed_steps(steps), seed) for seed, ends in lengths.items() for steps in ends]
    assert [one.record.steps for one in train_all(runs)] == [5, 20, 47, 12, 33]
    assert updates == [2] * 33 + [1] * 14


def test_a_mixture_of_rules_equals_each_alone() -> None:
    """Weights, initial weights and records are those of each run by itself."""
    for rule, trained in zip(MIXED, train_all([make_run(rule) for rule in MIXED]), strict=True):
        assert_same(trained, train_alone(rule))


def test_ends_between_checks_leave_the_recent_loss_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rule is looked at by the mean loss since the last check, and not since another's end."""
    seen: list[float] = []
    look = Trajectory.to_look_at

    def note(self: Trajectory, step: int, recent_loss: float, *, is_check: bool) -> Any:
        if is_check and waiting in self.pending:
            seen.append(recent_loss)
        return look(self, step, recent_loss, is_check=is_check)

    monkeypatch.setattr(Trajectory, "to_look_at", note)
    waiting = make_run(cross_entropy_below(0.1, step_limit=60))
    train_all([waiting])
    alone = seen.copy()
    seen.clear()
    between = [make_run(fixed_steps(steps), seed) for steps in (7, 19, 33) for seed in (0, 1)]
    train_all([*between, waiting])
    assert seen == alone and len(alone) == 6


def test_results_of_one_trajectory_share_no_memory() -> None:
    """Changing one result changes no other, whether they end together or apart."""
    runs = [make_run(rule) for rule in (fixed_steps(20), fixed_steps(20), fixed_steps(30))]
    first, *others = train_all(runs)
    for weight in (*first.weights.values(), *first.initial_weights.values()):
        weight.fill_(7)
    for trained in others:
        assert_same(trained, train_alone(trained.run.recipe.stopping))


limits = st.one_of(st.integers(1, 60), st.integers(100, 250))
rules: st.SearchStrategy[StoppingRule] = st.builds(
    StoppingRule.with_overtime,
    st.one_of(
        st.integers(1, 90).map(fixed_steps),
        st.builds(
            lambda target, limit: cross_entropy_below(target, step_limit=limit),
            st.sampled_from([0.8, 0.5, 0.3, 0.15, 1e-9]),
            limits,
        ),
        limits.map(lambda limit: full_train_accuracy(step_limit=limit)),
    ),
    st.sampled_from([1, 1, 1.5, 2, 2.7]),
)


@settings(deadline=None, max_examples=40, derandomize=True)
@given(chosen=st.lists(st.tuples(rules, st.integers(0, 1)), min_size=2, max_size=7))
def test_any_rules_together_equal_each_alone(chosen: list[tuple[StoppingRule, int]]) -> None:
    """Whatever other rules share its trajectory or its stack, a run ends as it does alone."""
    together = train_all([make_run(rule, seed) for rule, seed in chosen])
    for (rule, seed), trained in zip(chosen, together, strict=True):
        assert_same(trained, train_alone(rule, seed))


@settings(deadline=None, max_examples=40, derandomize=True)
@given(rule=rules, seed=st.integers(0, 1))
def test_a_run_alone_ends_where_its_rule_says(rule: StoppingRule, seed: int) -> None:
    """The stop is found again from the losses at every check, each of a run of fixed steps."""
    record = train_alone(rule, seed).record
    if rule.kind == "steps":
        assert record.steps == math.ceil(rule.step_limit * rule.overtime)
        assert record.reached_target
        return
    plain = dataclasses.replace(rule, overtime=1.0)
    target_step = train_alone(plain, seed).record.steps
    checks = [next_check(0)]
    while checks[-1] < target_step:
        checks.append(next_check(checks[-1]))
    looked_at = sorted({*(step for step in checks if step < target_step), target_step})
    met = [is_at_target(rule, step, seed) for step in looked_at]
    assert not any(met[:-1])
    assert record.reached_target == met[-1]
    assert target_step == rule.step_limit or (met[-1] and target_step in checks)
    assert record.steps == (math.ceil(rule.overtime * target_step) if met[-1] else rule.step_limit)


def is_at_target(rule: StoppingRule, step: int, seed: int) -> bool:
    """Return whether the network of so many steps is at the target of a rule."""
    record = train_alone(fixed_steps(step), seed).record
    if rule.kind == "accuracy":
        return record.train_error == 0
    return record.train_loss < rule.target


def test_the_order_of_runs_does_not_matter() -> None:
    """Which run of a trajectory comes first decides nothing."""
    for recipe in [RECIPE.replace(optimizer=Adam(lr=0.01)), DIVERGING]:
        runs = [make_run(rule, recipe=recipe) for rule in MIXED]
        forth, back = train_all(runs), train_all(runs[::-1])[::-1]
        for one, other in zip(forth, back, strict=True):
            assert_same(one, other)


def test_a_diverging_trajectory_ends_all_its_runs() -> None:
    """Every run that is still on its way ends as diverged, at one step, as it would alone."""
    open_rules = [
        fixed_steps(200),
        fixed_steps(90).with_overtime(2),
        cross_entropy_below(0.1),
        cross_entropy_below(1e-9, step_limit=150).with_overtime(3),
        full_train_accuracy(),
        full_train_accuracy().with_overtime(2),
    ]
    trained = train_all([make_run(rule, recipe=DIVERGING) for rule in open_rules])
    assert len({one.record.steps for one in trained}) == 1
    for rule, one in zip(open_rules, trained, strict=True):
        assert one.record.diverged and not one.record.reached_target
        assert one.record.steps < 90
        assert_same(one, train_alone(rule, recipe=DIVERGING))


def test_only_runs_on_their_way_are_lost_with_their_trajectory() -> None:
    """Runs that ended before keep their result; a target reached before overtime is not kept."""
    # the rate is usual for 60 steps, and then explodes
    recipe = RECIPE.replace(
        optimizer=SGD(lr=0.1, momentum=0.5), schedule=step_decay(60, factor=1e8)
    )
    rules = [cross_entropy_below(0.5), fixed_steps(60)]
    rules += [rule.with_overtime(20) for rule in rules]
    trained = train_all([make_run(rule, recipe=recipe) for rule in rules])
    assert [one.record.diverged for one in trained] == [False, False, True, True]
    assert [one.record.reached_target for one in trained] == [True, True, False, False]
    assert trained[0].record.steps < 60 < trained[2].record.steps == trained[3].record.steps < 100
    for rule, one in zip(rules, trained, strict=True):
        assert_same(one, train_alone(rule, recipe=recipe))
