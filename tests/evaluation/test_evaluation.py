"""Measures are held to their word: one real number, nothing changed."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch

from pytest_fragility.errors import MeasureError, UndefinedMeasureError
from pytest_fragility.evaluation.asking import evaluate
from pytest_fragility.families.family import Family
from pytest_fragility.families.plan import FamilyPlan
from pytest_fragility.families.train import train_families
from pytest_fragility.measures import (
    StackMeasure,
    oracle,
    oracle_test_error,
    parameter_count,
    path_norm,
    stacked,
)
from pytest_fragility.networks.stacks import NetworkStack
from pytest_fragility.networks.trained_network import OracleNetwork, TrainedNetwork
from pytest_fragility.perturbations import BASELINE
from pytest_fragility.recipes import SGD, Recipe, fixed_steps
from pytest_fragility.tasks import Task

Behaviour = Callable[[TrainedNetwork], Any]


def last_run(act: Behaviour) -> Behaviour:
    """Return a measure that is well-behaved until n=64, seed 2, where it does `act`."""

    def measure(network: TrainedNetwork) -> Any:
        return act(network) if (network.n, network.seed) == (64, 2) else 1.0

    return measure


def values_of(measure: Behaviour, family: Family, *, scale: str = "log") -> Any:
    """Return a measure's values under Adam."""
    return evaluate(measure, "ruler", family, "adam", scale=scale)


def error_of(act: Behaviour, family: Family, *, scale: str = "log") -> str:
    """Return the text of the error that `act` causes, checked to name measure and run."""
    with pytest.raises(MeasureError) as error:
        values_of(last_run(act), family, scale=scale)
    text = str(error.value)
    for part in ("measure ruler", "task blobs", "recipe adam (", "lr=0.001", "n=64", "seed 2"):
        assert part in text
    return text


def returning(value: Any) -> Behaviour:
    """Return a measure that returns this value everywhere."""
    return lambda network: value


def change_weight(network: TrainedNetwork) -> float:
    """Nudge a weight in place."""
    with torch.no_grad():
        next(network.model.parameters())[0, 0] += 1e-3
    return 1.0


def change_initial_bias(network: TrainedNetwork) -> float:
    """Nudge an initial bias in place."""
    with torch.no_grad():
        list(network.initial_model.parameters())[1][0] = 3.0
    return 1.0


def go_double(network: TrainedNetwork) -> float:
    """Convert the model in place."""
    network.model.double()
    return 1.0


def leave_train_mode(network: TrainedNetwork) -> float:
    """Switch to train mode and leave it."""
    network.model.train()
    return 1.0


def leave_train_mode_of_initial(network: TrainedNetwork) -> float:
    """Switch the initial model to train mode and leave it."""
    network.initial_model.train()
    return 1.0


def change_inputs(network: TrainedNetwork) -> float:
    """Normalize the inputs in place."""
    network.inputs.sub_(network.inputs.mean())
    return 1.0


def change_labels(network: TrainedNetwork) -> float:
    """Shuffle the labels in place."""
    network.labels.copy_((network.labels + 1) % 3)
    return 1.0


def drop_parameter(network: TrainedNetwork) -> float:
    """Take a bias away."""
    list(network.model.children())[1].register_parameter("bias", None)
    return 1.0


def divide_by_zero(network: TrainedNetwork) -> float:
    """Raise what Python raises."""
    return network.n / 0


def mean_gradient(network: TrainedNetwork) -> float:
    """Compute gradients with backward(), and leave them behind."""
    loss = torch.nn.functional.cross_entropy(network.model(network.inputs), network.labels)
    torch.autograd.backward(loss)
    gradients = [parameter.grad for parameter in network.model.parameters()]
    return sum(float(gradient.abs().sum()) for gradient in gradients if gradient is not None)


def test_what_is_no_positive_number_is_refused(small_family: Family) -> None:
    """The error says what came back, and from which run."""
    cases: list[tuple[Any, str]] = [
        (0.0, "returned 0, which has no logarithm"),
        (0, "returned 0, which has no logarithm"),
        (-1.5, "returned -1.5, which has no logarithm"),
        (np.float32(-2), "returned -2, which has no logarithm"),
        (torch.tensor(-3.0), "returned -3, which has no logarithm"),
        (float("nan"), "returned nan, expected a finite number"),
        (float("inf"), "returned inf, expected a finite number"),
        (float("-inf"), "returned -inf, expected a finite number"),
        (torch.tensor(float("nan")), "returned nan, expected a finite number"),
        (np.float64("inf"), "returned inf, expected a finite number"),
        (torch.ones(2), "returned a tensor of shape (2,), expected one number"),
        (torch.ones(1), "returned a tensor of shape (1,), expected one number"),
        (torch.ones(2, 3), "returned a tensor of shape (2, 3), expected one number"),
        ("0.5", "returned str ('0.5'), expected one real number"),
        (None, "returned NoneType (None), expected one real number"),
        (1 + 2j, "returned complex ((1+2j)), expected one real number"),
        (torch.tensor(1j), "returned complex (1j), expected one real number"),
        (True, "returned bool (True), expected one real number"),
        (np.bool_(True), "expected one real number"),
        (torch.tensor(True), "returned bool (True), expected one real number"),
        (np.ones(2), "returned ndarray of shape (2,)"),
        (np.ones(1), "returned ndarray of shape (1,)"),
        (np.ones((50, 50)), "returned ndarray of shape (50, 50)"),
        ([0.5], "returned list ([0.5]), expected one real number"),
        ((0.5, 0.1), "returned tuple"),
    ]
    for value, text in cases:
        message = error_of(returning(value), small_family)
        assert text in message
        assert len(message) < 500


def test_the_errors_say_what_to_do(small_family: Family) -> None:
    """Reduce a tensor, exponentiate a logarithm, or ask for a linear scale."""
    assert ".sum() or .mean()" in error_of(returning(torch.ones(2)), small_family)
    assert "scale='linear'" in error_of(returning(-1.0), small_family)
    assert "copy.deepcopy(network.model)" in error_of(change_weight, small_family)


def test_a_measure_only_reads(small_family: Family) -> None:
    """The error says what was changed."""
    cases: list[tuple[Behaviour, str]] = [
        (change_weight, "model's 1.weight"),
        (change_initial_bias, "initial_model's 1.bias"),
        (go_double, "model's 1.weight"),
        (leave_train_mode, "model's train mode"),
        (leave_train_mode_of_initial, "initial_model's train mode"),
        (change_inputs, "inputs"),
        (change_labels, "labels"),
        (drop_parameter, "model's 1.bias"),
    ]
    for act, part in cases:
        assert f"changed the network it was handed ({part})" in error_of(act, small_family)


def test_what_a_measure_changes_harms_nobody(small_family: Family) -> None:
    """It was handed a copy: the family is as before, inputs of the task included."""
    before = values_of(mean_gradient, small_family)
    for act in (change_weight, change_initial_bias, change_inputs, change_labels, go_double):
        with pytest.raises(MeasureError):
            values_of(act, small_family)
    np.testing.assert_array_equal(values_of(mean_gradient, small_family), before)


def test_an_exception_is_chained(small_family: Family) -> None:
    """The measure's own exception stays visible."""
    with pytest.raises(MeasureError, match="raised ZeroDivisionError: division by zero") as error:
        values_of(last_run(divide_by_zero), small_family)
    assert isinstance(error.value.__cause__, ZeroDivisionError)
    assert "n=64, seed 2" in str(error.value)
    assert "measure ruler" in str(error.value) and "recipe adam" in str(error.value)


def test_an_interruption_is_not_swallowed(small_family: Family) -> None:
    """Ctrl-C ends the audit, not the measure."""

    def interrupt(network: TrainedNetwork) -> float:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        values_of(interrupt, small_family)


def test_every_kind_of_positive_number_will_do(small_family: Family) -> None:
    """Python's, NumPy's and torch's."""
    cases: list[Any] = [
        0.5,
        1,
        np.float32(0.5),
        np.float64(0.5),
        np.int64(1),
        np.array(0.5),
        np.array(1),
        Fraction(1, 2),
        torch.tensor(0.5),
        torch.tensor(0.5, dtype=torch.float64),
        torch.tensor(1),
        torch.tensor(0.5, requires_grad=True),
        torch.tensor(0.5, requires_grad=True) * 1,
    ]
    for value in cases:
        values = values_of(returning(value), small_family)
        assert values.dtype == np.float64 and values.shape == (3, 3)
        np.testing.assert_array_equal(
            values, float(value.detach() if torch.is_tensor(value) else value)
        )


def test_a_linear_scale_takes_any_finite_number(small_family: Family) -> None:
    """Zero and negative numbers included."""
    cases: list[float] = [0.0, -2.5, 0, -1]
    for value in cases:
        values = values_of(returning(value), small_family, scale="linear")
        np.testing.assert_array_equal(values, value)


def test_a_linear_scale_takes_no_other(small_family: Family) -> None:
    """What is not finite ends the audit on any scale."""
    cases: list[float] = [float("nan"), float("inf"), float("-inf")]
    for value in cases:
        message = error_of(returning(value), small_family, scale="linear")
        assert f"returned {value}, expected a finite number" in message


def test_values_stand_by_size_and_seed(small_family: Family) -> None:
    """Rows are sizes, columns seeds; only the recipe asked for is measured."""

    def place(network: TrainedNetwork) -> float:
        assert network.recipe_name == "adam"
        return 1000 * network.n + network.seed

    expected = [[1000 * n + seed for seed in (0, 1, 2)] for n in (16, 32, 64)]
    np.testing.assert_array_equal(
        values_of(place, small_family, scale="linear"), np.array(expected, dtype=float)
    )


def test_gradients_left_behind_are_no_change(small_family: Family) -> None:
    """backward() on the copy is what gradients are allowed for."""
    values = values_of(mean_gradient, small_family)
    assert np.all(values > 0) and len(np.unique(values)) == values.size


def test_gradients_are_allowed_where_the_caller_forbids_them(small_family: Family) -> None:
    """A measure works the same within torch.no_grad()."""
    expected = values_of(mean_gradient, small_family)
    with torch.no_grad():
        np.testing.assert_array_equal(values_of(mean_gradient, small_family), expected)
        assert not torch.is_grad_enabled()


def test_inference_mode_of_the_caller_does_not_matter(small_family: Family) -> None:
    """A measure works the same within torch.inference_mode(), gradients included."""
    expected = values_of(mean_gradient, small_family)
    with torch.inference_mode():
        values = values_of(mean_gradient, small_family)
        assert torch.is_inference_mode_enabled()
    np.testing.assert_array_equal(values, expected)
    np.testing.assert_array_equal(values_of(mean_gradient, small_family), expected)


def test_a_measure_sees_no_test_data(small_family: Family) -> None:
    """Only a marked oracle is handed the test set."""

    def sees_test_data(network: TrainedNetwork) -> float:
        return 1.0 + isinstance(network, OracleNetwork) + hasattr(network, "test_inputs")

    assert np.all(values_of(sees_test_data, small_family) == 1)
    assert np.all(values_of(oracle(sees_test_data), small_family) == 3)


def test_an_oracle_is_evaluated_on_every_network(small_family: Family) -> None:
    """Its values are the records' test errors."""
    expected = [
        [small_family.trained_run("adam", n, seed).record.test_error for seed in (0, 1, 2)]
        for n in (16, 32, 64)
    ]
    np.testing.assert_array_equal(
        evaluate(oracle_test_error, "oracle", small_family, "adam"), np.array(expected)
    )


def test_randomness_starts_afresh_for_every_measure(small_family: Family) -> None:
    """What one measure draws changes nothing for the next."""

    def draw(network: TrainedNetwork) -> float:
        return float(torch.rand((), generator=network.rng))

    np.testing.assert_array_equal(values_of(draw, small_family), values_of(draw, small_family))


def test_a_submodule_left_in_train_mode_is_noticed(small_family: Family) -> None:
    """Not the network as a whole, but one of its layers."""

    def leave_a_layer(network: TrainedNetwork) -> float:
        next(network.model.children()).train()
        return 1.0

    with pytest.raises(MeasureError, match="model's train mode"):
        evaluate(leave_a_layer, "leave_a_layer", small_family, BASELINE)


def test_a_number_too_large_for_a_float_is_named(small_family: Family) -> None:
    """Python's integers know no limit, floats do."""
    with pytest.raises(MeasureError, match=r"huge on task .*too large for a float"):
        evaluate(lambda network: 10**400, "huge", small_family, BASELINE)


def test_a_diverged_network_is_not_taken_for_a_changed_one(blobs: Task) -> None:
    """Its weights are NaN, which is unlike itself."""
    recipe = Recipe(optimizer=SGD(lr=1e20), stopping=fixed_steps(30))
    plan = FamilyPlan(blobs, {BASELINE: recipe}, (16, 32), (0, 1))
    (family,) = train_families([plan], device=torch.device("cpu"))
    assert family.trained_run(BASELINE, 16, 0).record.diverged
    assert (evaluate(parameter_count, "count", family, BASELINE) > 0).all()


# measures of stacks


def over_stacks(act: Callable[[NetworkStack], Any]) -> StackMeasure:
    """Return a stacked measure that is well-behaved until n=64, where it does `act`."""

    def measure(stack: NetworkStack) -> Any:
        return act(stack) if stack.n == 64 else [1.0] * len(stack)

    return stacked(measure)


def stack_error_of(
    act: Callable[[NetworkStack], Any], family: Family, *, scale: str = "log"
) -> str:
    """Return the text of the error that `act` causes, checked to name measure and size."""
    with pytest.raises(MeasureError) as error:
        values_of(over_stacks(act), family, scale=scale)
    text = str(error.value)
    for part in ("measure ruler on task blobs, recipe adam (", "lr=0.001", ", n=64, seed"):
        assert part in text
    return text


@pytest.mark.parametrize("place", [0, 1, 2])
def test_where_a_stacked_measure_is_undefined_one_run_is_named(
    place: int, small_family: Family
) -> None:
    """The one that the error points at, and its reason as it is."""

    def act(stack: NetworkStack) -> Any:
        raise UndefinedMeasureError("no margin here", place)

    assert stack_error_of(act, small_family).endswith(f"n=64, seed {place}: no margin here")
    with pytest.raises(MeasureError) as error:
        values_of(over_stacks(act), small_family)
    assert error.value.__cause__ is None and error.value.__suppress_context__


def test_an_undefined_plain_measure_gives_its_reason(small_family: Family) -> None:
    """And no name of an exception, for it is none of the measure's mistakes."""

    def act(network: TrainedNetwork) -> float:
        raise UndefinedMeasureError("no margin here")

    text = error_of(act, small_family)
    assert text.endswith("n=64, seed 2: no margin here") and "raised" not in text


def test_an_exception_of_a_stacked_measure_names_all_seeds(small_family: Family) -> None:
    """No one knows which of them it was; the exception stays visible."""

    def act(stack: NetworkStack) -> float:
        return stack.n / 0

    text = stack_error_of(act, small_family)
    assert "n=64, seeds 0, 1, 2: raised ZeroDivisionError: division by zero" in text
    with pytest.raises(MeasureError) as error:
        values_of(over_stacks(act), small_family)
    assert isinstance(error.value.__cause__, ZeroDivisionError)


def test_an_interruption_of_a_stacked_measure_is_not_swallowed(small_family: Family) -> None:
    """Ctrl-C ends the audit, not the measure."""

    def interrupt(stack: NetworkStack) -> float:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        values_of(over_stacks(interrupt), small_family)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "returned 0, which has no logarithm"),
        (-1.5, "returned -1.5, which has no logarithm"),
        (float("nan"), "returned nan, expected a finite number"),
        (float("inf"), "returned inf, expected a finite number"),
        (float("-inf"), "returned -inf, expected a finite number"),
    ],
)
def test_what_is_no_positive_number_in_a_stack_names_its_run(
    value: float, text: str, small_family: Family
) -> None:
    """One seed's value among good ones."""
    for place in range(3):

        def act(stack: NetworkStack, place: int = place) -> torch.Tensor:
            values = torch.ones(len(stack))
            values[place] = value
            return values

        assert f"n=64, seed {place}: {text}" in stack_error_of(act, small_family)


@pytest.mark.parametrize("value", [0.0, -2.5])
def test_a_linear_scale_takes_any_finite_number_of_a_stack(
    value: float, small_family: Family
) -> None:
    """As from a plain measure, and no others."""
    values = values_of(stacked(lambda stack: [value] * 3), small_family, scale="linear")
    np.testing.assert_array_equal(values, np.full((3, 3), value))
    act = returning_for_stack(float("nan"))
    assert "seed 0: returned nan" in stack_error_of(act, small_family, scale="linear")


def returning_for_stack(value: float) -> Callable[[NetworkStack], list[float]]:
    """Return a measure of a stack that returns this value for all networks."""
    return lambda stack: [value] * len(stack)


@pytest.mark.parametrize(
    ("part", "name"),
    [
        ("weights", "1.weight"),
        ("weights", "3.bias"),
        ("initial_weights", "1.bias"),
    ],
)
def test_a_stacked_measure_only_reads(
    part: str, name: str, blobs: Task, small_recipe: Recipe
) -> None:
    """What it changes in place is named, for other measures share it."""
    plan = FamilyPlan(blobs, {"adam": small_recipe.replace(stopping=fixed_steps(2))}, (16,), (0, 1))
    (family,) = train_families([plan], device=torch.device("cpu"))

    def change(stack: NetworkStack) -> list[float]:
        getattr(stack, part)[name].mul_(1.0)
        return [1.0, 1.0]

    with pytest.raises(MeasureError) as error:
        values_of(stacked(change), family)
    text = str(error.value)
    assert f"n=16, seeds 0, 1: changed the stack it was handed ({part}, {name})" in text
    assert "clone what is to change" in text


def test_a_stacked_measure_that_changes_copies_is_welcome(small_family: Family) -> None:
    """Clones, samples and the results of views that are not written to."""

    def act(stack: NetworkStack) -> torch.Tensor:
        weight = stack.weights["1.weight"].clone()
        weight.zero_()
        stack.inputs.zero_()
        return weight.sum(dim=(1, 2)) + 1

    np.testing.assert_array_equal(values_of(over_stacks(act), small_family), np.ones((3, 3)))


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_the_callers_mode_does_not_matter_to_stacked_measures(
    mode: Callable[[], Any], blobs: Task, small_recipe: Recipe
) -> None:
    """Gradients are allowed within, and stacks are made for everyone."""
    recipe = small_recipe.replace(stopping=fixed_steps(3))
    plan = FamilyPlan(blobs, {"adam": recipe}, (16, 32), (0, 1))
    (family,) = train_families([plan], device=torch.device("cpu"))

    def slope(stack: NetworkStack) -> torch.Tensor:
        weight = stack.weights["1.weight"].clone().requires_grad_()
        (gradient,) = torch.autograd.grad(weight.square().sum(), weight)
        return gradient.abs().sum(dim=(1, 2))

    with mode():
        family.stack("adam", 16)
        inside = values_of(stacked(slope), family)
    expected = [
        [
            2 * float(family.trained_run("adam", n, seed).weights["1.weight"].abs().sum())
            for seed in (0, 1)
        ]
        for n in (16, 32)
    ]
    np.testing.assert_allclose(inside, expected, rtol=1e-5)
    np.testing.assert_array_equal(values_of(stacked(slope), family), inside)


def test_stacked_and_plain_measures_give_the_same_table(small_family: Family) -> None:
    """The path norm for all seeds at once, and called on one network after the other."""

    def one_by_one(network: TrainedNetwork) -> float:
        return path_norm(network)

    np.testing.assert_allclose(
        values_of(path_norm, small_family),
        values_of(one_by_one, small_family),
        rtol=1e-12,
    )


def test_a_diverged_network_is_named_by_a_stacked_measure(blobs: Task) -> None:
    """Its NaN is no usable value, and belongs to one run."""
    recipe = Recipe(optimizer=SGD(lr=1e20), stopping=fixed_steps(30))
    plan = FamilyPlan(blobs, {"adam": recipe}, (16, 32), (0, 1))
    (family,) = train_families([plan], device=torch.device("cpu"))
    with pytest.raises(MeasureError, match=r"n=16, seed 0: returned (nan|inf)"):
        values_of(path_norm, family)
