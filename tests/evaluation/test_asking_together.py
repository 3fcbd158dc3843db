"""Networks of several recipes in one stack, as on a CUDA device; here they live on the CPU."""

from __future__ import annotations

import pytest
import torch

from pytest_fragility.errors import MeasureError
from pytest_fragility.evaluation import together as module
from pytest_fragility.evaluation.asking import evaluate
from pytest_fragility.evaluation.evaluate import Asking, Failures, evaluate_size
from pytest_fragility.evaluation.together import Row, can_be_asked_together, together
from pytest_fragility.families.family import Family
from pytest_fragility.families.plan import FamilyPlan
from pytest_fragility.families.train import train_families
from pytest_fragility.measures import (
    Measure,
    hessian_largest_eigenvalue,
    inverse_margin,
    negative_log_evidence,
    pac_bayes_flatness_as_published,
    parameter_norm,
    path_norm,
    path_norm_at_initialization,
    stacked,
    worst_case_sharpness,
)
from pytest_fragility.measures.stacked import StackMeasure
from pytest_fragility.networks.stacks import NetworkStack
from pytest_fragility.perturbations import BASELINE
from pytest_fragility.recipes import MLP, Recipe, fixed_steps
from pytest_fragility.tasks import Task

CPU = torch.device("cpu")
SIZES = (16, 32)


@pytest.fixture(scope="module")
def family(blobs: Task, small_recipe: Recipe) -> Family:
    """Four recipes, one of them of wider networks; two sizes, three seeds."""
    recipes = {
        BASELINE: small_recipe,
        "longer": small_recipe.replace(stopping=fixed_steps(90)),
        "wider": small_recipe.replace(architecture=MLP(hidden=(12,))),
        "shorter": small_recipe.replace(stopping=fixed_steps(30)),
    }
    return train_families([FamilyPlan(blobs, recipes, SIZES, (0, 1, 2))], device=CPU)[0]


@pytest.fixture
def sizes_of_stacks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many networks each call is about, whatever measure is asked."""
    found: list[int] = []
    plain = StackMeasure.over_stack

    def counting(self: StackMeasure, stack: NetworkStack) -> object:
        found.append(len(stack))
        return plain(self, stack)

    monkeypatch.setattr(StackMeasure, "over_stack", counting)
    return found


def row_of(measure: Measure, family: Family, *, scale: str = "linear") -> Row:
    """Return what gives the values of a recipe at a size."""
    askings = {
        recipe: Asking(measure, "it", family, recipe, scale=scale) for recipe in family.recipes
    }
    return together(measure, askings)


def test_values_are_those_of_each_recipe_alone(family: Family) -> None:
    """To the rounding of float32, in which the sharpness takes its gradients."""
    cases: list[Measure] = [
        path_norm,
        path_norm.bound_form,
        path_norm_at_initialization.logarithm,
        hessian_largest_eigenvalue,
        worst_case_sharpness,
        pac_bayes_flatness_as_published,
    ]
    for measure in cases:
        row = row_of(measure, family)
        for recipe in family.recipes:
            expected = evaluate(measure, "it", family, recipe, scale="linear")
            for n, values in zip(SIZES, expected.tolist(), strict=True):
                assert row(recipe, n, Failures()) == pytest.approx(values, rel=1e-6)


def test_recipes_of_one_shape_share_a_call(family: Family, sizes_of_stacks: list[int]) -> None:
    """One for each size; networks of another shape are asked about alone."""
    row = row_of(parameter_norm, family)
    for recipe in ("longer", "wider", BASELINE, "shorter"):
        for n in SIZES:
            row(recipe, n, Failures())
    assert sizes_of_stacks == [9, 9, 3, 3]


def test_a_call_is_about_as_many_as_memory_is_meant_for(
    family: Family, sizes_of_stacks: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No more than two recipes' here, and one's where not even these fit."""
    asking = Asking(parameter_norm, "it", family, BASELINE)
    monkeypatch.setattr(module, "TOGETHER_BYTES", 8 * module._bytes(asking, 16))
    row = row_of(parameter_norm, family)
    for recipe in (BASELINE, "longer", "shorter"):
        row(recipe, 16, Failures())
    assert sizes_of_stacks == [6, 3]
    monkeypatch.setattr(module, "TOGETHER_BYTES", 1)
    row_of(parameter_norm, family)(BASELINE, 16, Failures())
    assert sizes_of_stacks == [6, 3, 3]


def test_a_failure_is_that_of_its_network_alone(family: Family) -> None:
    """The others have their values, and the message is the one of a recipe asked alone."""

    def answers(row: Row) -> tuple[dict[str, str], dict[tuple[int, int], str]]:
        failures, found = Failures(), {}
        for recipe in family.recipes:
            try:
                found[recipe] = repr(row(recipe, 32, failures))
            except MeasureError as error:
                found[recipe] = str(error)
        return found, {place: str(error) for place, error in failures.found.items()}

    def alone(recipe: str, n: int, failures: Failures) -> list[float]:
        return evaluate_size(Asking(inverse_margin, "it", family, recipe), n, failures)

    # a margin is negative where some sample is mistaken, as in those that trained less
    found = answers(row_of(inverse_margin, family, scale="log"))
    assert found == answers(alone)
    assert any("recipe shorter" in text for text in [*found[0].values(), *found[1].values()])


def test_whom_it_is_for(family: Family) -> None:
    """Measures of this package that read no recipe, of networks on a CUDA device."""
    trained = {place: family.trained_run(*place) for place in family.plan.runs}
    on_device = Family(family.plan, trained, torch.device("cuda"))

    @stacked
    def users(stack: NetworkStack) -> torch.Tensor:
        return torch.ones(len(stack)) * stack.recipe.batch_size

    assert can_be_asked_together(path_norm, on_device)
    assert can_be_asked_together(path_norm.bound_form, on_device)
    assert not can_be_asked_together(path_norm, family)
    assert not can_be_asked_together(users, on_device)
    assert not can_be_asked_together(lambda network: 1.0, on_device)
    assert not can_be_asked_together(negative_log_evidence, on_device)
