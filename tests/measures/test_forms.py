"""The bound's form: the root of value over n, under a name of its own."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from pytest_fragility.errors import MeasureError, SettingsError
from pytest_fragility.evaluation.asking import evaluate
from pytest_fragility.evaluation.measured_curves import learning_curves
from pytest_fragility.families.family import Family
from pytest_fragility.measures import (
    Measure,
    StackMeasure,
    adapt,
    bound_form,
    is_control,
    measure_name,
    noise,
    oracle_test_error,
    parameter_count,
    path_norm,
    stacked,
)
from pytest_fragility.measures.measure import BOUND_FORM, RAW, is_oracle, measure_form
from pytest_fragility.networks.trained_network import TrainedNetwork
from pytest_fragility.perturbations import BASELINE
from tests.in_turn import in_turn
from tests.sample_networks import perceptron, sample_network

unhurried = settings(deadline=None)


def network_of(n: int) -> TrainedNetwork:
    """Return an untrained network with so many samples."""
    return sample_network(perceptron([2, 3, 2]), torch.zeros(n, 2), torch.zeros(n).long())


def returning(value: Any) -> Measure:
    """Return a measure called ``ruler`` that returns this value."""

    def ruler(network: TrainedNetwork) -> Any:
        """Return what was asked for."""
        return value

    return ruler


@unhurried
@given(value=st.floats(0, 1e300), n=st.integers(1, 10**6))
def test_the_bound_form_is_the_root_of_value_over_n(value: float, n: int) -> None:
    """For a measure of one's own, of one network or of stacks."""
    network = replace(network_of(2), n=n)
    expected = math.sqrt(value) / math.sqrt(n)
    assert bound_form(returning(value))(network) == pytest.approx(expected, rel=1e-12, abs=1e-150)
    over_stacks = bound_form(stacked(lambda stack: [value] * len(stack)))
    assert over_stacks(network) == pytest.approx(expected, rel=1e-12, abs=1e-150)


@in_turn(
    "value",
    [
        100,
        100.0,
        Fraction(100),
        np.float32(100),
        np.float64(100),
        np.int64(100),
        np.array(100.0),
        torch.tensor(100.0),
        torch.tensor(100.0, dtype=torch.float64),
        torch.tensor(100),
        torch.tensor(100.0, requires_grad=True),
    ],
    ids=repr,
)
def test_the_bound_form_takes_every_kind_of_number(value: Any, small_family: Family) -> None:
    """Whatever a measure may return, it may be audited in its bound's form."""
    assert float(bound_form(returning(value))(network_of(25))) == 2.0
    values = evaluate(bound_form(returning(value)), "ruler", small_family, "adam")
    np.testing.assert_allclose(values, 10 / np.sqrt([[16] * 3, [32] * 3, [64] * 3]), rtol=1e-6)


@in_turn("value", [-2.5, np.float64(-2.5), torch.tensor(-2.5), Fraction(-5, 2)], ids=repr)
def test_a_negative_value_has_no_root(value: Any, small_family: Family) -> None:
    """The error names measure and value, and in an audit the run."""
    with pytest.raises(ValueError, match=r"ruler is -2.5: the root of value / n needs value >= 0"):
        bound_form(returning(value))(network_of(4))
    with pytest.raises(MeasureError, match=r"n=16, seed 0: raised ValueError: ruler is -2.5"):
        evaluate(bound_form(returning(value)), "ruler", small_family, "adam")


@in_turn("value", [float("nan"), float("inf")])
def test_what_is_not_finite_stays_so(value: float, small_family: Family) -> None:
    """The audit then says what came back."""
    found = bound_form(returning(value))(network_of(4))
    assert found == value or (math.isnan(found) and math.isnan(value))
    with pytest.raises(MeasureError, match=f"returned {value}, expected a finite number"):
        evaluate(bound_form(returning(value)), "ruler", small_family, "adam")


def test_the_bound_form_has_a_name_and_a_form() -> None:
    """Reports and ids say what is audited; the measure itself stays as it is."""
    measure = returning(4.0)
    bound = bound_form(measure)
    assert measure_name(bound) == bound.__name__ == bound.__qualname__ == "ruler.bound_form"
    assert measure_form(bound) == BOUND_FORM
    assert measure.__name__ == "ruler" and measure_form(measure) == ""
    assert bound.__doc__ == "Return what was asked for."


def test_the_bound_form_of_a_stacked_measure_is_its_attribute() -> None:
    """It is still computed for a whole stack at once."""
    bound = bound_form(path_norm)
    assert isinstance(bound, StackMeasure)
    assert measure_name(bound) == "path_norm.bound_form" == path_norm.bound_form.__name__
    assert measure_form(bound) == BOUND_FORM and path_norm.form == RAW
    network = network_of(25)
    assert bound(network) == path_norm.bound_form(network)
    assert bound(network) == pytest.approx(math.sqrt(path_norm(network)) / 5, rel=1e-12)


def test_the_bound_form_of_a_bound_form_is_refused() -> None:
    """A second root is a mistake, whatever kind of measure it is taken of."""
    with pytest.raises(SettingsError, match="already a bound's form"):
        bound_form(path_norm.bound_form)
    with pytest.raises(SettingsError, match="already a bound's form"):
        bound_form(bound_form(returning(4.0)))


def test_an_oracle_stays_an_oracle() -> None:
    """And a control a control, neither of which makes one of another measure."""
    bound = bound_form(oracle_test_error)
    assert is_oracle(bound) and is_control(bound)
    assert oracle_test_error.__name__ == "oracle_test_error"
    assert is_control(bound_form(noise)) and not is_oracle(bound_form(noise))
    assert is_control(bound_form(parameter_count))
    for measure in (path_norm, returning(1.0)):
        assert not is_oracle(bound_form(measure)) and not is_control(bound_form(measure))


def test_an_oracle_is_audited_in_its_bound_form(small_family: Family) -> None:
    """It is handed the test record as before."""
    error = evaluate(oracle_test_error, "oracle", small_family, "adam")
    bound = evaluate(bound_form(oracle_test_error), "oracle", small_family, "adam")
    sizes = np.array([[16.0], [32.0], [64.0]])
    np.testing.assert_allclose(bound, np.sqrt(error / sizes), rtol=1e-12)


def layers(model: nn.Module) -> float:
    """Return how many modules there are."""
    assert isinstance(model, nn.Module)
    return float(len(list(model.children())))


def batches(net: nn.Module, loader: Any, dataloader: Any, acc: float) -> float:
    """Return the number of samples that a loader gives."""
    assert isinstance(net, nn.Module)
    return float(sum(len(labels) for _, labels in dataloader)) * (0 <= acc <= 1)


@in_turn(
    ("measure", "expected"),
    [(layers, math.sqrt(4 / 9)), (adapt(batches, net="model"), 1.0)],
    ids=["model", "dataloader"],
)
def test_functions_of_other_arguments_have_a_bound_form(
    measure: Measure, expected: float, small_family: Family
) -> None:
    """They are filled as they are without it, and errors still say how."""
    assert bound_form(measure)(network_of(9)) == pytest.approx(expected, rel=1e-12)
    assert measure_name(bound_form(measure)) == f"{measure.__name__}.bound_form"
    values = evaluate(bound_form(measure), "ruler", small_family, BASELINE)
    raw = evaluate(measure, "ruler", small_family, BASELINE)
    sizes = np.array([[16.0], [32.0], [64.0]])
    np.testing.assert_allclose(values, np.sqrt(raw / sizes), rtol=1e-12)

    def broken(model: nn.Module, dataloader: Any) -> float:
        raise OSError("no disk")

    with pytest.raises(MeasureError, match="called with model=model, dataloader=dataloader: raise"):
        evaluate(bound_form(broken), "broken", small_family, BASELINE)


def test_a_function_whose_arguments_say_nothing_has_no_bound_form() -> None:
    """It is refused when the form is asked for, not when it is audited."""

    def unclear(left: Any, right: Any) -> float:
        return 1.0

    with pytest.raises(SettingsError, match="cannot tell what to pass for 'left'"):
        bound_form(unclear)


@in_turn("make", [bound_form, lambda measure: measure.bound_form])
def test_what_does_not_depend_on_n_has_slope_minus_one_half(
    make: Callable[[StackMeasure], Measure], small_family: Family
) -> None:
    """Exactly, for every seed and recipe: the bound's form alone gives the exponent 1/2."""
    curves = learning_curves(make(parameter_count), small_family)
    assert curves.measure_name == "parameter_count.bound_form"
    for recipe in small_family.recipes:
        curve = curves.measure[recipe]
        np.testing.assert_allclose(curve.slopes, -0.5, atol=1e-12)
        assert curve.exponent == pytest.approx(0.5, abs=1e-12)
        # 6 * 8 + 8 + 8 * 3 + 3 parameters
        np.testing.assert_allclose(curve.values[:, 0] ** 2 * [16, 32, 64], 83, rtol=1e-12)
