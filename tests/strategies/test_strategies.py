"""Hypothesis strategies: what they draw, how it shrinks, and what it looks like."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import hypothesis
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

import pytest_fragility.recipes
from pytest_fragility import strategies
from pytest_fragility.auditing.assertions import FragilityAsserts
from pytest_fragility.auditing.growing_families import FamilySource
from pytest_fragility.curves import LearningCurves
from pytest_fragility.errors import BudgetError, CheckBroken, SettingsError
from pytest_fragility.networks.trained_network import TrainedNetwork
from pytest_fragility.perturbations import (
    AXES,
    CATALOGUE,
    FIRST_AXES,
    Perturbation,
    changes_recipe,
    get_perturbation,
    register_perturbation,
)
from pytest_fragility.recipes import MLP, SGD, Recipe, fixed_steps
from pytest_fragility.settings import resolve_settings
from pytest_fragility.strategies.networks import DEFAULTS, use_source
from pytest_fragility.symmetries import SYMMETRIES, Symmetry
from pytest_fragility.tasks import Task, TaskData

BASELINE_RECIPE = Recipe()
NAMES = {
    name: getattr(face, name)
    for face in (strategies, pytest_fragility.recipes)
    for name in dir(face)
}
QUICK = settings(
    database=None, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate]
)


def find(
    strategy: st.SearchStrategy[Any], condition: Callable[[Any], bool], *, seed: int = 0
) -> Any:
    """Return the smallest that meets a condition, whatever other searches have left behind.

    What Hypothesis keeps of a search belongs to the condition's code alone: another search with the
    same would take it for its own, shrunk already.
    """
    unkept = settings(database=None)
    return hypothesis.find(strategy, condition, settings=unkept, random=Random(seed))


def drawn(strategy: st.SearchStrategy[Any], count: int = 300, start: int = 0) -> list[Any]:
    """Return what a strategy draws, for one seed."""
    found: list[Any] = []

    @seed(start)
    @settings(QUICK, max_examples=count)
    @given(each=strategy)
    def collect(each: Any) -> None:
        found.append(each)

    collect()
    return found


def test_every_single_change_is_drawn() -> None:
    """Both directions of every axis; what leaves the baseline as it is, is not."""
    names = {change.name for change in drawn(strategies.perturbations())}
    expected = {change.name for axis in AXES.values() for change in axis.perturbations}
    assert names == expected - {"sgd"}


@settings(QUICK, max_examples=200)
@given(change=strategies.perturbations(max_axes=3))
def test_drawn_changes_are_changes(change: Perturbation) -> None:
    """Along as many axes as they have parts, of one kind each; they read back from their names."""
    axes = [part.axis for part in change.single_changes]
    assert 1 <= len(axes) <= 3 and len(set(axes)) == len(axes)
    assert changes_recipe(change, BASELINE_RECIPE)
    assert get_perturbation(change.name)(BASELINE_RECIPE) == change(BASELINE_RECIPE)
    assert eval(repr(change), NAMES)(BASELINE_RECIPE) == change(BASELINE_RECIPE)
    firsts = [axis in FIRST_AXES for axis in axes]
    assert firsts == sorted(firsts, reverse=True)


def test_composed_changes_are_diverse() -> None:
    """Hundreds of draws are hundreds of changes, with one part, two and three."""
    changes = drawn(strategies.perturbations(max_axes=3))
    assert len({change.name for change in changes}) > 150
    assert {len(change.single_changes) for change in changes} == {1, 2, 3}
    assert {axis for change in changes for axis in change.axis.split("+")} == set(AXES)


def test_axes_can_be_chosen() -> None:
    """And a baseline, which every drawn change must change."""
    adam = get_perturbation("adam")(BASELINE_RECIPE)
    changes = drawn(strategies.perturbations(axes=["optimizer"], baseline=adam))
    names = {change.name for change in changes}
    assert "sgd" in names and "adam" not in names
    assert {change.axis for change in changes} == {"optimizer"}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: strategies.perturbations(axes=["rate"]), "unknown axis 'rate': expected some of"),
        (lambda: strategies.perturbations(max_axes=0), r"max_axes=0: expected from 1 to \d+"),
        (lambda: strategies.perturbations(axes="lr", max_axes=2), "max_axes=2: expected from 1"),
        (
            lambda: strategies.perturbations(
                axes=["depth"], baseline=Recipe(architecture=MLP(hidden=()))
            ),
            "no change along depth",
        ),
    ],
)
def test_what_cannot_be_drawn_is_refused(make: Callable[[], Any], message: str) -> None:
    """When the strategy is made, and not when it is first used."""
    with pytest.raises(SettingsError, match=message):
        make()


@pytest.fixture
def own_change() -> Iterator[Perturbation]:
    """A registered change of one's own, forgotten afterwards."""
    axes, catalogue = dict(AXES), dict(CATALOGUE)
    yield register_perturbation(
        Perturbation("tiny-batch", lambda recipe: recipe.replace(batch_size=2))
    )
    AXES.clear()
    AXES.update(axes)
    CATALOGUE.clear()
    CATALOGUE.update(catalogue)


def test_changes_of_ones_own_are_drawn(own_change: Perturbation) -> None:
    """A registered one is an axis like the others."""
    found = find(strategies.perturbations(), lambda change: change.name == own_change.name)
    assert eval(repr(found), NAMES)(BASELINE_RECIPE).batch_size == 2


def rate_of(recipe: Recipe) -> float:
    """Return the learning rate over the default, of SGD."""
    return recipe.optimizer.lr / 0.05 if isinstance(recipe.optimizer, SGD) else 0.0


@pytest.mark.parametrize("max_axes", [1, 3])
def test_shrinking_finds_the_smallest_change(max_axes: int) -> None:
    """Fewer axes, then the smaller step: four times the rate alone, for twenty seeds."""
    strategy = strategies.perturbations(max_axes=max_axes)
    for start in range(20):

        @seed(start)
        @settings(database=None, max_examples=200, suppress_health_check=list(HealthCheck))
        @given(change=strategy)
        def stays_slow(change: Perturbation) -> None:
            # a message that names the change: the last one raised is the smallest
            assert rate_of(change(BASELINE_RECIPE)) < 4 * (1 - 1e-9), f"by {change.name}!"

        with pytest.raises(AssertionError, match="by lr-x4!"):
            stays_slow()


def test_everything_shrinks_to_the_first_step() -> None:
    """One axis, at its smallest step: the first that there is, or one without a choice of steps."""
    for axes in (None, ["lr"], ["lr", "batch"], ["init", "optimizer", "width"]):
        strategy = strategies.perturbations(axes, max_axes=min(4, len(axes or AXES)))
        firsts = {AXES[axes[0]].perturbations[0].name} if axes else {"lr-x2", "data-order"}
        for start in range(8):
            assert find(strategy, lambda _: True, seed=start).name in firsts


@pytest.mark.parametrize("axis", ["batch", "warmup", "data-order"])
def test_what_one_axis_does_shrinks_to_that_axis(axis: str) -> None:
    """Others that were drawn beside it are taken away, whatever their places."""
    strategy = strategies.perturbations(max_axes=4)
    for start in range(8):
        found = find(strategy, lambda change: axis in change.name, seed=start)
        assert found.name == AXES[axis].perturbations[0].name


def test_recipes_shrink_to_the_baseline() -> None:
    """Which is one of them; their reprs can be pasted back."""
    assert find(strategies.recipes(), lambda _: True) == BASELINE_RECIPE
    recipes = drawn(strategies.recipes())
    assert len(set(recipes)) > 100
    assert all(eval(repr(recipe), NAMES) == recipe for recipe in recipes)


def test_tasks_are_built_in_ones() -> None:
    """With operations, by names that read back; nothing is loaded for it."""
    tasks = drawn(strategies.tasks())
    names = {task.name for task in tasks}
    assert find(strategies.tasks(), lambda _: True).name == "digits"
    assert len(names) > 20
    bases = {name.partition("+")[0] for name in names}
    assert len(bases) == 4
    for task in tasks:
        assert eval(repr(task), NAMES) is task


def test_some_drawn_tasks_have_data() -> None:
    """Their operations can be done, in the order in which they come."""
    for task in drawn(strategies.tasks(), 12, start=3):
        assert task.data.classes >= 2
        assert np.isfinite(task.data.train_inputs).all()


def test_symmetries_are_drawn_by_name() -> None:
    """All of them, as code that can be pasted back."""
    symmetries = drawn(strategies.symmetries())
    assert {symmetry.name for symmetry in symmetries} == set(SYMMETRIES)
    assert all(eval(repr(symmetry), NAMES) is symmetry for symmetry in symmetries)


def test_types_stand_for_strategies(tiny_source: dict[str, Any]) -> None:
    """A hint is enough, where a type stands for what is drawn."""
    for kind in (Perturbation, Recipe, Task, Symmetry, TrainedNetwork):
        assert isinstance(find(st.from_type(kind), lambda _: True), kind)


@pytest.fixture
def tiny_source(blobs: Task, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """Settings of networks that train in a moment; strategies draw from such meanwhile."""
    options = {
        "task": blobs,
        "recipe": Recipe(architecture=MLP(hidden=(4,)), stopping=fixed_steps(5)),
        "sizes": (8, 16, 32),
        "seeds": 3,
        "perturbations": ["adam", "lr-x3"],
        "ladder": "none",
        "error_margin": 1e6,
        "trend": "decreasing",
        "cache_dir": tmp_path / "cache",
        "device": "cpu",
    }
    use_source(FamilySource(options))
    yield options
    use_source(FamilySource(DEFAULTS))


def test_networks_are_drawn_from_the_family(tiny_source: dict[str, Any]) -> None:
    """Every recipe, size and seed; the baseline's smallest is where they shrink to."""
    networks = drawn(strategies.trained_networks())
    places = {(network.recipe_name, network.n, network.seed) for network in networks}
    assert len(places) == 27
    assert {recipe for recipe, _, _ in places} == {"baseline", "adam", "lr-x3"}
    smallest = find(strategies.trained_networks(), lambda _: True)
    assert (smallest.recipe_name, smallest.n, smallest.seed) == ("baseline", 8, 0)


def test_a_network_can_be_pasted_back(tmp_path: Path) -> None:
    """The same weights, bit by bit, trained or from the store."""
    recipe = Recipe(architecture=MLP(hidden=(4,)), stopping=fixed_steps(5))
    options = {"recipe": recipe, "sizes": (12, 24), "seeds": 2, "cache_dir": tmp_path}
    network = drawn(strategies.trained_networks(perturbations=["adam"], **options), 9)[-1]
    again = eval(repr(network), NAMES | {"trained_network": keep_in(tmp_path)})
    for one, other in zip(network.model.parameters(), again.model.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
    assert (again.n, again.seed, again.task_name) == (network.n, network.seed, network.task_name)


def keep_in(folder: Path) -> Callable[..., TrainedNetwork]:
    """Return `trained_network` with a folder of the test's own."""
    return lambda **arguments: strategies.trained_network(**arguments, cache_dir=folder)


def size_of_weights(network: TrainedNetwork) -> float:
    """Return the sum of squared weights."""
    return sum(float(each.detach().square().sum()) for each in network.model.parameters())


def test_curves_are_drawn_and_pasted_back(tiny_source: dict[str, Any]) -> None:
    """The baseline's, and those of one change."""
    curves = drawn(strategies.learning_curves(size_of_weights), 40)
    assert {tuple(each.recipes) for each in curves} == {
        ("baseline", "adam"),
        ("baseline", "lr-x3"),
    }
    first: LearningCurves = curves[0]
    again = eval(repr(first), {**NAMES, "size_of_weights": size_of_weights})
    for name in first.recipes:
        assert np.array_equal(again.measure[name].values, first.measure[name].values)


def test_drawing_stops_at_the_budget(tiny_source: dict[str, Any]) -> None:
    """Before anything is trained."""
    use_source(FamilySource({"budget": 8}, tiny_source))
    with pytest.raises(BudgetError, match="has used 0 of its budget of 8"):
        drawn(strategies.trained_networks(), 5)
    assert not list(tiny_source["cache_dir"].rglob("*.safetensors"))


def breaks_at_x4(network: TrainedNetwork) -> float:
    """Fall with n, but rise where the rate is at least four times the default."""
    return float(network.n ** (0.3 if rate_of(network.recipe) >= 4 * (1 - 1e-9) else -0.3))


def test_a_measure_that_breaks_at_x4_is_found_and_shrunk_to_x4(
    tiny_source: dict[str, Any],
) -> None:
    """Every time in ten seeds, among changes along other axes that come first."""
    source = FamilySource()
    resolved = resolve_settings({**tiny_source, "sizes": (8, 16), "seeds": 2})
    for start in range(10):
        asserts = FragilityAsserts(resolved, source)

        @seed(start)
        @settings(database=None, deadline=None, suppress_health_check=list(HealthCheck))
        @given(change=strategies.perturbations(["batch", "optimizer", "init", "lr"]))
        def withstands(change: Perturbation) -> None:
            asserts.assert_withstands(breaks_at_x4, change)  # noqa: B023

        with pytest.raises(CheckBroken) as caught:
            withstands()
        message = " ".join(str(caught.value).split())
        assert message.startswith("breaks_at_x4: trend BROKEN under lr-x4 ")
        assert "largest smaller change on this axis, lr-x3, keeps it" in message
        assert "confirmed on 4 fresh seeds" in message
        assert message.endswith("get_perturbation('lr-x4')")


def test_another_measure_of_the_same_name_is_refused(tiny_source: dict[str, Any]) -> None:
    """A search that begins anew at each example would forget what it has paid."""
    asserts = FragilityAsserts(resolve_settings(tiny_source), FamilySource())
    for number in range(2):

        def measure(network: TrainedNetwork, number: int = number) -> float:
            return 1.0 / network.n

        if number == 0:
            asserts.assert_withstands(measure, "adam")
        else:
            with pytest.raises(SettingsError, match="measure: another one of this name"):
                asserts.assert_withstands(measure, "adam")
            asserts.assert_withstands(measure, "adam", name="another")


def test_measures_of_one_name_are_searched_apart(tiny_source: dict[str, Any]) -> None:
    """Two tests may call theirs alike; what is found of one is not said of the other."""

    def kept_and_broken(measures: list[Any]) -> None:
        kept, broken = measures
        asserts = FragilityAsserts(resolve_settings(tiny_source), FamilySource())
        asserts.assert_withstands(kept, "lr-x4")
        with pytest.raises(CheckBroken):
            asserts.assert_withstands(broken, "lr-x4")

    def breaks_at_x4(network: TrainedNetwork) -> float:
        return float(network.n**-0.3)

    kept_and_broken([breaks_at_x4, globals()["breaks_at_x4"]])


def test_changes_of_one_name_are_not_taken_for_each_other(tiny_source: dict[str, Any]) -> None:
    """The second is refused, and not answered with what was found of the first."""
    asserts = FragilityAsserts(resolve_settings(tiny_source), FamilySource())
    for factor in (2, 8):
        mine = Perturbation(
            "mine", lambda r, f=factor: r.replace(optimizer=SGD(lr=f * r.optimizer.lr))
        )
        if factor == 2:
            asserts.assert_withstands(breaks_at_x4, mine)
        else:
            with pytest.raises(SettingsError, match="'mine': another change was trained under"):
                asserts.assert_withstands(breaks_at_x4, mine)


@pytest.mark.parametrize("what", ["architecture", "recipe", "task", "perturbation"])
def test_strategies_are_told_apart_by_what_they_are_asked_for(
    what: str, tiny_source: dict[str, Any]
) -> None:
    """Functions, tasks and changes of one name and one look have networks of their own."""

    def asked(width: int) -> dict[str, Any]:
        def build() -> torch.nn.Module:
            return torch.nn.Sequential(torch.nn.Linear(6, width), torch.nn.Linear(width, 3))

        def load() -> TaskData:
            generator = np.random.default_rng(width)
            inputs, labels = generator.normal(size=(90, 6)), np.arange(90) % 3
            return TaskData(inputs, labels, inputs, labels)

        def wide(recipe: Recipe) -> Recipe:
            return recipe.replace(architecture=MLP(hidden=(width,)))

        recipe = tiny_source["recipe"].replace(architecture=build)
        return {
            "architecture": {"architecture": build},
            "recipe": {"recipe": recipe},
            "task": {"task": Task("blobs", load)},
            "perturbation": {"perturbations": [Perturbation("wide", wide)]},
        }[what]

    def seen(width: int) -> float:
        name = "wide" if what == "perturbation" else "baseline"
        drawing = strategies.trained_networks(**asked(width))
        network = find(drawing, lambda each: each.recipe_name == name)
        if what == "task":
            return float(network.inputs.sum())
        return float(next(network.model.parameters()).shape[0])

    assert seen(8) != seen(32)
    assert seen(8) == seen(8)


def test_composed_changes_say_what_each_part_does(tiny_source: dict[str, Any]) -> None:
    """Where it is the composition that breaks, neither does alone."""

    def both(network: TrainedNetwork) -> float:
        broken = rate_of(network.recipe) > 1 and network.recipe.batch_size > 16
        return float(network.n ** (0.3 if broken else -0.3))

    asserts = FragilityAsserts(resolve_settings(tiny_source), FamilySource())
    with pytest.raises(CheckBroken) as caught:
        asserts.assert_withstands(both, "lr-x2+batch-x2")
    message = " ".join(str(caught.value).split())
    assert "lr-x2 alone does not break it" in message
    assert "batch-x2 alone does not break it" in message


def test_the_profile_is_offered_and_not_loaded() -> None:
    """Importing the strategies changes no default."""
    profile = settings.get_profile("fragility")
    assert profile.deadline is None
    assert HealthCheck.too_slow in profile.suppress_health_check
    assert settings().max_examples != profile.max_examples == 50
