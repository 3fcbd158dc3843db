"""When training ends, and what is recorded then."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

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
from pytest_fragility.training.trainer import train
from pytest_fragility.training.trajectories import Trajectory, is_met, loss_gate, next_check

CPU = torch.device("cpu")
LAYERS = MLP(hidden=(16,))


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Threads inside an operation only slow such small networks down."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def train_all(runs: Sequence[Run]) -> list[TrainedRun]:
    """Return the trained runs in the order of `runs`."""
    found = {id(one.run): one for batch in train(runs, CPU) for one in batch}
    return [found[id(run)] for run in runs]


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


@pytest.mark.parametrize(
    ("rule", "recent_loss", "is_looked_at"),
    [
        (cross_entropy_below(0.1), 0.2, True),
        (cross_entropy_below(0.1), 0.201, False),
        (full_train_accuracy(), 100.0, True),
        (fixed_steps(10), 0.0, False),
        (fixed_steps(10), math.nan, True),
    ],
)
def test_only_runs_near_their_target_are_looked_at(
    blobs: Task, rule: StoppingRule, recent_loss: float, is_looked_at: bool
) -> None:
    """At checks; at other steps none is, but at its limit."""
    run = Run(blobs, 32, Recipe(architecture=LAYERS, stopping=rule), 0)
    trajectory = Trajectory([run])
    assert len(trajectory.to_look_at(5, recent_loss, is_check=True)) == is_looked_at
    assert trajectory.to_look_at(5, recent_loss, is_check=False) == []
    (pending,) = trajectory.to_look_at(trajectory.next_limit, recent_loss, is_check=False)
    assert pending.run is run


def test_cross_entropy_rule_ends_below_its_target(blobs: Task) -> None:
    """The run ends below the target, later for a lower one, and looks ahead of nothing."""
    runs = [train_one(blobs, cross_entropy_below(target), SGD(lr=0.1)) for target in (0.2, 0.1)]
    for trained, target in zip(runs, (0.2, 0.1), strict=True):
        assert trained.record.reached_target and not trained.record.diverged
        assert evaluate(trained)[0] < target
        assert trained.record.steps % 10 == 0
    assert 10 < runs[0].record.steps < runs[1].record.steps
    too_early = train_one(blobs, fixed_steps(runs[0].record.steps - 10), SGD(lr=0.1))
    assert evaluate(too_early)[0] >= 0.2


def test_accuracy_rule_ends_without_mistakes(blobs: Task) -> None:
    """The run ends at the first check without mistakes on its training samples."""
    trained = train_one(blobs, full_train_accuracy(), SGD(lr=0.1))
    assert trained.record.reached_target
    assert trained.record.train_error == 0 == evaluate(trained)[1]
    too_early = train_one(blobs, fixed_steps(trained.record.steps - 10), SGD(lr=0.1))
    assert evaluate(too_early)[1] > 0


@pytest.mark.parametrize("steps", [1, 9, 10, 33])
def test_fixed_steps_are_taken_exactly(blobs: Task, steps: int) -> None:
    """Exactly so many steps, also between two checks; the target counts as reached."""
    record = train_one(blobs, fixed_steps(steps), SGD()).record
    assert (record.steps, record.reached_target, record.diverged) == (steps, True, False)


@pytest.mark.parametrize(
    "stopping",
    [cross_entropy_below(1e-6, step_limit=23), full_train_accuracy(step_limit=23)],
    ids=str,
)
def test_a_run_at_its_limit_has_not_reached_its_target(blobs: Task, stopping: StoppingRule) -> None:
    """It ends at the limit and says so."""
    record = train_one(blobs, stopping, SGD(lr=1e-3)).record
    assert (record.steps, record.reached_target, record.diverged) == (23, False, False)


def test_a_target_met_at_the_limit_counts(blobs: Task) -> None:
    """A run whose last allowed step meets the rule has reached its target."""
    steps = train_one(blobs, cross_entropy_below(0.4), SGD(lr=0.1)).record.steps
    limited = train_one(blobs, cross_entropy_below(0.4, step_limit=steps), SGD(lr=0.1)).record
    assert (limited.steps, limited.reached_target) == (steps, True)


def test_steps_with_differing_limits_train_together(blobs: Task) -> None:
    """Each run of a stack ends at its own limit."""
    limits = [3, 10, 11, 40]
    runs = [
        Run(blobs, 32, Recipe(architecture=LAYERS, stopping=fixed_steps(limit)), 0)
        for limit in limits
    ]
    assert [trained.record.steps for trained in train_all(runs)] == limits


@pytest.mark.parametrize(
    "stopping",
    [fixed_steps(200), fixed_steps(10), cross_entropy_below(0.1), full_train_accuracy()],
    ids=str,
)
def test_a_diverged_run_ends_and_says_so(blobs: Task, stopping: StoppingRule) -> None:
    """Its loss is not finite, it has reached nothing, and it ends soon."""
    record = train_one(blobs, stopping, SGD(lr=1e6, momentum=0.9)).record
    assert record.diverged and not record.reached_target
    assert not torch.isfinite(torch.tensor(record.train_loss))
    assert record.steps < 200


def test_a_diverged_run_does_not_disturb_its_neighbours(blobs: Task) -> None:
    """Networks of one stack and one optimizer train on while another is lost."""
    recipe = Recipe(architecture=LAYERS, batch_size=8, stopping=fixed_steps(60))
    lost = recipe.replace(optimizer=SGD(lr=1e6))
    runs = [
        Run(blobs, 32, recipe, 0),
        Run(blobs, 32, lost, 0),
        Run(blobs, 32, recipe, 1),
        Run(blobs, 32, lost, 1),
    ]
    together = train_all(runs)
    assert [trained.record.diverged for trained in together] == [False, True, False, True]
    alone = train_all([runs[0], runs[2]])
    for one, other in zip(together[::2], alone, strict=True):
        torch.testing.assert_close(one.weights, other.weights, rtol=1e-4, atol=1e-5)
        assert one.record.steps == other.record.steps == 60


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


@pytest.mark.parametrize("rule", [cross_entropy_below(0.4), full_train_accuracy()], ids=str)
@pytest.mark.parametrize("times", [1.0, 1.25, 2, 3.14])
def test_overtime_takes_a_multiple_of_the_steps(
    blobs: Task, rule: StoppingRule, times: float
) -> None:
    """A run goes on to exactly so many times the steps to its target, rounded up."""
    plain = train_one(blobs, rule, SGD(lr=0.1))
    longer = train_one(blobs, rule.with_overtime(times), SGD(lr=0.1))
    expected = math.ceil(times * plain.record.steps)
    assert (longer.record.steps, longer.record.reached_target) == (expected, True)
    fixed = train_one(blobs, fixed_steps(expected), SGD(lr=0.1))
    torch.testing.assert_close(longer.weights, fixed.weights, rtol=0, atol=0)
    assert longer.record == fixed.record


def test_overtime_goes_beyond_the_limit_once_the_target_is_reached(blobs: Task) -> None:
    """The limit is one on the steps to the target, which may be reached at the limit itself."""
    steps = train_one(blobs, cross_entropy_below(0.4), SGD(lr=0.1)).record.steps
    for limit in (steps, steps + 5):
        rule = cross_entropy_below(0.4, step_limit=limit).with_overtime(3)
        record = train_one(blobs, rule, SGD(lr=0.1)).record
        assert (record.steps, record.reached_target) == (3 * steps, True)


@pytest.mark.parametrize(
    "rule",
    [cross_entropy_below(1e-6, step_limit=23), full_train_accuracy(step_limit=23)],
    ids=str,
)
def test_there_is_no_overtime_without_the_target(blobs: Task, rule: StoppingRule) -> None:
    """A run that does not reach its target ends at the limit and says so."""
    record = train_one(blobs, rule.with_overtime(4), SGD(lr=1e-3)).record
    assert (record.steps, record.reached_target, record.diverged) == (23, False, False)


def test_fixed_steps_with_overtime_are_more_steps(blobs: Task) -> None:
    """Twice 30 steps are 60."""
    rule = fixed_steps(30).with_overtime(2)
    assert str(rule) == str(fixed_steps(60)) == "60 steps"
    assert rule.last_step(0) == rule.last_step(30) == 60
    double, plain = (train_one(blobs, each, SGD()) for each in (rule, fixed_steps(60)))
    assert double.record == plain.record and double.record.reached_target
    torch.testing.assert_close(double.weights, plain.weights, rtol=0, atol=0)


def test_overtimes_multiply() -> None:
    """Overtime on overtime is a rule of its own; times one is none."""
    rule = cross_entropy_below(0.2, step_limit=70)
    assert rule.with_overtime(2).with_overtime(3) == rule.with_overtime(6)
    assert rule.with_overtime(1) == rule != rule.with_overtime(2)
    assert rule.with_overtime(6).last_step(35) == 210
    assert rule.with_overtime(1.5).last_step(35) == 53


@pytest.mark.parametrize(
    ("rule", "text"),
    [
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
    ],
)
def test_overtime_is_described(rule: StoppingRule, text: str) -> None:
    """A rule says how far it goes on."""
    assert str(rule) == text
