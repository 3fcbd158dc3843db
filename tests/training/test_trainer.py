"""The batched trainer against a plain loop over ``torch.optim``, and what it leaves untouched."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_fragility.errors import TaskError
from pytest_fragility.networks.runs import Run, TrainedRun
from pytest_fragility.networks.trained_network import OracleNetwork, TrainedNetwork
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
from pytest_fragility.store import Store
from pytest_fragility.tasks import Task, TaskData, digits
from pytest_fragility.training import steps as steps_module
from pytest_fragility.training import training_loop as shard_module
from pytest_fragility.training.trainer import find_trajectories, plan_shards, train
from tests.reference_training import train_alone

CPU = torch.device("cpu")
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


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Threads inside an operation only slow such small networks down."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


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


def train_all(runs: Sequence[Run]) -> list[TrainedRun]:
    """Return the trained runs in the order of `runs`, each of which must come out once."""
    trained = [one for batch in train(runs, CPU) for one in batch]
    found = {id(one.run): one for one in trained}
    assert len(trained) == len(runs) == len(found)
    return [found[id(run)] for run in runs]


def assert_like_alone(trained: TrainedRun) -> None:
    """Compare a run with the plain loop: steps exactly, weights to their precision's rounding."""
    network, steps = train_alone(trained.run)
    assert trained.record.steps == steps, str(trained.run)
    rtol, atol = {"float32": (1e-4, 1e-5), "float64": (1e-10, 1e-10)}[trained.run.recipe.precision]
    torch.testing.assert_close(
        trained.weights,
        dict(network.state_dict()),
        rtol=rtol,
        atol=atol,
        msg=lambda text: f"{trained.run}: {text}",
    )


def assert_same_weights(one: TrainedRun, other: TrainedRun) -> None:
    """Compare two results of one run bit by bit."""
    torch.testing.assert_close(one.weights, other.weights, rtol=0, atol=0)
    assert one.record == other.record


def test_mixture_equals_training_alone() -> None:
    """Every optimizer, two batch sizes, several sizes and seeds at once; some leave earlier."""
    architecture = MLP(hidden=(8, 5))
    runs = [
        Run(
            ODD,
            n,
            Recipe(
                architecture=architecture,
                optimizer=optimizer,
                batch_size=batch_size,
                initialization_scale=1 + place % 2,
                stopping=fixed_steps(25 + 5 * (place % 4)),
            ),
            seed,
        )
        for place, optimizer in enumerate(OPTIMIZERS)
        for batch_size, n, seed in ((4, 12, 0), (4, 50, 1), (16, 50, 0), (16, 12, 2))
    ]
    for trained in train_all(runs):
        assert_like_alone(trained)


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
    stops = itertools.cycle([19, 30, 47])
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
        for place, variant in enumerate([*VARIANTS, *VARIANTS[::-1], *VARIANTS[::3]])
    ]
    runs = [Run(ODD, 20 + place % 3, recipe, place % 2) for place, recipe in enumerate(recipes)]
    assert len(plan_shards(find_trajectories(runs), torch.device("cpu"), processes=1)) == 2
    for trained in train_all(runs):
        assert_like_alone(trained)


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda optimizer: optimizer.kind)
def test_clipping_equals_training_alone(optimizer: Optimizer) -> None:
    """The norm is over a network's parameters, whatever else lies in the memory between them."""
    recipe = Recipe(
        # odd numbers of parameters, which leave gaps in an aligned row
        architecture=MLP(hidden=(7,)),
        optimizer=optimizer,
        batch_size=8,
        precision="float64",
        stopping=fixed_steps(60),
    )
    for trained in train_all(
        [Run(ODD, 24, recipe.replace(gradient_clipping=norm), 0) for norm in (0.1, 1.0, 100.0)]
    ):
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


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_precision_is_that_of_weights_and_inputs(tmp_path: Path, precision: str) -> None:
    """What a measure sees has the recipe's dtype, and the store keeps it to the last bit."""
    dtype = getattr(torch, precision)
    recipe = Recipe(architecture=MLP(hidden=(8,)), precision=precision, stopping=fixed_steps(10))
    (trained,) = train_all([Run(ODD, 24, recipe, 0)])
    store = Store(tmp_path / "kept")
    store.save(trained, "0" * 64)
    loaded = store.load(trained.run, "0" * 64)
    assert loaded is not None
    assert_same_weights(loaded, trained)
    torch.testing.assert_close(loaded.initial_weights, trained.initial_weights, rtol=0, atol=0)
    for one in (trained, loaded):
        assert {w.dtype for w in (*one.weights.values(), *one.initial_weights.values())} == {dtype}
        network = OracleNetwork.build(one, "baseline", CPU)
        assert network.inputs.dtype == network.test_inputs.dtype == dtype
        assert {each.dtype for each in network.model.parameters()} == {dtype}
        assert {each.dtype for each in network.initial_model.parameters()} == {dtype}
        with torch.no_grad():
            logits = network.model(network.inputs)
        loss = torch.nn.functional.cross_entropy(logits, network.labels).item()
        assert loss == pytest.approx(network.train_loss, rel=100 * torch.finfo(dtype).eps)
    # float64 training leaves the numbers that float32 has
    rounded = all(torch.equal(w, w.float().to(dtype)) for w in trained.weights.values())
    assert rounded == (precision == "float32")


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda optimizer: optimizer.kind)
def test_cross_entropy_stop_comes_at_the_same_step(optimizer: Optimizer) -> None:
    """Runs that stop by themselves stop where the plain loop stops, each at its own time."""
    recipe = Recipe(
        architecture=MLP(hidden=(16,)),
        optimizer=optimizer,
        batch_size=8,
        stopping=cross_entropy_below(0.1, step_limit=1500),
    )
    trained = train_all([Run(ODD, n, recipe, seed) for n in (16, 32) for seed in (0, 1)])
    assert all(one.record.reached_target for one in trained)
    assert len({one.record.steps for one in trained}) > 1
    for one in trained:
        assert_like_alone(one)


def test_accuracy_stop_comes_at_the_same_step() -> None:
    """A stop at full train accuracy comes where the plain loop stops."""
    recipe = Recipe(
        architecture=MLP(hidden=(16,)),
        optimizer=SGD(lr=0.1),
        batch_size=8,
        stopping=full_train_accuracy(step_limit=2000),
    )
    for trained in train_all([Run(ODD, n, recipe, seed) for n in (16, 32) for seed in (0, 1)]):
        assert trained.record.reached_target
        assert_like_alone(trained)


def test_several_tasks_and_architectures_equal_training_alone() -> None:
    """Tasks of one shape share a stack, others get their own; nothing is mixed up."""
    tasks = [ODD, make_blobs(6, 3, seed=1), make_blobs(6, 5), make_blobs(4, 3)]
    runs = [
        Run(task, 20, Recipe(architecture=MLP(hidden=hidden), stopping=fixed_steps(20)), 0)
        for task in tasks
        for hidden in ((), (7,), (7, 7))
    ]
    for trained in train_all(runs):
        assert_like_alone(trained)


def test_mistakes_are_counted_on_the_own_task() -> None:
    """Runs of two tasks in one stack are each held against their own test set."""
    tasks = [make_blobs(6, 3, seed=seed) for seed in (0, 1)]
    recipe = Recipe(architecture=MLP(hidden=(8,)), stopping=fixed_steps(30))
    together = train_all([Run(task, 20, recipe, 0) for task in tasks])
    for trained in together:
        network, _ = train_alone(trained.run)
        data = trained.run.task.data
        predicted = network(torch.from_numpy(data.test_inputs)).argmax(dim=1)
        wrong = predicted != torch.from_numpy(data.test_labels)
        mistakes = wrong.sum()
        assert (trained.record.test_mistakes, trained.record.test_size) == (mistakes, 40)
        assert trained.mistaken.tolist() == wrong.tolist()


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


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda optimizer: optimizer.kind)
def test_neighbours_change_no_bit(optimizer: Optimizer) -> None:
    """A run is the same alone, again, with neighbours, and with neighbours that leave earlier."""
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
        assert_same_weights(train_all(runs)[runs.index(run)], alone)


@pytest.mark.parametrize("batch_size", [16, 64])
def test_the_default_network_does_not_depend_on_its_place(batch_size: int) -> None:
    """Ten classes and an odd number of parameters: padding aligns every network alike."""
    recipe = Recipe(batch_size=batch_size, stopping=fixed_steps(60))
    runs = [Run(digits(), 128, recipe, seed) for seed in range(20)]
    together = train_all(runs)
    for place in (0, 7, 19):
        (alone,) = train_all([runs[place]])
        assert_same_weights(together[place], alone)


def test_neighbours_do_not_move_the_stop() -> None:
    """A run that stops by itself stops at the same step beside runs that end between checks."""
    recipe = Recipe(
        architecture=MLP(hidden=(16,)),
        optimizer=SGD(lr=0.05),
        stopping=cross_entropy_below(0.2, step_limit=1500),
    )
    runs = [Run(ALIGNED, 32, recipe, seed) for seed in (0, 1)]
    short = [
        Run(ALIGNED, 32, recipe.replace(stopping=fixed_steps(steps)), 2) for steps in (3, 7, 38)
    ]
    found = train_all([short[0], runs[0], *short[1:], runs[1]])
    for one, other in zip([found[1], found[4]], train_all(runs), strict=True):
        assert other.record.steps > 38
        assert_same_weights(one, other)


def test_threads_change_no_bit() -> None:
    """Results do not depend on how many stacks are trained at once."""
    runs = [
        aligned_run(seed, 20, optimizer, n=n)
        for optimizer in OPTIMIZERS[:5]
        for seed in (0, 1)
        for n in (16, 40)
    ]
    expected = train_all(runs)
    torch.set_num_threads(2)
    for one, other in zip(train_all(runs), expected, strict=True):
        assert_same_weights(one, other)


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


def test_no_runs_train_to_nothing() -> None:
    """An empty list yields nothing."""
    assert train_all([]) == []


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


@pytest.mark.parametrize("threads", [1, 2])
def test_process_state_is_left_alone(threads: int) -> None:
    """Generators, threads, precision and modes are as before."""
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


def test_the_callers_generators_do_not_matter() -> None:
    """Results depend on the run's seed, and not on the process's generators."""
    run = aligned_run(0, 10, Adam())
    (expected,) = train_all([run])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(123)
        (found,) = train_all([run])
    assert_same_weights(found, expected)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_training_works_where_gradients_are_off(mode: type[torch.no_grad]) -> None:
    """Callers may have switched gradients off; the weights are plain tensors all the same."""
    runs = [aligned_run(seed, 10, Adam()) for seed in (0, 1)]
    expected = train_all(runs)
    with mode():
        before = process_state()
        found = train_all(runs)
        assert process_state() == before
    for one, other in zip(found, expected, strict=True):
        assert_same_weights(one, other)
        for weight in (*one.weights.values(), *one.initial_weights.values()):
            assert not weight.is_inference() and not weight.requires_grad


def test_training_works_under_another_default_dtype() -> None:
    """Networks are float32, whatever the caller's default."""
    runs = [aligned_run(seed, 10, optimizer) for optimizer in OPTIMIZERS for seed in (0, 1)]
    expected = train_all(runs)
    torch.set_default_dtype(torch.float64)
    try:
        found = train_all(runs)
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one.weights, other.weights, rtol=0, atol=0)
        assert {weight.dtype for weight in one.weights.values()} == {torch.float32}


def test_lower_matmul_precision_is_overridden_and_put_back() -> None:
    """Training takes place in full float32, whatever the caller allows."""
    runs = [
        aligned_run(seed, steps, SGD(), n=n) for seed in (0, 1) for n in (8, 40) for steps in (9, 5)
    ]
    expected = train_all(runs)
    torch.set_float32_matmul_precision("medium")
    try:
        found = train_all(runs)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")
    for one, other in zip(found, expected, strict=True):
        assert_same_weights(one, other)


def test_results_share_no_memory() -> None:
    """Changing one result in place changes no other."""
    runs = [aligned_run(seed, 5, SGD()) for seed in (0, 0, 1)]
    one, twin, other = train_all(runs)
    for trained in (one, other):
        trained.mistaken.logical_not_()
        for weight in (*trained.weights.values(), *trained.initial_weights.values()):
            weight.fill_(7)
    (again,) = train_all([aligned_run(0, 5, SGD())])
    assert_same_weights(twin, again)
    assert twin.mistaken.tolist() == again.mistaken.tolist()
    torch.testing.assert_close(twin.initial_weights, again.initial_weights, rtol=0, atol=0)


@pytest.mark.parametrize("samples", [1, 7, 1 << 20])
def test_evaluations_in_parts_are_those_at_once(
    samples: int, blobs: Task, small_recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many samples are passed on at a time, which a device has memory for."""
    runs = [Run(blobs, n, small_recipe, seed) for n in (20, 33) for seed in range(2)]
    expected = train_all(runs)
    monkeypatch.setattr(shard_module, "CPU_EVALUATION_SAMPLES", samples)
    for one, other in zip(train_all(runs), expected, strict=True):
        assert one.record.train_loss == pytest.approx(other.record.train_loss, rel=1e-6)
        assert one.record.train_error == other.record.train_error
        assert torch.equal(one.mistaken, other.mistaken)


@pytest.mark.parametrize("fetched", [1, 1 << 12, 1 << 30])
def test_batches_fetched_together_are_those_one_by_one(
    fetched: int, blobs: Task, small_recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights are the same bit by bit."""
    runs = [Run(blobs, n, small_recipe, seed) for n in (20, 33) for seed in range(2)]
    expected = train_all(runs)
    monkeypatch.setattr(steps_module, "FETCHED_BYTES", fetched)
    for one, other in zip(train_all(runs), expected, strict=True):
        torch.testing.assert_close(one.weights, other.weights, rtol=0, atol=0)
