"""The batched trainer against a plain loop over ``torch.optim``, and what it leaves untouched."""

from __future__ import annotations

import itertools
import pickle
import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_fragility.errors import TaskError
from pytest_fragility.networks.runs import Run
from pytest_fragility.networks.trained_network import TrainedNetwork
from pytest_fragility.networks.transport import pack_runs
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
    cross_entropy_below,
    exponential,
    fixed_steps,
    full_train_accuracy,
    step_decay,
)
from pytest_fragility.tasks import Task, TaskData, digits
from pytest_fragility.training import steps as steps_module
from pytest_fragility.training import training_loop as shard_module
from pytest_fragility.training.minibatches import Pools
from pytest_fragility.training.trainer import find_trajectories, plan_shards, train
from tests.reference_training import CPU, assert_like_alone, assert_same, train_all

pytestmark = pytest.mark.usefixtures("one_thread")
OPTIMIZERS: list[Optimizer] = [
    SGD(lr=0.1),
    SGD(lr=0.3, weight_decay=0.01),
    SGD(lr=0.02, momentum=0.9),
    SGD(lr=0.02, momentum=0.8, nesterov=True),
    Adam(lr=0.01),
    Adam(lr=0.003, weight_decay=0.01),
    AdamW(lr=0.01),
    SGD(lr=0.05, momentum=0.8, weight_decay=0.1, decoupled=True),
    RMSprop(lr=0.002),
    RMSprop(lr=0.002, weight_decay=0.01),
]


def make_blobs(dimensions: int, classes: int, seed: int = 0) -> Task:
    """Return overlapping Gaussian blobs: 100 samples to train on, 40 to test on."""

    def load() -> TaskData:
        generator = np.random.default_rng(seed)
        centres = generator.normal(size=(classes, dimensions))
        labels = np.concatenate([np.arange(classes), generator.integers(classes, size=140)])
        inputs = centres[labels] + 0.8 * generator.normal(size=(len(labels), dimensions))
        return TaskData(
            inputs[:-40], labels[:-40], inputs[-40:], labels[-40:], allow_missing_classes=True
        )

    return Task(f"blobs-{dimensions}-{classes}-{seed}", load)


ODD = make_blobs(6, 3)
ALIGNED = make_blobs(16, 16)


VARIANTS: list[dict[str, Any]] = [
    {},
    {"gradient_clipping": 0.5},
    {"gradient_clipping": 2.0, "sample_order": 1},
    {"schedule": cosine(25), "gradient_clipping": 1.0},
    {"schedule": step_decay(9), "initialization": "orthogonal"},
    {"schedule": exponential(10, factor=1.2), "initialization": "glorot-uniform"},
    {"schedule": Schedule(warmup=12), "sample_order": 3},
    {"initialization": "lecun-normal", "initialization_scale": 1.5},
]


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_all_settings_mixed_equal_training_alone(precision: str) -> None:
    """Schedules, clipping, orders and initializations in one stack for each label smoothing."""
    stops = itertools.cycle([9, 20, 33])
    recipes = [
        Recipe(
            architecture=MLP(hidden=(8, 5)),
            optimizer=OPTIMIZERS[place % len(OPTIMIZERS)],
            label_smoothing=label_smoothing,
            precision=precision,
            batch_size=8,
            stopping=fixed_steps(next(stops)),
            **variant,
        )
        for label_smoothing in (0.0, 0.2)
        for place, variant in enumerate([*VARIANTS, *VARIANTS[::-1]])
    ]
    runs = [Run(ODD, 20 + place % 3, recipe, place % 2) for place, recipe in enumerate(recipes)]
    assert len(plan_shards(find_trajectories(runs), torch.device("cpu"), processes=1)) == 2
    for trained in train_all(runs):
        assert_like_alone(trained)


def test_clipping_equals_training_alone() -> None:
    """The norm is over a network's parameters, whatever else lies in the memory between them."""
    recipe = Recipe(
        # odd numbers of parameters, which leave gaps in an aligned row
        architecture=MLP(hidden=(7,)),
        batch_size=8,
        precision="float64",
        stopping=fixed_steps(20),
    )
    runs = [
        Run(ODD, 24, recipe.replace(optimizer=optimizer, gradient_clipping=norm), 0)
        for optimizer in OPTIMIZERS
        for norm in (0.1, 1.0, 100.0)
    ]
    for trained in train_all(runs):
        assert_like_alone(trained)


def test_smoothing_changes_the_weights_and_not_what_is_reported() -> None:
    """Stopping and records go by the plain cross-entropy."""
    recipe = Recipe(
        architecture=MLP(hidden=(16,)),
        optimizer=SGD(lr=0.2),
        label_smoothing=0.1,
        batch_size=8,
        precision="float64",
        stopping=cross_entropy_below(0.3, step_limit=1500),
    )
    (trained,) = train_all([Run(ODD, 24, recipe, 0)])
    assert_like_alone(trained)
    network = TrainedNetwork.build(trained, "baseline", CPU)
    with torch.no_grad():
        logits = network.model(network.inputs)
    plain = torch.nn.functional.cross_entropy(logits, network.labels).item()
    assert trained.record.train_loss == pytest.approx(plain, rel=1e-12) and plain < 0.3
    smoothed = torch.nn.functional.cross_entropy(logits, network.labels, label_smoothing=0.1)
    assert smoothed.item() > 0.3


def test_each_sample_order_is_another() -> None:
    """The order's number changes the batches, and neither subset nor initial weights."""
    recipe = Recipe(architecture=MLP(hidden=(8,)), batch_size=4, stopping=fixed_steps(6))
    runs = [Run(ODD, 24, recipe.replace(sample_order=order), 0) for order in (0, 1, 2)]
    trained = train_all(runs)
    for one, other in itertools.combinations(trained, 2):
        assert not torch.equal(one.weights["1.weight"], other.weights["1.weight"])
        torch.testing.assert_close(one.initial_weights, other.initial_weights, rtol=0, atol=0)
    inputs = [TrainedNetwork.build(one, "baseline", CPU).inputs for one in trained]
    assert torch.equal(inputs[0], inputs[1]) and torch.equal(inputs[0], inputs[2])


def test_targets_are_met_at_the_same_step() -> None:
    """Runs that stop by themselves stop where the plain loop stops, each at its own time."""
    recipe = Recipe(architecture=MLP(hidden=(16,)), batch_size=8)
    below = cross_entropy_below(0.1, step_limit=1500)
    recipes = [recipe.replace(optimizer=each, stopping=below) for each in OPTIMIZERS]
    recipes.append(
        recipe.replace(optimizer=SGD(lr=0.1), stopping=full_train_accuracy(step_limit=2000))
    )
    trained = train_all([Run(ODD, n, each, n) for each in recipes for n in (16, 32)])
    assert len({one.record.steps for one in trained}) > 5
    for one in trained:
        assert one.record.reached_target
        assert_like_alone(one)


def test_runs_of_several_tasks_are_held_against_their_own() -> None:
    """Tasks of one shape share a stack, others get their own; each has its own test set."""
    tasks = [ODD, make_blobs(6, 3, seed=1), make_blobs(6, 5), make_blobs(4, 3)]
    runs = [
        Run(task, 20, Recipe(architecture=MLP(hidden=hidden), stopping=fixed_steps(30)), 0)
        for task in tasks
        for hidden in ((), (7,), (7, 7))
    ]
    for trained in train_all(runs):
        network = assert_like_alone(trained)
        data = trained.run.task.data
        predicted = network(torch.from_numpy(data.test_inputs)).argmax(dim=1)
        wrong = predicted != torch.from_numpy(data.test_labels)
        assert (trained.record.test_mistakes, trained.record.test_size) == (wrong.sum(), 40)
        assert trained.mistaken.tolist() == wrong.tolist()


def test_tasks_of_the_same_data_are_one_and_others_are_not(blobs: Task) -> None:
    """Whatever they are called: told by their data, here and where they were sent to."""
    data = blobs.data
    other = replace(data, train_inputs=-data.train_inputs)
    tasks = [Task(name, lambda own=own: own) for name, own in (("one", data), ("one", other))]
    tasks += [Task("another", lambda: replace(data)), blobs]
    pools = Pools(tasks, CPU, torch.float32)
    assert [pools.place(task) for task in tasks] == [0, 1, 0, 0]
    assert len(pools.train_labels) == 2 * len(data.train_labels)
    recipe = Recipe(architecture=MLP(hidden=(8,)), stopping=fixed_steps(20))
    runs = [Run(task, 20 + seed, recipe, seed) for seed, task in enumerate(tasks)]
    together = train_all(runs)
    (sent,) = pickle.loads(pack_runs([runs]))
    assert [run.task.name for run in sent] == [run.task.name for run in runs]
    for one, arrived, run in zip(together, train_all(sent), runs, strict=True):
        assert_same(arrived, one)
        assert_same(one, train_all([run])[0])


def test_batch_larger_than_the_subset_takes_it_whole() -> None:
    """A batch size above n means full batches, as in the plain loop."""
    recipe = Recipe(architecture=MLP(hidden=(8,)), batch_size=64, stopping=fixed_steps(20))
    for trained in train_all([Run(ODD, n, recipe, 0) for n in (1, 5, 63)]):
        assert_like_alone(trained)


@st.composite
def mixtures(draw: st.DrawFn) -> list[Run]:
    """Draw some runs of small networks."""
    runs = []
    for _ in range(draw(st.integers(1, 6))):
        recipe = Recipe(
            architecture=MLP(hidden=draw(st.sampled_from([(5,), (8, 8)]))),
            optimizer=draw(st.sampled_from(OPTIMIZERS)),
            batch_size=draw(st.sampled_from([3, 8])),
            stopping=fixed_steps(draw(st.integers(1, 25))),
        )
        n = draw(st.sampled_from([2, 9, 40]))
        runs.append(Run(ODD, n, recipe, draw(st.integers(0, 3))))
    return runs


@settings(deadline=None, max_examples=12, derandomize=True)
@given(runs=mixtures())
def test_any_mixture_equals_training_alone(runs: list[Run]) -> None:
    """Whatever trains together ends as it does in the plain loop."""
    for trained in train_all(runs):
        assert_like_alone(trained)


def aligned_run(
    seed: int, steps: int, optimizer: Optimizer, task: Task = ALIGNED, n: int = 40
) -> Run:
    """Return a run whose matrices all start at the same alignment within a stack."""
    recipe = Recipe(
        architecture=MLP(hidden=(16, 32)),
        optimizer=optimizer,
        batch_size=16,
        stopping=fixed_steps(steps),
    )
    return Run(task, n, recipe, seed)


def test_neighbours_change_no_bit() -> None:
    """A run is the same alone, again, with neighbours, and with neighbours that leave earlier."""
    for optimizer in OPTIMIZERS:
        run = aligned_run(0, 30, optimizer)
        (alone,) = train_all([run])
        staying = [aligned_run(seed, 30, optimizer) for seed in (1, 2)]
        leaving = [aligned_run(seed, 7, optimizer) for seed in (3, 4)]
        others = [aligned_run(0, 30, other) for other in OPTIMIZERS if other != optimizer]
        for runs in (
            [run],
            [*staying, run],
            [*leaving, run, *staying],
            [*others, run],
            [*staying, *others[:4], run, *leaving, *others[4:]],
        ):
            assert_same(train_all(runs)[runs.index(run)], alone)


def test_the_default_network_does_not_depend_on_its_place() -> None:
    """Ten classes and an odd number of parameters: padding aligns every network alike."""
    for batch_size in [16, 64]:
        recipe = Recipe(batch_size=batch_size, stopping=fixed_steps(60))
        runs = [Run(digits(), 128, recipe, seed) for seed in range(20)]
        together = train_all(runs)
        for place in (0, 7, 19):
            (alone,) = train_all([runs[place]])
            assert_same(together[place], alone)


def test_stacks_hold_what_can_train_together() -> None:
    """Each run stands in one stack, of at most the limit, with its like."""
    runs = [
        Run(
            task,
            n,
            Recipe(architecture=MLP(hidden=hidden), optimizer=optimizer, batch_size=batch_size),
            seed,
        )
        for task in (ODD, make_blobs(4, 3))
        for n in (4, 30)
        for hidden in ((8,), (4, 4))
        for optimizer in OPTIMIZERS
        for batch_size in (8, 16)
        for seed in (0, 1)
    ]
    plain = Recipe(architecture=MLP(hidden=(8,)), batch_size=8)
    runs += [
        Run(ODD, 30, recipe, seed)
        for recipe in (
            plain.replace(label_smoothing=0.1),
            plain.replace(precision="float64"),
            plain.replace(schedule=cosine(10)),
        )
        for seed in (0, 1)
    ]
    for processes in (1, 2, 5):
        trajectories = plan_shards(
            find_trajectories(runs), torch.device("cpu"), processes=processes, limit=10
        )
        shards = [[trajectory.first for trajectory in shard] for shard in trajectories]
        members = [id(run) for shard in shards for run in shard]
        assert sorted(members) == sorted(map(id, runs))
        for shard in shards:
            assert 1 <= len(shard) <= 10
            assert len({run.recipe.architecture for run in shard}) == 1
            assert len({run.task.data.input_shape for run in shard}) == 1
            assert len({min(run.recipe.batch_size, run.n) for run in shard}) == 1
            assert len({(run.recipe.precision, run.recipe.label_smoothing) for run in shard}) == 1


def test_too_small_a_pool_is_an_error() -> None:
    """A size above the pool's is refused, with threads put back as they were."""
    recipe = Recipe(stopping=fixed_steps(5))
    with pytest.raises(TaskError, match="size 104: the training pool has only 103 samples"):
        list(train([Run(ODD, 104, recipe, 0)], CPU))
    assert torch.get_num_threads() == 1


def some_runs() -> list[Run]:
    """Return runs that fill more than one stack."""
    return [
        Run(
            ODD,
            n,
            Recipe(
                architecture=MLP(hidden=(8,)),
                optimizer=optimizer,
                batch_size=batch_size,
                stopping=fixed_steps(10),
            ),
            seed,
        )
        for optimizer in OPTIMIZERS[:5]
        for batch_size in (4, 8)
        for n in (12, 30)
        for seed in (0, 1)
    ]


def process_state() -> dict[str, object]:
    """Return what training must leave as it was."""
    numpy_state = np.random.get_state(legacy=False)  # noqa: NPY002
    return {
        "threads": torch.get_num_threads(),
        "precision": torch.get_float32_matmul_precision(),
        "torch": torch.get_rng_state().tolist(),
        "numpy": repr(numpy_state),
        "random": random.getstate(),
        "dtype": torch.get_default_dtype(),
        "gradients": torch.is_grad_enabled(),
        "inference": torch.is_inference_mode_enabled(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
    }


def test_process_state_is_left_alone() -> None:
    """Generators, threads, precision and modes are as before."""
    for threads in [1, 2]:
        torch.set_num_threads(threads)
        before = process_state()
        train_all(some_runs())
        assert process_state() == before


def test_process_state_is_put_back_when_training_is_given_up() -> None:
    """A training that is closed half-way leaves nothing behind."""
    torch.set_num_threads(2)
    before = process_state()
    batches = train(some_runs(), CPU)
    next(iter(batches))
    batches.close()  # type: ignore[attr-defined]
    assert process_state() == before


@contextmanager
def another_seed() -> Iterator[None]:
    """Move torch's generator."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(123)
        yield


@contextmanager
def put_back(change: Callable[[Any], None], here: Any, before: Any) -> Iterator[None]:
    """Change something of the process meanwhile."""
    change(here)
    try:
        yield
    finally:
        change(before)


AROUND: list[Callable[[], AbstractContextManager[Any]]] = [
    torch.no_grad,
    torch.inference_mode,
    another_seed,
    lambda: put_back(torch.set_default_dtype, torch.float64, torch.float32),
    lambda: put_back(torch.set_float32_matmul_precision, "medium", "highest"),
]


def test_what_the_caller_has_set_changes_no_bit() -> None:
    """Training takes place in full float32, with gradients, and leaves the settings alone."""
    runs = [
        aligned_run(seed, steps, optimizer, n=n)
        for optimizer in OPTIMIZERS
        for seed, steps, n in ((0, 9, 40), (1, 5, 8))
    ]
    expected = train_all(runs)
    for around in AROUND:
        with around():
            before = process_state()
            found = train_all(runs)
            assert process_state() == before
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other)
            for weight in (*one.weights.values(), *one.initial_weights.values()):
                assert not weight.is_inference() and not weight.requires_grad


def test_results_share_no_memory() -> None:
    """Changing one result in place changes no other."""
    runs = [aligned_run(seed, 5, SGD()) for seed in (0, 0, 1)]
    one, twin, other = train_all(runs)
    for trained in (one, other):
        trained.mistaken.logical_not_()
        for weight in (*trained.weights.values(), *trained.initial_weights.values()):
            weight.fill_(7)
    (again,) = train_all([aligned_run(0, 5, SGD())])
    assert_same(twin, again)
    assert twin.mistaken.tolist() == again.mistaken.tolist()
    torch.testing.assert_close(twin.initial_weights, again.initial_weights, rtol=0, atol=0)


def test_what_is_done_in_parts_is_what_is_done_at_once(
    blobs: Task, small_recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many samples are passed on, and batches fetched, at a time."""
    runs = [Run(blobs, n, small_recipe, seed) for n in (20, 33) for seed in range(2)]
    expected = train_all(runs)
    for module, name, values in (
        (shard_module, "CPU_EVALUATION_SAMPLES", (1, 7, 1 << 20)),
        (steps_module, "FETCHED_BYTES", (1, 1 << 12, 1 << 30)),
    ):
        for value in values:
            with monkeypatch.context() as patch:
                patch.setattr(module, name, value)
                found = train_all(runs)
            for one, other in zip(found, expected, strict=True):
                assert one.record.train_loss == pytest.approx(other.record.train_loss, rel=1e-6)
                assert one.record.train_error == other.record.train_error
                torch.testing.assert_close(one.weights, other.weights, rtol=0, atol=0)
                assert torch.equal(one.mistaken, other.mistaken)
