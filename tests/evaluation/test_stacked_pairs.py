"""Networks with the same function in stacks: the same values as one network and draw at a time."""

from __future__ import annotations

from dataclasses import replace
from itertools import cycle

import numpy as np
import pytest
import torch

from pytest_fragility.curves import Invariance
from pytest_fragility.errors import MeasureError, UndefinedMeasureError
from pytest_fragility.evaluation import same_function as module
from pytest_fragility.evaluation.pairs import stacked_pairs
from pytest_fragility.evaluation.same_function import DRAWS, SameFunctionValues
from pytest_fragility.families.family import Family
from pytest_fragility.families.plan import FamilyPlan
from pytest_fragility.families.train import train_families
from pytest_fragility.measures import reference_measures, stacked
from pytest_fragility.measures.measure import Measure
from pytest_fragility.networks.stacks import NetworkStack
from pytest_fragility.networks.trained_network import TrainedNetwork
from pytest_fragility.perturbations import BASELINE
from pytest_fragility.recipes import Recipe
from pytest_fragility.recipes.equivalences import EQUIVALENCES, NORMALIZATION_SCALE
from pytest_fragility.symmetries import SYMMETRIES
from pytest_fragility.symmetries.symmetry import Symmetry
from pytest_fragility.tasks import Task

CPU = torch.device("cpu")
REFERENCE = reference_measures()
SYMMETRY = "split-neurons"
EQUIVALENCE = "initialization-rate"


@pytest.fixture(scope="module")
def family(blobs: Task, small_recipe: Recipe) -> Family:
    """Three sizes of the baseline, with equivalent trainings of the middle one."""
    plan = FamilyPlan(blobs, {BASELINE: small_recipe}, (16, 32, 64), (0, 1), with_equivalents=True)
    return train_families([plan], device=CPU)[0]


def values_of(measure: Measure, family: Family, *, scale: str = "linear") -> SameFunctionValues:
    """Return what asks a measure."""
    return SameFunctionValues(measure, "ruler", family, alpha=0.05, scale=scale)


def at(measure: Measure, family: Family, change: str) -> Invariance | str:
    """Return a measure's values before and after a symmetry or an equivalence."""
    values = values_of(measure, family)
    return values.of_symmetry(change) if change in SYMMETRIES else values.of_equivalence(change)


def test_stacks_give_what_networks_give_one_by_one(
    monkeypatch: pytest.MonkeyPatch, family: Family
) -> None:
    """Every reference measure, with the same random numbers; changes take turns."""
    monkeypatch.setattr(module, "DRAWS", 3)
    for name, change in zip(REFERENCE, cycle((SYMMETRY, NORMALIZATION_SCALE, EQUIVALENCE))):
        measure = REFERENCE[name]

        def one_by_one(network: TrainedNetwork, measure: Measure = measure) -> float:
            return measure(network)

        found, expected = (at(each, family, change) for each in (measure, one_by_one))
        if isinstance(expected, str):
            assert found == expected, name
            continue
        assert isinstance(found, Invariance)
        assert (found.summary, found.networks) == (expected.summary, expected.networks), name
        for place in ("before", "after"):
            values = [getattr(each, place) for each in (found, expected)]
            np.testing.assert_allclose(*values, rtol=2e-5, atol=1e-12, err_msg=name)


def test_iterations_that_begin_at_random_are_not_random(family: Family) -> None:
    """Their values differ by less than their tolerance, which 16 draws would say nothing of."""
    found = at(REFERENCE["hessian_largest_eigenvalue"], family, SYMMETRY)
    assert isinstance(found, Invariance) and found.before.shape == (2, 1)
    noisy = at(REFERENCE["pac_bayes_flatness"], family, SYMMETRY)
    assert isinstance(noisy, Invariance) and noisy.before.shape == (2, DRAWS)


def test_measures_share_the_pairs(monkeypatch: pytest.MonkeyPatch, family: Family) -> None:
    """Networks are changed once for all measures, and stacks before the changes serve them all."""
    anew = Family(
        family.plan,
        {place: family.trained_run(*place) for place in family.plan.runs},
        CPU,
        equivalents=family.equivalents,
    )
    changed: list[str] = []
    plain = Symmetry.__call__

    def counting(self: Symmetry, network: TrainedNetwork) -> TrainedNetwork | None:
        changed.append(self.name)
        return plain(self, network)

    monkeypatch.setattr(Symmetry, "__call__", counting)
    asked: list[NetworkStack] = []

    @stacked
    def first(stack: NetworkStack) -> list[float]:
        asked.append(stack)
        return [1.0] * len(stack)

    @stacked
    def second(stack: NetworkStack) -> list[float]:
        return first.over_stack(stack).tolist()

    for measure in (first, second):
        for change in ("permutation", SYMMETRY, *EQUIVALENCES):
            at(measure, anew, change)
    assert changed == ["permutation"] * 2 + [SYMMETRY] * 2
    # two draws before, shared by symmetries; one after each
    assert len(asked) == 2 * 4 * 3
    assert len(set(map(id, asked))) == 2 + 2 + len({*EQUIVALENCES}) * 3


def test_a_ruler_sees_both_networks_and_every_draw(family: Family) -> None:
    """Network by network, each with random numbers of its own, the same before and after."""
    seen: list[NetworkStack] = []

    @stacked
    def ruler(stack: NetworkStack) -> torch.Tensor:
        seen.append(stack)
        drawn = [
            torch.rand((), generator=stack.generator(place, "x")) for place in range(len(stack))
        ]
        return torch.stack(drawn)

    found = at(ruler, family, "permutation")
    assert isinstance(found, Invariance)
    assert found.before.shape == (2, DRAWS) and len(np.unique(found.before)) == 2 * DRAWS
    assert np.array_equal(found.before, found.after)
    whole = seen[-1]
    assert whole.seeds == (0,) * DRAWS + (1,) * DRAWS
    for name, weights in whole.weights.items():
        assert weights.shape[0] == 2 * DRAWS
        assert (weights[:DRAWS] == weights[0]).all() and (weights[DRAWS:] == weights[-1]).all(), (
            name
        )
    networks = [family["blobs", BASELINE, 32, seed] for seed in (0, 1)]
    for place, network in ((0, networks[0]), (DRAWS, networks[1])):
        assert torch.equal(whole.inputs[place], network.inputs)
        assert torch.equal(whole.labels[place], network.labels)


def test_many_draws_of_large_networks_come_in_parts(
    monkeypatch: pytest.MonkeyPatch, family: Family
) -> None:
    """No more networks at a time than their activations leave room for; the values are the same."""
    ruler = REFERENCE["pac_bayes_flatness"]
    expected = at(ruler, family, SYMMETRY)
    sizes: list[int] = []

    @stacked
    def watching(stack: NetworkStack) -> object:
        sizes.append(len(stack))
        return ruler.over_stack(stack)

    monkeypatch.setattr(module, "networks_together", lambda stack: 11)
    found = at(watching, family, SYMMETRY)
    assert isinstance(found, Invariance) and isinstance(expected, Invariance)
    # five draws of two networks at a time, before and after, behind two of the first look
    assert sizes == [2, 2, *[10, 10, 10, 2] * 2]
    np.testing.assert_allclose(found.before, expected.before, rtol=1e-6)
    np.testing.assert_allclose(found.after, expected.after, rtol=1e-6)


def test_what_is_drawn_for_samples_is_drawn_at_each_draw(family: Family) -> None:
    """A kernel by Monte Carlo, for one, is random too."""

    @stacked
    def ruler(stack: NetworkStack) -> list[float]:
        return [
            float(
                stack.once_for_samples(
                    place, "drawn", lambda: torch.rand((), generator=stack.generator(0, "x"))
                )
            )
            for place in range(len(stack))
        ]

    found = at(ruler, family, "permutation")
    assert isinstance(found, Invariance) and found.is_random


def test_the_network_that_a_measure_fails_on_is_named(family: Family) -> None:
    """Of a value that is none, the network; of an exception, all that were asked about."""

    @stacked
    def negative(stack: NetworkStack) -> list[float]:
        return [-1.0 if seed else 1.0 for seed in stack.seeds]

    with pytest.raises(MeasureError, match=r"n=32, seed 1: returned -1") as caught:
        values_of(negative, family, scale="log").of_symmetry("permutation")
    assert "seed 0" not in str(caught.value)

    @stacked
    def boom(stack: NetworkStack) -> list[float]:
        raise ZeroDivisionError("by nothing")

    with pytest.raises(MeasureError, match=r"seed 0 and on .*seed 1: raised ZeroDivisionError"):
        at(boom, family, EQUIVALENCE)

    @stacked
    def spoiler(stack: NetworkStack) -> list[float]:
        next(iter(stack.weights.values())).zero_()
        return [1.0] * len(stack)

    with pytest.raises(MeasureError, match=r"changed the stack it was handed \(weights, "):
        at(spoiler, family, "layer-rescaling")

    @stacked
    def choosy(stack: NetworkStack) -> list[float]:
        raise UndefinedMeasureError("never defined", 1)

    assert at(choosy, family, SYMMETRY) == "the measure is not defined there: never defined"


def test_pairs_are_found_again_where_networks_are_others(family: Family) -> None:
    """Families with other weights have pairs of their own."""
    runs = {
        place: replace(run, state=run.initial_state, key=f"initial {run.key}")
        for place in family.plan.runs
        for run in [family.trained_run(*place)]
    }
    untrained = Family(family.plan, runs, CPU, stacks=family.stacks)
    before, after = (
        at(REFERENCE["parameter_norm"], each, "permutation") for each in (family, untrained)
    )
    assert isinstance(before, Invariance) and isinstance(after, Invariance)
    assert (before.before != after.before).all()
    assert stacked_pairs(family, "none", lambda: "a reason") == "a reason"
