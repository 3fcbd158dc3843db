"""Measures on trained networks that have the same function."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from pytest_fragility.checks.registry import judge, plan_checks
from pytest_fragility.checks.tolerances import Tolerances
from pytest_fragility.checks.verdicts import BROKEN, KEPT
from pytest_fragility.curves import Invariance
from pytest_fragility.errors import MeasureError, TrainingError, UndefinedMeasureError
from pytest_fragility.evaluation.measured_curves import learning_curves
from pytest_fragility.evaluation.same_function import DRAWS, SameFunctionValues
from pytest_fragility.families.family import Family
from pytest_fragility.families.plan import FamilyPlan, middle_size
from pytest_fragility.families.train import train_families
from pytest_fragility.measures import Measure, noise, oracle_test_error, path_norm
from pytest_fragility.measures.measure import unclaimed
from pytest_fragility.networks import NetworkState
from pytest_fragility.networks.runs import TrainedRun
from pytest_fragility.networks.trained_network import TrainedNetwork
from pytest_fragility.perturbations import BASELINE
from pytest_fragility.recipes import Recipe, fixed_steps
from pytest_fragility.recipes.equivalences import (
    EQUIVALENCES,
    INITIALIZATION_FACTOR,
    LEARNING_RATE,
    STEPS,
    WEIGHT_DECAY,
)
from pytest_fragility.symmetries.weight_changes import DEAD_BIAS
from pytest_fragility.tasks import Task

CPU = torch.device("cpu")
ALPHA = 0.05
MIDDLE = 32
RESCALINGS = ("layer-rescaling", "neuron-rescaling", "permutation")


SAME_FUNCTION = ("symmetry", "equivalence")


@pytest.fixture(scope="module")
def family(blobs: Task, small_recipe: Recipe) -> Family:
    """Three sizes and seeds of the baseline, with equivalent trainings of the middle size."""
    recipes = {BASELINE: small_recipe}
    plan = FamilyPlan(blobs, recipes, (16, 32, 64), (0, 1, 2), with_equivalents=True)
    return train_families([plan], device=CPU)[0]


def with_runs(family: Family, change: Callable[[TrainedRun], TrainedRun]) -> Family:
    """Return a family whose runs are others."""
    plan = family.plan
    runs = {place: change(family.trained_run(*place)) for place in plan.runs}
    return Family(plan, runs, CPU, equivalents=family.equivalents)


def with_equivalents(family: Family, change: Callable[[TrainedRun], TrainedRun]) -> Family:
    """Return a family whose equivalent trainings came out otherwise."""
    assert family.equivalents is not None
    runs = {place: family.trained_run(*place) for place in family.plan.runs}
    return Family(family.plan, runs, CPU, equivalents=with_runs(family.equivalents, change))


def diverged(run: TrainedRun) -> TrainedRun:
    """Return a run whose training has come to nothing."""
    weights = {name: torch.full_like(weight, math.nan) for name, weight in run.weights.items()}
    record = replace(run.record, diverged=True, reached_target=False, train_loss=math.nan)
    return replace(run, state=NetworkState(weights), record=record)


def at_symmetry(
    measure: Measure, family: Family, symmetry: str, scale: str = "log"
) -> Invariance | str:
    """Return values before and after a symmetry."""
    values = SameFunctionValues(measure, "ruler", family, alpha=ALPHA, scale=scale)
    return values.of_symmetry(symmetry)


def at_equivalence(
    measure: Measure, family: Family, equivalence: str, scale: str = "log"
) -> Invariance | str:
    """Return values on networks of two trainings."""
    values = SameFunctionValues(measure, "ruler", family, alpha=ALPHA, scale=scale)
    return values.of_equivalence(equivalence)


def found(invariance: Invariance | str) -> Invariance:
    """Return values that there must be."""
    assert isinstance(invariance, Invariance), invariance
    return invariance


def moved(invariance: Invariance | str) -> list[float]:
    """Return by how much a measure moved, for each pair."""
    return [change.mean for change in found(invariance).changes]


def squared_norm(network: TrainedNetwork) -> float:
    """Return the sum of squares of the weights that were trained."""
    trained = [each for each in network.model.parameters() if each.requires_grad]
    return sum(float(each.detach().double().square().sum()) for each in trained)


def path_sum(network: TrainedNetwork) -> float:
    """Return the squared path norm of a perceptron with one hidden layer, path by path."""
    first, first_bias, second, second_bias = (
        parameter.detach().double().numpy() ** 2 for parameter in network.model.parameters()
    )
    into = first.sum(axis=1) + first_bias
    total = second_bias.sum()
    for output in range(second.shape[0]):
        for neuron in range(second.shape[1]):
            total += second[output, neuron] * into[neuron]
    return float(total)


def mean_confidence(network: TrainedNetwork) -> float:
    """Return a value of the function alone."""
    with torch.no_grad():
        return float(network.model(network.inputs).softmax(dim=1).amax(dim=1).mean())


def test_the_middle_size_is_the_lower_median() -> None:
    """A size that is trained anyway."""
    cases: list[tuple[int, ...]] = [(8,), (8, 16), (8, 16, 32), (8, 16, 32, 64)]
    for sizes in cases:
        assert middle_size(sizes) == sorted(sizes)[(len(sizes) - 1) // 2]


def test_the_path_norm_does_not_notice_rescalings(family: Family) -> None:
    """What comes into a neuron grows by what its readers shrink by."""
    for symmetry in RESCALINGS:
        invariance = found(at_symmetry(path_norm, family, symmetry))
        assert moved(invariance) == pytest.approx([0, 0], abs=1e-6)
        assert invariance.before.shape == invariance.after.shape == (2, 1)
        assert invariance.networks == (f"n={MIDDLE}, seed 0", f"n={MIDDLE}, seed 1")
        expected = [path_sum(family["blobs", BASELINE, MIDDLE, seed]) for seed in (0, 1)]
        assert invariance.before[:, 0] == pytest.approx(expected)
        assert (invariance.alpha, invariance.scale, invariance.is_random) == (ALPHA, "log", False)


def test_rescalings_move_what_sums_over_layers(family: Family) -> None:
    """The test above does change something."""
    for symmetry in RESCALINGS[:2]:
        assert all(abs(each) > 0.1 for each in moved(at_symmetry(squared_norm, family, symmetry)))
    assert moved(at_symmetry(squared_norm, family, "permutation")) == pytest.approx([0, 0])


def test_dead_neurons_break_the_path_norm(family: Family) -> None:
    """Each adds the paths from its bias, one to each of three outputs, though none is ever live."""
    invariance = found(at_symmetry(path_norm, family, "dead-neurons"))
    hidden, outputs = 8, 3
    added = invariance.after[:, 0] - invariance.before[:, 0]
    assert added == pytest.approx([hidden * outputs * DEAD_BIAS**2] * 2, rel=1e-5)


def test_split_neurons_halve_the_squares_of_paths(family: Family) -> None:
    """Two paths of half the weight each: half the sum of squares, but for the last biases."""
    invariance = found(at_symmetry(path_norm, family, "split-neurons"))
    for place, seed in enumerate((0, 1)):
        network = family["blobs", BASELINE, MIDDLE, seed]
        biases = float(list(network.model.parameters())[-1].detach().double().square().sum())
        expected = (path_sum(network) - biases) / 2 + biases
        assert invariance.after[place, 0] == pytest.approx(expected, rel=1e-5)


def test_what_reads_the_function_alone_is_kept(family: Family) -> None:
    """Under every symmetry, to the rounding of float32."""
    cases: list[str] = [*RESCALINGS, "split-neurons", "dead-neurons", "logit-shift"]
    for symmetry in cases:
        assert moved(at_symmetry(mean_confidence, family, symmetry)) == pytest.approx(
            [0, 0], abs=1e-5
        )


def test_measures_are_asked_in_the_precision_of_the_baseline(family: Family) -> None:
    """Before and after alike, though scale-invariant networks are trained in float64."""
    dtypes: list[torch.dtype] = []

    def ruler(network: TrainedNetwork) -> float:
        dtypes.append(network.dtype)
        assert {each.dtype for each in network.model.parameters()} == {network.dtype}
        assert {each.dtype for each in network.initial_model.parameters()} == {network.dtype}
        return 1.0

    at_symmetry(ruler, family, "split-neurons")
    assert set(dtypes) == {torch.float32}
    dtypes.clear()
    at_symmetry(ruler, family, "normalization-scale")
    assert set(dtypes) == {torch.float32}
    dtypes.clear()
    at_equivalence(ruler, family, "exponential-rate")
    assert set(dtypes) == {torch.float32}


def test_values_of_one_precision_are_not_those_of_another(
    blobs: Task, small_recipe: Recipe
) -> None:
    """A network that several changes are made to is asked about once for each precision."""
    recipes = {BASELINE: small_recipe.replace(precision="float64")}
    plan = FamilyPlan(blobs, recipes, (16, 32, 64), (0, 1), with_equivalents=True)
    (family,) = train_families([plan], device=CPU)

    def bits(network: TrainedNetwork) -> float:
        return float(torch.finfo(network.dtype).bits)

    values = SameFunctionValues(bits, "bits", family, alpha=ALPHA, scale="log")
    assert found(values.of_symmetry("normalization-scale")).before.tolist() == [[64.0]] * 2
    for name in EQUIVALENCES:
        invariance = found(values.of_equivalence(name))
        assert invariance.before.tolist() == invariance.after.tolist() == [[32.0]] * 2


def gradient_norm(network: TrainedNetwork) -> float:
    """Return the size of the gradient of the first logit."""
    parameters = [each for each in network.model.parameters() if each.requires_grad]
    gradients = torch.autograd.grad(network.model(network.inputs)[0, 0], parameters)
    return float(torch.cat([each.flatten() for each in gradients]).norm())


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_measures_may_take_gradients(family: Family, mode: type[torch.no_grad]) -> None:
    """Whatever the caller has switched off."""
    symmetries = ("split-neurons", "normalization-scale", "permutation")
    inside = [at_symmetry(gradient_norm, family, symmetry) for symmetry in symmetries]
    inside += [at_equivalence(gradient_norm, family, name) for name in EQUIVALENCES]
    with mode():
        outside = [at_symmetry(gradient_norm, family, symmetry) for symmetry in symmetries]
        outside += [at_equivalence(gradient_norm, family, name) for name in EQUIVALENCES]
    assert [moved(each) for each in inside] == [moved(each) for each in outside]


def test_what_the_network_lacks_a_scale_invariant_one_has(family: Family) -> None:
    """A plain perceptron has no normalization; the equivalent trainings' first network does."""
    invariance = found(at_symmetry(squared_norm, family, "normalization-scale"))
    assert moved(invariance) == pytest.approx([math.log10(16)] * 2)
    assert family.equivalents is not None
    arm = EQUIVALENCES["exponential-rate"].arms[0]
    expected = squared_norm(family.equivalents["blobs", arm, MIDDLE, 0])
    assert all(name.endswith("a scale-invariant network") for name in invariance.networks)
    assert invariance.before[0, 0] == pytest.approx(expected)


def test_without_such_a_network_the_check_does_not_apply(family: Family) -> None:
    """The reason names the symmetry."""
    runs = {place: family.trained_run(*place) for place in family.plan.runs}
    alone = Family(family.plan, runs, CPU)
    text = at_symmetry(squared_norm, alone, "normalization-scale")
    assert text == "the network has no symmetry of the kind normalization-scale"


def test_a_larger_initialization_at_its_rate_moves_the_squared_norm_by_its_square(
    family: Family,
) -> None:
    """By 16, in exact powers of two."""
    invariance = found(at_equivalence(squared_norm, family, "initialization-rate"))
    ratios = invariance.after[:, 0] / invariance.before[:, 0]
    assert ratios.tolist() == [INITIALIZATION_FACTOR**2] * 2 == [16.0] * 2
    assert invariance.networks == tuple(
        f"n={MIDDLE}, seed {seed}, a scale-invariant network" for seed in (0, 1)
    )


def test_without_decay_the_squared_norm_grows_by_all_that_decay_took(family: Family) -> None:
    """By (1 - h l)^(-2 steps), for rate h and decay l."""
    invariance = found(at_equivalence(squared_norm, family, "exponential-rate"))
    expected = -2 * STEPS * math.log10(1 - LEARNING_RATE * WEIGHT_DECAY)
    assert moved(invariance) == pytest.approx([expected] * 2, rel=1e-6)
    assert expected > 1


@pytest.mark.parametrize("equivalence", EQUIVALENCES)
def test_equivalent_trainings_are_one_function(family: Family, equivalence: str) -> None:
    """Which is not the one that training began with."""
    invariance = found(at_equivalence(mean_confidence, family, equivalence))
    assert moved(invariance) == pytest.approx([0, 0], abs=1e-5)
    start = found(
        at_equivalence(
            lambda network: mean_confidence(replace(network, model=network.initial_model)),
            family,
            equivalence,
        )
    )
    assert abs(np.log10(start.before / invariance.before)).min() > 1e-3


def test_a_measure_that_draws_numbers_is_asked_many_times(family: Family) -> None:
    """Each draw has its own numbers, the same before and after, and the same the next time."""
    first, again = (found(at_symmetry(noise, family, "permutation")) for _ in range(2))
    assert first.before.shape == (2, DRAWS) and first.is_random
    assert len(np.unique(first.before)) == 2 * DRAWS
    assert np.array_equal(first.before, first.after)
    assert np.array_equal(first.before, again.before)
    other = found(at_equivalence(noise, family, "initialization-rate"))
    assert other.before.shape == (2, DRAWS) and np.array_equal(other.before, other.after)


def test_noise_is_told_from_a_change(family: Family) -> None:
    """A noisy measure of the weights' size is broken, a noisy one of the function is kept."""

    def noisy(measure: Callable[[TrainedNetwork], float], spread: float) -> Measure:
        def ruler(network: TrainedNetwork) -> float:
            # as many numbers as there are parameters, so that they differ before and after
            count = sum(each.numel() for each in network.model.parameters())
            drawn = torch.randn(count, generator=network.rng)[-1]
            return measure(network) * math.exp(spread * float(drawn))

        return ruler

    tolerances = Tolerances(invariance=0.05)
    check = next(each for each in plan_checks(SAME_FUNCTION, []) if "dead" in each.id)
    for measure, status in ((squared_norm, BROKEN), (mean_confidence, KEPT)):
        curves = learning_curves(noisy(measure, 0.02), family, name="ruler")
        verdict = judge(check, curves, tolerances)
        assert verdict.status == status
    assert found(curves.invariances[check.id]).is_random


def test_what_is_not_claimed_is_not_checked(family: Family) -> None:
    """The measure is not even asked."""

    @unclaimed("split-neurons", "dead-neurons")
    def modest(network: TrainedNetwork) -> float:
        raise AssertionError("asked")

    text = at_symmetry(modest, family, "split-neurons")
    assert text == "the measure does not claim split-neurons"
    with pytest.raises(MeasureError, match="AssertionError: asked"):
        at_symmetry(modest, family, "permutation")


def test_an_oracle_sees_test_data(family: Family) -> None:
    """In symmetries, in scale-invariant networks, and in equivalences."""
    invariance = found(at_symmetry(oracle_test_error, family, "split-neurons"))
    expected = [family.trained_run(BASELINE, MIDDLE, seed).record.test_error for seed in (0, 1)]
    assert invariance.before[:, 0].tolist() == invariance.after[:, 0].tolist() == expected
    for values in (
        at_symmetry(oracle_test_error, family, "normalization-scale"),
        at_equivalence(oracle_test_error, family, "exponential-rate"),
    ):
        assert moved(values) == [0, 0]


def test_a_measure_that_raises_names_the_run(family: Family) -> None:
    """The measure, the network and the error, which stays the cause."""

    def boom(network: TrainedNetwork) -> float:
        raise ZeroDivisionError("by nothing")

    for ask, change in ((at_symmetry, "permutation"), (at_equivalence, "initialization-rate")):
        with pytest.raises(MeasureError, match="by nothing") as caught:
            ask(boom, family, change)
        text = str(caught.value)
        assert text.startswith("measure ruler on task blobs, recipe ")
        assert f"n={MIDDLE}, seed 0: raised ZeroDivisionError" in text
        assert isinstance(caught.value.__cause__, ZeroDivisionError)


@pytest.mark.parametrize("value", [math.nan, math.inf, -1.0, 0.0, "one", None])
def test_only_usable_numbers_are_compared(family: Family, value: object) -> None:
    """What a learning curve would refuse is refused here."""
    with pytest.raises(MeasureError, match=f"n={MIDDLE}, seed 0: returned"):
        at_symmetry(lambda network: value, family, "permutation")


@pytest.mark.parametrize("value", [-1.0, 0.0])
def test_a_linear_scale_takes_any_finite_number(family: Family, value: float) -> None:
    """Zero and negative ones."""
    invariance = found(at_symmetry(lambda network: value, family, "permutation", "linear"))
    assert invariance.scale == "linear" and moved(invariance) == [0, 0]
    relative = moved(at_equivalence(squared_norm, family, "initialization-rate", "linear"))
    assert relative == pytest.approx([15] * 2)


def test_where_a_measure_is_not_defined_nothing_is_checked(family: Family) -> None:
    """The text repeats its reason, before or after the change."""

    def choosy(network: TrainedNetwork) -> float:
        if sum(each.numel() for each in network.model.parameters()) != 83:
            raise UndefinedMeasureError("only for 83 parameters")
        return 1.0

    text = at_symmetry(choosy, family, "split-neurons")
    assert text == "the measure is not defined there: only for 83 parameters"
    assert moved(at_symmetry(choosy, family, "permutation")) == [0, 0]
    assert isinstance(at_equivalence(path_norm, family, "exponential-rate"), str)


def test_diverged_equivalents_say_nothing(family: Family) -> None:
    """One of the trainings is enough; the text names the seed."""
    assert family.equivalents is not None
    for arm in EQUIVALENCES["initialization-rate"].arms:
        recipe = family.equivalents.recipes[arm]

        def spoil(run: TrainedRun, recipe: Recipe = recipe) -> TrainedRun:
            return diverged(run) if run.run.recipe == recipe and run.run.seed == 1 else run

        spoilt = with_equivalents(family, spoil)
        text = at_equivalence(squared_norm, spoilt, "initialization-rate")
        assert text == "the scale-invariant network's training diverged (seed 1)"
        assert isinstance(at_equivalence(squared_norm, spoilt, "exponential-rate"), Invariance)


def test_trainings_that_are_not_equivalent_are_an_error(family: Family) -> None:
    """An identity that does not hold must not convict a measure."""

    def spoil(run: TrainedRun) -> TrainedRun:
        if run.run.recipe.initialization_scale == 1:
            return run
        spoilt = {**run.weights, "1.weight": run.initial_weights["1.weight"]}
        return replace(run, state=NetworkState(spoilt))

    spoilt = with_equivalents(family, spoil)
    with pytest.raises(TrainingError, match=r"equivalence initialization-rate: .* seed 0\)"):
        at_equivalence(squared_norm, spoilt, "initialization-rate")


def test_diverged_networks_have_no_symmetries(family: Family) -> None:
    """Neither the baseline's own nor the scale-invariant ones end an audit; the text names them."""
    spoilt = with_equivalents(family, diverged)
    for text, recipe in (
        (at_symmetry(squared_norm, with_runs(family, diverged), "permutation"), BASELINE),
        (at_symmetry(squared_norm, spoilt, "normalization-scale"), "exponential-rate, first"),
    ):
        assert isinstance(text, str)
        assert "diverged" in text and f"recipe {recipe} (" in text and f"n={MIDDLE}" in text
    assert isinstance(at_symmetry(squared_norm, spoilt, "permutation"), Invariance)


def test_a_measure_only_reads(family: Family) -> None:
    """As everywhere else: one that writes would be taken for a random one."""

    def spoiler(network: TrainedNetwork) -> float:
        with torch.no_grad():
            next(network.model.parameters()).mul_(2)
        return squared_norm(network)

    with pytest.raises(MeasureError, match="changed the network"):
        at_symmetry(spoiler, family, "permutation")


def test_curves_have_the_values_of_every_check_on_demand(family: Family) -> None:
    """By the ids that are planned; without equivalents, those of symmetries."""
    asked: list[TrainedNetwork] = []

    def ruler(network: TrainedNetwork) -> float:
        asked.append(network)
        return 1.0

    curves = learning_curves(ruler, family)
    assert list(curves.invariances) == [check.id for check in plan_checks(SAME_FUNCTION, [])]
    assert not asked
    for _ in range(2):
        assert moved(curves.invariances["symmetry-split-neurons"]) == [0, 0]
    # before with two draws, to see whether it draws numbers, on the other network, and after on two
    assert len(asked) == 2 + 1 + 2
    assert moved(curves.invariances["symmetry-permutation"]) == [0, 0]
    assert len(asked) == 5 + 2
    runs = {place: family.trained_run(*place) for place in family.plan.runs}
    alone = learning_curves(ruler, Family(family.plan, runs, CPU))
    assert list(alone.invariances) == [check.id for check in plan_checks(["symmetry"], [])]


def test_parts_of_a_plan_are_trained_together(blobs: Task, small_recipe: Recipe) -> None:
    """The equivalents are the plan's last part: of one size, at most two seeds, no ladder."""
    plan = FamilyPlan(
        blobs, {BASELINE: small_recipe}, (16, 32, 64, 128), (5, 3, 9), with_equivalents=True
    )
    equivalents = plan.equivalents
    assert equivalents is not None and plan.equivalents is equivalents
    assert [id(part) for part in plan.parts] == [id(plan), id(equivalents)]
    assert (equivalents.sizes, equivalents.seeds) == ((32,), (5, 3))
    arms = [arm for each in EQUIVALENCES.values() for arm in each.arms]
    assert list(equivalents.recipes) == arms
    assert equivalents.equivalents is None and equivalents.rungs == []
    without = FamilyPlan(blobs, {BASELINE: small_recipe}, (16, 32), (0,))
    assert without.equivalents is None and without.parts == [without]
    quick = FamilyPlan(
        blobs, {BASELINE: small_recipe.replace(stopping=fixed_steps(1))}, (8, 16), (0, 1)
    )
    assert train_families([quick], device=CPU)[0].equivalents is None
