"""One network by what it was trained with: the same bits wherever they come from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings

import pytest_fragility.recipes
from pytest_fragility import strategies
from pytest_fragility.auditing.single_network import trained_network
from pytest_fragility.errors import SettingsError, TaskError
from pytest_fragility.families.family import Family
from pytest_fragility.networks.trained_network import TrainedNetwork
from pytest_fragility.perturbations import BASELINE, get_perturbation
from pytest_fragility.recipes import MLP, Recipe, fixed_steps
from pytest_fragility.settings import DEFAULT_FOLDER
from pytest_fragility.tasks import Task

TINY = Recipe(architecture=MLP(hidden=(4,)), stopping=fixed_steps(3))
NAMES = {
    name: getattr(face, name)
    for face in (strategies, pytest_fragility.recipes)
    for name in dir(face)
}


def stored(folder: Path) -> dict[str, int]:
    """Return the files of trained networks, and when each was written."""
    return {path.name: path.stat().st_mtime_ns for path in folder.rglob("*.safetensors")}


def assert_same_weights(one: TrainedNetwork, other: TrainedNetwork) -> None:
    """Assert that two networks agree bit by bit, trained and at initialization."""
    for name in ("model", "initial_model"):
        first, second = getattr(one, name).state_dict(), getattr(other, name).state_dict()
        assert first.keys() == second.keys()
        for key in first:
            torch.testing.assert_close(first[key], second[key], rtol=0, atol=0)


def differ(one: TrainedNetwork, other: TrainedNetwork) -> bool:
    """Return whether some trained weight differs."""
    pairs = zip(one.model.parameters(), other.model.parameters(), strict=True)
    return any(not torch.equal(first, second) for first, second in pairs)


@pytest.mark.parametrize("name", [BASELINE, "adam"])
def test_it_is_the_network_of_a_family(small_family: Family, blobs: Task, name: str) -> None:
    """Trained alone, and not in a stack of 18, it has the same weights and samples."""
    expected = small_family[blobs.name, name, 32, 2]
    alone = trained_network(
        task=blobs, recipe=expected.recipe, n=32, seed=2, device="cpu", cache_dir=None
    )
    assert_same_weights(alone, expected)
    assert torch.equal(alone.inputs, expected.inputs)
    assert torch.equal(alone.labels, expected.labels)
    assert (alone.n, alone.seed, alone.steps) == (32, 2, expected.steps)
    assert alone.task_name == blobs.name
    assert alone.recipe == expected.recipe
    assert alone.train_loss == pytest.approx(expected.train_loss, abs=1e-6)


def test_what_is_in_the_store_is_not_trained_again(blobs: Task, tmp_path: Path) -> None:
    """One file for each network, written once."""
    asked: dict[str, Any] = {"task": blobs, "recipe": TINY, "device": "cpu", "cache_dir": tmp_path}
    first = trained_network(n=8, **asked)
    files = stored(tmp_path)
    assert len(files) == 1
    assert_same_weights(trained_network(n=8, **asked), first)
    assert stored(tmp_path) == files
    for n, seed in ((9, 0), (8, 1)):
        assert differ(trained_network(n=n, seed=seed, **asked), first)
    assert len(stored(tmp_path)) == 3


def test_a_name_a_perturbation_and_a_recipe_say_the_same(tmp_path: Path) -> None:
    """Of the default recipe; what is changed is the network's name, where it has one."""
    # a few samples are learned in a moment, even with the default recipe; all classes need some
    change = get_perturbation("lr-x4+batch-x2")
    ways: list[Any] = [change.name, change, change(Recipe())]
    networks = [trained_network(recipe=way, n=16, cache_dir=tmp_path) for way in ways]
    assert len(stored(tmp_path)) == 1
    assert [network.recipe_name for network in networks] == [change.name, change.name, BASELINE]
    for network in networks:
        assert network.recipe == change(Recipe())
        assert_same_weights(network, networks[0])


def test_the_defaults_are_the_audits(tmp_path: Path) -> None:
    """The default task and recipe, and seed 0, in the folder where audits keep theirs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        network = trained_network(n=16)
    assert network.task_name == "digits+label-noise-0.2"
    assert (network.recipe, network.recipe_name, network.seed) == (Recipe(), BASELINE, 0)
    assert len(stored(tmp_path / DEFAULT_FOLDER)) == len(stored(tmp_path)) == 1


def test_nothing_is_kept_without_a_folder(
    blobs: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None is no folder, and not the default one."""
    monkeypatch.chdir(tmp_path)
    trained_network(task=blobs, recipe=TINY, n=8, cache_dir=None)
    assert not list(tmp_path.iterdir())


def test_its_repr_is_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That gives the same network, from the store or trained anew."""
    monkeypatch.chdir(tmp_path)
    recipe = get_perturbation("adam")(TINY)
    network = trained_network(task="teacher-linear", recipe=recipe, n=8, seed=3)
    files = stored(tmp_path)
    assert_same_weights(eval(repr(network), NAMES), network)
    assert stored(tmp_path) == files
    for path in tmp_path.rglob("*.safetensors"):
        path.unlink()
    assert_same_weights(eval(repr(network), NAMES), network)


@settings(max_examples=8, database=None, deadline=None, suppress_health_check=list(HealthCheck))
@given(task=strategies.tasks())
def test_drawn_tasks_can_be_learned(task: Task) -> None:
    """By the task itself or by its name."""
    network = trained_network(task=task, recipe=TINY, n=16, cache_dir=None)
    assert network.task_name == task.name
    assert network.inputs.shape == (16, *task.data.input_shape)
    named = trained_network(task=task.name, recipe=TINY, n=16, cache_dir=None)
    assert_same_weights(network, named)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": 0}, "n=0: expected a whole number from 1 up"),
        ({"n": 8.0}, r"n=8\.0: expected a whole number"),
        ({"n": True}, "n=True: expected a whole number"),
        ({"n": "8"}, "n='8': expected a whole number"),
        ({"seed": -1}, "seed=-1: expected a whole number from 0 up"),
        ({"seed": None}, "seed=None: expected a whole number"),
        ({"recipe": 3}, "recipe=3: expected a Recipe, a Perturbation or a name"),
        ({"recipe": "lr-y4"}, "unknown perturbation 'lr-y4': did you mean 'lr-x4'"),
        ({"task": 3}, "task=3: expected a name or a"),
        ({"device": "gpu"}, "device='gpu': expected auto, cpu"),
        ({"cache_dir": 3}, "cache_dir=3: expected a path, or None"),
    ],
)
def test_what_cannot_be_used_is_refused(
    blobs: Task, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    """With the option's name and value, before anything is trained."""
    plain: dict[str, Any] = {"task": blobs, "recipe": TINY, "n": 8, "cache_dir": tmp_path}
    with pytest.raises(SettingsError, match=message):
        trained_network(**{**plain, **options})
    assert not stored(tmp_path)


def test_a_task_may_have_too_few_samples(blobs: Task, tmp_path: Path) -> None:
    """The error says how many there are."""
    with pytest.raises(TaskError, match=r"size 201: .* 'blobs' has only 200 samples"):
        trained_network(task=blobs, recipe=TINY, n=201, cache_dir=tmp_path)
    assert not stored(tmp_path)


def test_whole_numbers_of_numpy_are_whole_numbers(blobs: Task) -> None:
    """As they come out of ``np.geomspace(...).astype(int)``."""
    place: dict[str, Any] = {"n": np.int64(8), "seed": np.int32(1)}
    network = trained_network(task=blobs, recipe=TINY, cache_dir=None, **place)
    assert (network.n, network.seed) == (8, 1)
