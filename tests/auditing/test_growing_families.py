"""Families that train a recipe when it is first asked for, within a budget."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pytest_fragility.auditing.from_settings import train_plans
from pytest_fragility.auditing.growing_families import FamilySource, GrowingFamily
from pytest_fragility.errors import BudgetError, SettingsError
from pytest_fragility.evaluation.measured_curves import learning_curves
from pytest_fragility.families.plan import FamilyPlan
from pytest_fragility.families.train import TrainingBudget, train_families
from pytest_fragility.measures import path_norm
from pytest_fragility.networks.runs import Run
from pytest_fragility.networks.trained_network import TrainedNetwork
from pytest_fragility.perturbations import BASELINE, Perturbation, get_perturbation
from pytest_fragility.recipes import SGD, Adam, Recipe, fixed_steps
from pytest_fragility.settings import AuditSettings, resolve_settings
from pytest_fragility.tasks import Task, TaskData

SIZES, SEEDS = (8, 16), (0, 1)
# of one recipe
RUNS = len(SIZES) * len(SEEDS)
ADAM, BATCH = get_perturbation("adam"), get_perturbation("batch-x2")

MakeSettings = Callable[..., AuditSettings]


@pytest.fixture
def make_settings(blobs: Task, small_recipe: Recipe) -> MakeSettings:
    """Settings of networks that train in a moment, kept nowhere unless a test says so."""

    def make(**options: Any) -> AuditSettings:
        plain = {
            "task": blobs,
            "recipe": small_recipe.replace(stopping=fixed_steps(5)),
            "sizes": SIZES,
            "seeds": SEEDS,
            "device": "cpu",
            "cache_dir": None,
            "ladder": "none",
        }
        return resolve_settings({**plain, **options})

    return make


def recipes_of(runs: Sequence[Run]) -> set[Recipe]:
    """Return the recipes of runs."""
    return {run.recipe for run in runs}


def test_nothing_is_trained_before_it_is_asked_for(
    make_settings: MakeSettings, trained: list[Run]
) -> None:
    """And then with the baseline, each run once."""
    family = GrowingFamily(make_settings())
    assert trained == []
    family.grow([ADAM])
    assert len(trained) == 2 * RUNS
    family.grow([ADAM, BATCH])
    assert len(trained) == 3 * RUNS
    baseline = family.settings.recipe
    assert recipes_of(trained) == {baseline, ADAM(baseline), BATCH(baseline)}
    for _ in range(2):
        family.grow([BATCH, ADAM])
        family.family(ADAM)
        family.network(BATCH, 8, 1)
        family.curves(path_norm, ADAM, BATCH)
    assert len(trained) == 3 * RUNS


def test_a_baseline_alone_is_trained_alone(make_settings: MakeSettings, trained: list[Run]) -> None:
    """Without a perturbation there is nothing else to train."""
    network = GrowingFamily(make_settings()).network(None, 16, 0)
    assert (network.recipe_name, network.n, network.seed) == (BASELINE, 16, 0)
    assert len(trained) == RUNS


def test_recipes_that_are_one_are_trained_once(
    make_settings: MakeSettings, trained: list[Run]
) -> None:
    """Under two names."""
    twin = Perturbation("twin", ADAM.change)
    family = GrowingFamily(make_settings())
    family.grow([ADAM, twin])
    assert len(trained) == 2 * RUNS
    assert family.network(twin, 8, 0).recipe == family.network(ADAM, 8, 0).recipe


def test_networks_are_those_of_a_family_trained_at_once(make_settings: MakeSettings) -> None:
    """The same weights, whatever was grown when."""
    settings = make_settings()
    growing = GrowingFamily(settings)
    growing.grow([BATCH])
    growing.grow([ADAM])
    recipes = {BASELINE: settings.recipe, "adam": ADAM(settings.recipe)}
    plan = FamilyPlan(settings.task, recipes, SIZES, SEEDS)
    whole = train_families([plan], device=torch.device("cpu"))[0]
    found = growing.family(ADAM)
    assert (found.sizes, found.seeds, found.recipes) == (SIZES, SEEDS, recipes)
    assert [str(network) for network in found] == [str(network) for network in whole]
    for one, other in zip(found, whole, strict=True):
        torch.testing.assert_close(one.model.state_dict(), other.model.state_dict(), rtol=0, atol=0)
    network = growing.network(ADAM, 16, 1)
    expected = whole["blobs", "adam", 16, 1]
    assert torch.equal(network.model(network.inputs), expected.model(expected.inputs))


def test_a_store_spares_training(
    make_settings: MakeSettings, trained: list[Run], tmp_path: Path
) -> None:
    """A second family reads what the first has trained, and pays nothing for it."""
    settings = make_settings(cache_dir=tmp_path / "cache")
    GrowingFamily(settings).grow([ADAM])
    assert len(trained) == 2 * RUNS
    budget = TrainingBudget(RUNS)
    second = GrowingFamily(settings, budget=budget)
    second.grow([ADAM])
    assert (len(trained), budget.spent) == (2 * RUNS, 0)
    second.grow([BATCH])
    assert (len(trained), budget.spent) == (3 * RUNS, RUNS)


def test_a_budget_is_asked_before_anything_is_trained(
    make_settings: MakeSettings, trained: list[Run]
) -> None:
    """The error says what was spent, what is needed, and how to raise the budget."""
    budget = TrainingBudget(3 * RUNS - 1)
    family = GrowingFamily(make_settings(), budget=budget)
    family.grow([ADAM])
    with pytest.raises(BudgetError) as caught:
        family.grow([BATCH])
    assert (len(trained), budget.spent) == (2 * RUNS, 2 * RUNS)
    text = str(caught.value)
    assert f"used {2 * RUNS} of its budget of {3 * RUNS - 1} networks" in text
    assert f"{RUNS} more are needed" in text and "--fragility-budget=" in text
    family.grow([ADAM])
    assert len(trained) == 2 * RUNS


def test_a_budget_is_spent_to_the_last_network(make_settings: MakeSettings) -> None:
    """What just suffices suffices."""
    budget = TrainingBudget(2 * RUNS)
    GrowingFamily(make_settings(), budget=budget).grow([ADAM])
    assert budget.spent == budget.networks


@pytest.mark.parametrize(("networks", "needed"), [(0, 4), (10, 100)])
def test_the_budget_that_is_suggested_suffices(networks: int, needed: int) -> None:
    """Whoever does as the error says gets on."""
    with pytest.raises(BudgetError, match=r"--fragility-budget=\d+") as caught:
        TrainingBudget(networks).spend(needed)
    suggested = int(str(caught.value).partition("--fragility-budget=")[2].split(")")[0])
    TrainingBudget(suggested).spend(needed)


def test_other_seeds_share_the_budget(make_settings: MakeSettings, trained: list[Run]) -> None:
    """But no networks."""
    budget = TrainingBudget(3 * RUNS)
    family = GrowingFamily(make_settings(), budget=budget)
    other = family.with_seeds([7, 8])
    assert (other.settings.seeds, family.settings.seeds) == ((7, 8), SEEDS)
    family.grow([ADAM])
    other.grow([])
    assert budget.spent == len(trained) == 3 * RUNS
    assert {run.seed for run in trained} == {*SEEDS, 7, 8}
    with pytest.raises(BudgetError):
        other.grow([ADAM])
    assert other.settings.recipe is family.settings.recipe


def test_a_baseline_is_measured_once(make_settings: MakeSettings) -> None:
    """For each measure, however many perturbations are asked for."""
    asked: list[str] = []

    def ruler(network: TrainedNetwork) -> float:
        asked.append(network.recipe_name)
        return 1.0 + network.n

    def other(network: TrainedNetwork) -> float:
        return ruler(network)

    family = GrowingFamily(make_settings())
    for perturbation in (ADAM, BATCH, get_perturbation("lr-x2")):
        curves = family.curves(ruler, perturbation)
        assert curves.measure[BASELINE].values.tolist() == [[9.0, 9.0], [17.0, 17.0]]
        assert list(curves.measure[perturbation.name].values.shape) == [2, 2]
    assert asked.count(BASELINE) == RUNS
    assert len(asked) == 4 * RUNS
    assert family.curves(other, ADAM).measure[BASELINE].name == "other"
    assert asked.count(BASELINE) == 2 * RUNS


def test_a_baseline_is_measured_once_whatever_the_level(make_settings: MakeSettings) -> None:
    """A level changes intervals, and no value: a search asks at a new one each time."""
    asked: list[str] = []

    def ruler(network: TrainedNetwork) -> float:
        asked.append(network.recipe_name)
        return 1.0

    family = GrowingFamily(make_settings())
    for alpha in (0.05, 0.01, 0.001):
        assert family.curves(ruler, ADAM, alpha=alpha).measure[BASELINE].alpha == alpha
    assert asked.count(BASELINE) == RUNS


def test_curves_are_those_of_the_whole_family(make_settings: MakeSettings) -> None:
    """At the settings' level or another."""
    family = GrowingFamily(make_settings(alpha=0.2))
    family.curves(path_norm, BATCH)
    for alpha, level in ((None, 0.2), (0.01, 0.01)):
        found = family.curves(path_norm, ADAM, alpha=alpha, name="mine")
        expected = learning_curves(path_norm, family.family(ADAM), alpha=level)
        assert list(found.measure) == list(found.error) == [BASELINE, "adam"]
        assert (found.measure_name, found.alpha) == ("mine", level)
        for name in found.measure:
            assert found.measure[name].slope == expected.measure[name].slope
            assert found.error[name].level == expected.error[name].level
            assert found.measure[name].alpha == level


def test_a_measure_is_not_asked_before_its_curve_is(make_settings: MakeSettings) -> None:
    """What is no small change, or has diverged, is never measured."""

    def choosy(network: TrainedNetwork) -> float:
        if network.recipe_name != BASELINE:
            raise ValueError("not this one")
        return 1.0

    curves = GrowingFamily(make_settings()).curves(choosy, ADAM)
    assert curves.measure[BASELINE].values.shape == (2, 2)


def test_one_name_does_not_stand_for_two_recipes(make_settings: MakeSettings) -> None:
    """The second would silently be handed the first one's networks."""
    family = GrowingFamily(make_settings())
    first = Perturbation("mine", lambda recipe: recipe.replace(optimizer=Adam()))
    second = Perturbation("mine", lambda recipe: recipe.replace(optimizer=SGD(lr=0.3)))
    assert family.network(first, 8, 0).recipe.optimizer == Adam()
    with pytest.raises(SettingsError, match="'mine'"):
        family.network(second, 8, 0)


def test_progress_is_told(make_settings: MakeSettings) -> None:
    """From nothing to all of what is missing."""
    calls: list[tuple[int, int, float]] = []
    train = partial(train_plans, progress=lambda *call: calls.append(call))
    family = GrowingFamily(make_settings(), train=train)
    family.grow([ADAM])
    assert calls[0] == (0, 2 * RUNS, 0.0) and calls[-1] == (2 * RUNS, 2 * RUNS, 1.0)
    calls.clear()
    family.grow([ADAM])
    assert calls == []


def test_a_source_knows_its_families(make_settings: MakeSettings, blobs: Task) -> None:
    """The same object for the same request, in whatever order its options are named."""
    source = FamilySource({"device": "cpu", "cache_dir": None, "ladder": "none"}, {"seeds": 2})
    options = {"task": blobs, "sizes": [8, 16]}
    family = source.family(options)
    assert source.family(dict(reversed(options.items()))) is family
    assert family.settings.seeds == SEEDS and family.settings.device == "cpu"
    assert source.family({**options, "seeds": 3}) is not family
    assert source.family({**options, "recipe": Recipe(batch_size=2)}) is not family
    settings = make_settings()
    assert source.family_of(settings) is source.family_of(settings)
    assert source.family_of(make_settings()) is source.family_of(settings)
    assert source.family_of(make_settings(alpha=0.1)) is not source.family_of(settings)
    assert source.family_of(family.settings) is family


def test_families_of_a_source_share_one_budget(
    make_settings: MakeSettings, trained: list[Run], tmp_path: Path
) -> None:
    """That of the first settings; what the store has stays free."""
    source = FamilySource()
    settings = make_settings(budget=2 * RUNS, cache_dir=tmp_path / "cache")
    source.family_of(settings).grow([ADAM])
    other = make_settings(seeds=[4, 5], cache_dir=tmp_path / "cache")
    with pytest.raises(BudgetError, match=f"used {2 * RUNS} of its budget of {2 * RUNS}"):
        source.family_of(other).grow([])
    source.family_of(make_settings(cache_dir=tmp_path / "cache")).grow([ADAM])
    assert len(trained) == 2 * RUNS


def test_an_unknown_option_is_refused_by_a_source() -> None:
    """As an audit does."""
    with pytest.raises(SettingsError, match="unknown argument 'size'"):
        FamilySource().family({"size": 3})


class Loader:
    """Loads other data for each seed, and prints alike."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def __repr__(self) -> str:
        return "Loader()"

    def __call__(self) -> TaskData:
        """Load them."""
        inputs = np.random.default_rng(self.seed).normal(size=(400, 5))
        labels = (inputs[:, 0] > 0).astype(int)
        return TaskData(inputs[:300], labels[:300], inputs[300:], labels[300:])


def test_families_are_known_by_content() -> None:
    """Tasks that print alike have families of their own; equal data have one."""
    source = FamilySource({"profile": "quick", "cache_dir": None})
    first, second, again = (
        source.family({"task": Task("mine", Loader(seed)), "sizes": [16, 32], "seeds": 2})
        for seed in (0, 1, 0)
    )
    assert first is not second
    assert again is first


def test_a_measure_need_not_be_hashable(make_settings: MakeSettings) -> None:
    """And one that takes the place of another in memory is not taken for it."""

    class Ruler:
        __name__ = "ruler"
        __hash__ = None  # type: ignore[assignment]

        def __init__(self, value: float) -> None:
            self._value = value

        def __call__(self, network: TrainedNetwork) -> float:
            return self._value

    family = GrowingFamily(make_settings())
    for value in (1.0, 2.0):
        assert (family.curves(Ruler(value)).measure[BASELINE].values == value).all()
