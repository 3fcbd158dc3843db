"""Pairs of trainings that give the same function, against their formulas and a plain loop."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
import torch

from pytest_fragility.networks.runs import Run
from pytest_fragility.recipes import MLP, SGD, Adam, Recipe, ScaleInvariantMLP, fixed_steps
from pytest_fragility.recipes.equivalences import (
    EQUIVALENCES,
    INITIALIZATION_FACTOR,
    LEARNING_RATE,
    STEPS,
    WEIGHT_DECAY,
    exponential_rate,
    initialization_rate,
)
from pytest_fragility.tasks import Task
from pytest_fragility.tasks.sampling import training_subset
from tests.reference_training import train_alone

BASELINES = [
    Recipe(),
    Recipe(architecture=MLP(hidden=(8,)), batch_size=4, optimizer=Adam(), label_smoothing=0.1),
    Recipe(architecture=ScaleInvariantMLP(hidden=(5, 7)), initialization_scale=3.0),
]

every_baseline = pytest.mark.parametrize("baseline", BASELINES, ids=str)
every_equivalence = pytest.mark.parametrize("name", EQUIVALENCES)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Threads inside an operation only slow such small networks down."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def log_probabilities(task: Task, recipe: Recipe) -> torch.Tensor:
    """Return the training samples' log-probabilities after a plain loop of training."""
    run = Run(task, 24, recipe, 0)
    network, _ = train_alone(run)
    subset = training_subset(task.data, run.n, run.seed)
    with torch.no_grad():
        inputs = torch.from_numpy(task.data.train_inputs[subset]).double()
        found: torch.Tensor = network(inputs).log_softmax(dim=1)
    return found


@every_equivalence
@every_baseline
def test_both_trainings_have_the_baselines_shape(name: str, baseline: Recipe) -> None:
    """Its widths and batch size, and else nothing of it: plain SGD in float64, a fixed time."""
    for recipe in EQUIVALENCES[name].recipes(baseline):
        assert recipe.architecture == ScaleInvariantMLP(hidden=baseline.architecture.hidden)
        assert recipe.batch_size == baseline.batch_size
        assert (recipe.precision, recipe.stopping) == ("float64", fixed_steps(STEPS))
        assert isinstance(recipe.optimizer, SGD) and recipe.optimizer.momentum == 0
        assert (recipe.label_smoothing, recipe.gradient_clipping) == (0.0, None)


@every_equivalence
def test_layers_that_cannot_be_normalized_are_widened(name: str) -> None:
    """And a linear network gets a layer."""
    cases: list[tuple[tuple[int, ...], tuple[int, ...]]] = [
        ((), (64,)),
        ((1,), (3,)),
        ((2, 9), (3, 9)),
        ((3,), (3,)),
    ]
    for hidden, widths in cases:
        baseline = Recipe(architecture=MLP(hidden=hidden))
        for recipe in EQUIVALENCES[name].recipes(baseline):
            assert recipe.architecture.hidden == widths


def test_names_and_arms_are_unique() -> None:
    """Each equivalence stands under its name, with two recipes of its own names."""
    assert all(each.name == name and each.summary for name, each in EQUIVALENCES.items())
    arms = [arm for each in EQUIVALENCES.values() for arm in each.arms]
    assert len(set(arms)) == 2 * len(EQUIVALENCES)
    assert EQUIVALENCES["exponential-rate"].arms == (
        "exponential-rate, first",
        "exponential-rate, second",
    )


def test_the_rate_grows_by_what_decay_takes() -> None:
    """At step t it is h a^-(2 t + 1), with a = 1 - h l (Li & Arora 2020, theorem 2.4)."""
    decayed, growing = exponential_rate(Recipe())
    assert decayed.optimizer == SGD(lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    assert decayed.schedule.is_constant
    assert growing.optimizer.weight_decay == 0
    shrink = 1 - LEARNING_RATE * WEIGHT_DECAY
    for step in (0, 1, 2, 17, STEPS - 1):
        rate = growing.optimizer.lr * growing.schedule.multiplier(step)
        assert rate == pytest.approx(LEARNING_RATE * shrink ** -(2 * step + 1), rel=1e-12)


def test_the_rate_follows_the_square_of_the_scale() -> None:
    """A factor that rounds nothing: a power of two."""
    plain, scaled = initialization_rate(Recipe())
    assert scaled.initialization_scale == INITIALIZATION_FACTOR * plain.initialization_scale
    assert scaled.optimizer.lr == INITIALIZATION_FACTOR**2 * plain.optimizer.lr
    assert math.frexp(INITIALIZATION_FACTOR)[0] == 0.5
    unscaled = plain.replace(initialization_scale=4.0, optimizer=scaled.optimizer)
    assert unscaled == scaled


@every_equivalence
def test_a_plain_loop_gives_one_function(blobs: Task, name: str) -> None:
    """To rounding; and half of the change alone gives another."""
    baseline = Recipe(architecture=MLP(hidden=(8,)), batch_size=8)
    first, second = EQUIVALENCES[name].recipes(baseline)
    one, other = (log_probabilities(blobs, recipe) for recipe in (first, second))
    torch.testing.assert_close(one, other, rtol=0, atol=1e-8)
    half = second.replace(optimizer=first.optimizer)
    assert (log_probabilities(blobs, half) - one).abs().max() > 1e-3
