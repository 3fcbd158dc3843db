"""Families: what they hold, how they are asked, and what a measure sees of a run."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import pytest
import torch

from pytest_fragility.errors import TaskError
from pytest_fragility.families.family import Family
from pytest_fragility.families.plan import FamilyPlan
from pytest_fragility.families.train import train_families
from pytest_fragility.networks import InitialStates, build_network
from pytest_fragility.networks.runs import Run, TrainedRun
from pytest_fragility.networks.trained_network import TrainedNetwork
from pytest_fragility.recipes import Recipe, fixed_steps
from pytest_fragility.tasks import Ladder, Task, with_label_noise
from pytest_fragility.tasks.sampling import training_subset
from pytest_fragility.training import trainer

CPU = torch.device("cpu")

PLACES = [
    (recipe, n, seed) for recipe in ("baseline", "adam") for n in (16, 32, 64) for seed in (0, 1, 2)
]


def place(network: TrainedNetwork) -> tuple[str, int, int]:
    """Return where a network stands in its family."""
    return network.recipe_name, network.n, network.seed


def weights_of(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Return a module's weights by name."""
    return dict(module.state_dict())


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[Run]:
    """A list that every run is added to that is given to the trainer."""
    runs: list[Run] = []
    plain_train = trainer.train

    def train(
        given: Sequence[Run], device: torch.device, executors: object
    ) -> Iterator[list[TrainedRun]]:
        runs.extend(given)
        return plain_train(given, device)

    monkeypatch.setattr(trainer, "train", train)
    return runs


def test_iteration_yields_every_network_once(small_family: Family) -> None:
    """The grid, recipe by recipe."""
    assert len(small_family) == 18
    assert [place(network) for network in small_family] == PLACES


def test_networks_stand_where_they_say(small_family: Family) -> None:
    """Indexing and iteration give the same network, with what its record says."""
    for network in small_family:
        indexed = small_family["blobs", network.recipe_name, network.n, network.seed]
        assert place(indexed) == place(network)
        torch.testing.assert_close(
            weights_of(indexed.model), weights_of(network.model), rtol=0, atol=0
        )
        record = small_family.trained_run(*place(network)).record
        assert network.steps == record.steps == 60
        assert (network.train_loss, network.train_error) == (record.train_loss, record.train_error)
        assert network.recipe == small_family.recipes[network.recipe_name]
        assert network.task_name == "blobs"


@pytest.mark.parametrize(
    ("index", "text"),
    [
        (("digits", "adam", 16, 0), "task 'digits': this family has learned blobs"),
        (("blobs", "sgd", 16, 0), "no run with recipe 'sgd', n=16, seed=0"),
        (("blobs", "adam", 17, 0), "sizes (16, 32, 64), seeds (0, 1, 2)"),
        (("blobs", "adam", 16, 9), "seed=9; this family has recipes baseline, adam"),
    ],
)
def test_a_missing_network_is_an_error(
    small_family: Family, index: tuple[str, str, int, int], text: str
) -> None:
    """The error says what was asked and what there is."""
    with pytest.raises(KeyError) as caught:
        small_family[index]
    assert text in str(caught.value.args[0])


def test_selections(small_family: Family) -> None:
    """Each of recipe, size and seed narrows the choice; what there is not, none has."""

    def select(**chosen: str | int) -> list[tuple[str, int, int]]:
        return [place(network) for network in small_family.select(**chosen)]  # type: ignore[arg-type]

    assert select() == PLACES
    assert select(recipe="adam") == PLACES[9:]
    assert select(n=32) == [one for one in PLACES if one[1] == 32]
    assert select(seed=0) == [one for one in PLACES if one[2] == 0]
    assert select(recipe="adam", n=64, seed=0) == [("adam", 64, 0)]
    assert select(n=17) == []


def test_models_are_the_trained_ones(small_family: Family) -> None:
    """Weights are the run's, in eval mode, float32, with gradients allowed."""
    for network in small_family:
        run = small_family.trained_run(*place(network))
        for model, weights in (
            (network.model, run.weights),
            (network.initial_model, run.initial_weights),
        ):
            torch.testing.assert_close(weights_of(model), weights, rtol=0, atol=0)
            assert not any(module.training for module in model.modules())
            for parameter in model.parameters():
                assert parameter.requires_grad and parameter.dtype == torch.float32
        assert not torch.equal(run.weights["1.weight"], run.initial_weights["1.weight"])


def test_initial_models_are_those_of_the_seed(small_family: Family) -> None:
    """They start from the seed's draw, under every recipe and size."""
    data = small_family.task.data
    for network in small_family:
        template = build_network(network.recipe.architecture, data.input_shape, data.classes)
        expected = InitialStates(template).draw(network.recipe, network.seed).weights
        torch.testing.assert_close(weights_of(network.initial_model), expected, rtol=0, atol=0)


def test_inputs_are_the_subset(small_family: Family) -> None:
    """A network comes with the samples it was trained on, in float32 and int64."""
    data = small_family.task.data
    for network in small_family:
        subset = training_subset(data, network.n, network.seed)
        assert torch.equal(network.inputs, torch.from_numpy(data.train_inputs[subset]))
        assert torch.equal(network.labels, torch.from_numpy(data.train_labels[subset]))
        assert network.inputs.shape == (network.n, 6)


def test_recorded_errors_are_those_of_the_samples(small_family: Family) -> None:
    """The model's mistakes on its inputs are its train error."""
    for network in small_family:
        predicted = network.model(network.inputs).argmax(dim=1)
        error = (predicted != network.labels).double().mean().item()
        assert network.train_error == pytest.approx(error)


def test_generators_are_fresh_and_each_runs_own(small_family: Family) -> None:
    """A run's numbers are the same whenever it is asked for, and those of no other run."""
    draws = [tuple(torch.rand(3, generator=network.rng).tolist()) for network in small_family]
    again = [tuple(torch.rand(3, generator=network.rng).tolist()) for network in small_family]
    assert draws == again
    assert len(set(draws)) == 18


def test_networks_can_be_spoilt_without_harm(small_family: Family) -> None:
    """A measure that writes into what it is given changes neither run nor task."""
    before = small_family["blobs", "adam", 16, 0]
    spoilt = small_family["blobs", "adam", 16, 0]
    with torch.no_grad():
        for parameter in (*spoilt.model.parameters(), *spoilt.initial_model.parameters()):
            parameter.fill_(torch.nan)
    spoilt.inputs.fill_(torch.nan)
    spoilt.labels.fill_(-1)
    after = small_family["blobs", "adam", 16, 0]
    for name in ("model", "initial_model"):
        torch.testing.assert_close(
            weights_of(getattr(after, name)), weights_of(getattr(before, name)), rtol=0, atol=0
        )
    assert torch.equal(after.inputs, before.inputs) and torch.equal(after.labels, before.labels)


def test_measures_see_no_test_data(small_family: Family) -> None:
    """Nothing on a trained network speaks of a test set, nor has a tensor of its length."""
    network = small_family["blobs", "adam", 16, 0]
    assert not [name for name in dir(network) if "test" in name]
    tensors = [value for value in vars(network).values() if isinstance(value, torch.Tensor)]
    assert [len(tensor) for tensor in tensors] == [16, 16]
    assert not isinstance(network.recipe, Task)


def test_oracles_carry_the_test_set(small_family: Family) -> None:
    """Control measures get the held-out samples and the record, and else the same network."""
    oracle = small_family.oracle_network("adam", 16, 0)
    data = small_family.task.data
    assert torch.equal(oracle.test_inputs, torch.from_numpy(data.test_inputs))
    assert torch.equal(oracle.test_labels, torch.from_numpy(data.test_labels))
    predicted = oracle.model(oracle.test_inputs).argmax(dim=1)
    assert oracle.test_record.test_mistakes == (predicted != oracle.test_labels).sum()
    network = small_family["blobs", "adam", 16, 0]
    assert torch.equal(torch.rand(3, generator=oracle.rng), torch.rand(3, generator=network.rng))


def test_a_network_describes_itself(small_family: Family) -> None:
    """Task, recipe, size and seed are in its text."""
    text = str(small_family["blobs", "adam", 32, 1])
    assert text.startswith("task blobs, recipe adam (mlp 8, adam lr=0.001, batch 8")
    assert text.endswith("n=32, seed 1")


def test_shared_runs_are_trained_once(
    blobs: Task, small_recipe: Recipe, trained: list[Run]
) -> None:
    """Plans that overlap share what they have in common, under whatever recipe name."""
    quick = small_recipe.replace(stopping=fixed_steps(5))
    wide = quick.replace(batch_size=4)
    plans = [
        FamilyPlan(blobs, {"baseline": quick}, (16, 32), (0, 1)),
        FamilyPlan(blobs, {"baseline": wide, "old": quick}, (32, 48), (1, 2)),
    ]
    one, other = train_families(plans, device=CPU)
    assert (len(one), len(other)) == (4, 8)
    assert len(trained) == 4 + 8 - 1
    shared = one["blobs", "baseline", 32, 1], other["blobs", "old", 32, 1]
    torch.testing.assert_close(
        weights_of(shared[0].model), weights_of(shared[1].model), rtol=0, atol=0
    )
    assert [network.recipe_name for network in shared] == ["baseline", "old"]


def test_different_labels_are_different_runs(
    blobs: Task, small_recipe: Recipe, trained: list[Run]
) -> None:
    """Two tasks with one recipe are not taken for each other."""
    recipes = {"baseline": small_recipe.replace(stopping=fixed_steps(5))}
    noisy = with_label_noise(blobs, 0.5)
    plans = [FamilyPlan(task, recipes, (32,), (0,)) for task in (blobs, noisy)]
    families = train_families(plans, device=CPU)
    assert len(trained) == 2
    names = [next(iter(family)).task_name for family in families]
    assert names == ["blobs", "blobs+label-noise-0.5"]
    labels = [next(iter(family)).labels for family in families]
    assert not torch.equal(*labels)


def test_progress_rises_to_the_end(blobs: Task, small_recipe: Recipe) -> None:
    """It starts at nothing, never falls, and ends with every run and all of the work."""
    recipes = {
        name: small_recipe.replace(stopping=fixed_steps(steps))
        for name, steps in (("baseline", 5), ("short", 3), ("long", 20))
    }
    calls: list[tuple[int, int, float]] = []
    train_families(
        [FamilyPlan(blobs, recipes, (8, 32), (0, 1))],
        device=CPU,
        progress=lambda *call: calls.append(call),
    )
    assert calls[0] == (0, 12, 0.0)
    assert calls[-1] == (12, 12, 1.0)
    assert calls == sorted(calls)
    assert len({done for done, _, _ in calls}) > 2
    assert {total for _, total, _ in calls} == {12}


def test_keys_tell_runs_apart(blobs: Task, small_recipe: Recipe) -> None:
    """Data, size, recipe, seed, device, torch and trainer each decide the key."""
    environment = {"device": "cpu", "torch": "2.6", "trainer": "abc"}
    run = Run(blobs, 16, small_recipe, 0)
    keys = [
        run.key(environment),
        dataclasses.replace(run, n=17).key(environment),
        dataclasses.replace(run, seed=1).key(environment),
        dataclasses.replace(run, recipe=small_recipe.replace(batch_size=9)).key(environment),
        dataclasses.replace(run, task=with_label_noise(blobs, 0.5)).key(environment),
        *(run.key(environment | {name: "other"}) for name in environment),
    ]
    assert len(set(keys)) == len(keys) == 8
    twin = Run(Task("another name", lambda: blobs.data), 16, dataclasses.replace(small_recipe), 0)
    assert twin.key(dict(reversed(environment.items()))) == keys[0]
    assert all(len(key) == 64 and set(key) <= set("0123456789abcdef") for key in keys)


def test_a_ladder_s_task_is_not_taken_for_the_audited_one(
    blobs: Task, small_recipe: Recipe
) -> None:
    """Where it has its name, and other data; one that has the same is the same."""
    data = blobs.data
    same = Task(blobs.name, lambda: data)
    other = Task(blobs.name, lambda: dataclasses.replace(data, train_labels=2 - data.train_labels))
    noisy, recipe = with_label_noise(blobs, 0.5), small_recipe.replace(stopping=fixed_steps(1))
    for rung in (same, other):
        plan = FamilyPlan(blobs, {"baseline": recipe}, (8, 16), (0,), Ladder("two", [rung, noisy]))
        if rung is same:
            train_families([plan], device=torch.device("cpu"))
        else:
            with pytest.raises(TaskError, match=r"'blobs' of the ladder .* another name"):
                train_families([plan], device=torch.device("cpu"))
