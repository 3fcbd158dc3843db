"""Norms of weights, against NumPy loops written from the formulas of Jiang et al. 2020."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

from pytest_fragility.errors import UndefinedMeasureError
from pytest_fragility.measures import (
    StackMeasure,
    frobenius_distance_from_initialization,
    frobenius_over_spectral,
    inverse_margin,
    parameter_norm,
    product_of_frobenius_norms,
    product_of_frobenius_norms_over_margin,
    product_of_spectral_norms,
    product_of_spectral_norms_over_margin,
    spectral_bound_initialization,
    spectral_bound_origin,
    spectral_distance_from_initialization,
    sum_of_frobenius_norms,
    sum_of_frobenius_norms_over_margin,
    sum_of_spectral_norms,
    sum_of_spectral_norms_over_margin,
)
from pytest_fragility.networks.trained_network import TrainedNetwork
from tests.in_turn import in_turn
from tests.sample_networks import labelled_by, perceptron, randomize, sample_network

Floats = npt.NDArray[np.float64]
Matrices = Sequence[Floats]
Formula = Callable[[Matrices, Matrices, float], float]

brief = settings(deadline=None, max_examples=25)
widths = st.lists(st.integers(1, 5), min_size=1, max_size=3).flatmap(
    lambda first: st.integers(2, 4).map(lambda classes: [*first, classes])
)
seeds = st.integers(0, 2**32 - 1)
dtypes = st.sampled_from([torch.float32, torch.float64])


def fro(matrix: Floats) -> float:
    """Return the Frobenius norm, one entry at a time."""
    return math.sqrt(sum(float(entry) ** 2 for entry in matrix.ravel()))


def spec(matrix: Floats) -> float:
    """Return the largest singular value."""
    return float(np.linalg.svd(matrix, compute_uv=False)[0])


def product_of(norm: Callable[[Floats], float], matrices: Matrices) -> float:
    """Return the product of squared norms."""
    result = 1.0
    for matrix in matrices:
        result *= norm(matrix) ** 2
    return result


FORMULAS: dict[StackMeasure, Formula] = {
    inverse_margin: lambda w, w0, g: 1 / g**2,
    parameter_norm: lambda w, w0, g: sum(fro(a) ** 2 for a in w),
    frobenius_distance_from_initialization: lambda w, w0, g: sum(
        fro(a - b) ** 2 for a, b in zip(w, w0, strict=True)
    ),
    spectral_distance_from_initialization: lambda w, w0, g: sum(
        spec(a - b) ** 2 for a, b in zip(w, w0, strict=True)
    ),
    product_of_frobenius_norms: lambda w, w0, g: product_of(fro, w),
    product_of_frobenius_norms_over_margin: lambda w, w0, g: product_of(fro, w) / g**2,
    sum_of_frobenius_norms: lambda w, w0, g: len(w) * product_of(fro, w) ** (1 / len(w)),
    sum_of_frobenius_norms_over_margin: lambda w, w0, g: (
        len(w) * (product_of(fro, w) / g**2) ** (1 / len(w))
    ),
    product_of_spectral_norms: lambda w, w0, g: product_of(spec, w),
    product_of_spectral_norms_over_margin: lambda w, w0, g: product_of(spec, w) / g**2,
    sum_of_spectral_norms: lambda w, w0, g: len(w) * product_of(spec, w) ** (1 / len(w)),
    sum_of_spectral_norms_over_margin: lambda w, w0, g: (
        len(w) * (product_of(spec, w) / g**2) ** (1 / len(w))
    ),
    frobenius_over_spectral: lambda w, w0, g: sum(fro(a) ** 2 / spec(a) ** 2 for a in w),
    spectral_bound_origin: lambda w, w0, g: (
        product_of(spec, w) / g**2 * sum(fro(a) ** 2 / spec(a) ** 2 for a in w)
    ),
    spectral_bound_initialization: lambda w, w0, g: (
        product_of(spec, w)
        / g**2
        * sum(fro(a - b) ** 2 / spec(a) ** 2 for a, b in zip(w, w0, strict=True))
    ),
}
WITHOUT_MARGIN = (
    parameter_norm,
    frobenius_distance_from_initialization,
    spectral_distance_from_initialization,
    product_of_frobenius_norms,
    sum_of_frobenius_norms,
    product_of_spectral_norms,
    sum_of_spectral_norms,
    frobenius_over_spectral,
)

every_norm = in_turn("measure", WITHOUT_MARGIN, ids=lambda measure: measure.__name__)


def network_of(
    sizes: list[int],
    *,
    seed: int = 0,
    n: int = 20,
    bias: bool = True,
    dtype: torch.dtype = torch.float64,
) -> TrainedNetwork:
    """Return a random perceptron that labels its own samples, and another as its beginning."""
    model = randomize(perceptron(sizes, bias=bias), seed).to(dtype)
    initial = randomize(perceptron(sizes, bias=bias), seed + 1).to(dtype)
    inputs = torch.from_numpy(np.random.default_rng(seed).normal(size=(n, sizes[0]))).to(dtype)
    return sample_network(model, inputs, labelled_by(model, inputs), initial_model=initial)


def matrices(model: nn.Module) -> list[Floats]:
    """Return the weights of linear layers and convolutions, one row per output."""
    return [
        parameter.detach().numpy().astype(np.float64).reshape(len(parameter), -1)
        for parameter in model.parameters()
        if parameter.dim() > 1
    ]


def margin_of(network: TrainedNetwork) -> tuple[float, float]:
    """Return the floor(n / 10)-th smallest margin and the largest logit, for scale."""
    hidden = network.inputs.numpy().astype(np.float64)
    linear = [module for module in network.model.children() if isinstance(module, nn.Linear)]
    for place, layer in enumerate(linear):
        hidden = hidden @ layer.weight.detach().numpy().astype(np.float64).T
        if layer.bias is not None:
            hidden = hidden + layer.bias.detach().numpy().astype(np.float64)
        if place < len(linear) - 1:
            hidden = np.maximum(hidden, 0)
    margins = []
    for logits, label in zip(hidden.tolist(), network.labels.tolist(), strict=True):
        others = sorted(logit for place, logit in enumerate(logits) if place != label)
        margins.append(logits[label] - others[-1])
    return sorted(margins)[len(margins) // 10 - 1], float(np.abs(hidden).max())


def expected(measure: StackMeasure, network: TrainedNetwork) -> float:
    """Return the formula's value."""
    margin, _ = margin_of(network)
    return FORMULAS[measure](matrices(network.model), matrices(network.initial_model), margin)


@brief
@given(sizes=widths, seed=seeds, n=st.integers(10, 35), bias=st.booleans(), dtype=dtypes)
def test_norms_are_what_their_formulas_say(
    sizes: list[int], seed: int, n: int, bias: bool, dtype: torch.dtype
) -> None:
    """Raw value, bound's form and logarithm of random ReLU perceptrons, in both precisions."""
    network = network_of(sizes, seed=seed, n=n, bias=bias, dtype=dtype)
    margin, scale = margin_of(network)
    assume(margin > 1e-4 * scale)
    for measure in FORMULAS:
        value = expected(measure, network)
        assert measure(network) == pytest.approx(value, rel=1e-10), measure
        bound = pytest.approx(math.sqrt(value / n), rel=1e-10)
        assert measure.bound_form(network) == bound, measure
        logarithm = pytest.approx(math.log(value), rel=1e-10, abs=1e-10)
        assert measure.logarithm(network) == logarithm, measure


@every_norm
def test_norms_take_a_convolution_as_a_matrix_of_outputs(measure: StackMeasure) -> None:
    """The kernel is reshaped to (outputs, inputs x positions), whatever stride and padding."""

    def build(seed: int) -> nn.Module:
        return randomize(
            nn.Sequential(
                nn.Conv2d(2, 4, 3, stride=2, padding=1),
                nn.ReLU(),
                nn.Conv2d(4, 4, (1, 2), groups=2),
                nn.ReLU(),
                nn.Flatten(),
                nn.Linear(4 * 3 * 2, 3),
            ),
            seed,
        ).double()

    model, initial = build(3), build(4)
    inputs = torch.from_numpy(np.random.default_rng(0).normal(size=(12, 2, 5, 5)))
    network = sample_network(model, inputs, labelled_by(model, inputs), initial_model=initial)
    value = FORMULAS[measure](matrices(model), matrices(initial), math.nan)
    assert measure(network) == pytest.approx(value, rel=1e-10)


def test_norms_of_one_neuron_can_be_done_by_hand() -> None:
    """Weights 2 and then (3, 0), started from 1 and (1, 0)."""
    model, initial = perceptron([1, 1, 2], bias=False), perceptron([1, 1, 2], bias=False)
    with torch.no_grad():
        for module, entries in ((model, ([2], [3, 0])), (initial, ([1], [1, 0]))):
            for parameter, entry in zip(module.parameters(), entries, strict=True):
                parameter.copy_(torch.tensor(entry).reshape(parameter.shape))
    network = sample_network(
        model, torch.full((10, 1), 0.5), torch.zeros(10, dtype=torch.int64), initial_model=initial
    )
    # every margin is 0.5 * 2 * 3
    values = {
        inverse_margin: 1 / 9,
        parameter_norm: 13,
        frobenius_distance_from_initialization: 5,
        spectral_distance_from_initialization: 5,
        product_of_frobenius_norms: 36,
        product_of_frobenius_norms_over_margin: 4,
        sum_of_frobenius_norms: 12,
        sum_of_frobenius_norms_over_margin: 4,
        product_of_spectral_norms: 36,
        product_of_spectral_norms_over_margin: 4,
        sum_of_spectral_norms: 12,
        sum_of_spectral_norms_over_margin: 4,
        frobenius_over_spectral: 2,
        spectral_bound_origin: 8,
        spectral_bound_initialization: 4 * (1 / 4 + 4 / 9),
    }
    assert values.keys() == FORMULAS.keys()
    for measure, value in values.items():
        assert measure(network) == pytest.approx(value, rel=1e-12), measure


@in_turn(
    ("measure", "norm"), [(product_of_frobenius_norms, fro), (product_of_spectral_norms, spec)]
)
def test_products_too_large_for_a_float_have_a_logarithm_and_a_bound_form(
    measure: StackMeasure, norm: Callable[[Floats], float]
) -> None:
    """The refusal names both."""
    network = network_of([3] * 13, bias=False)
    with torch.no_grad():
        for parameter in network.model.parameters():
            parameter.mul_(1e14)
    logarithm = 2 * sum(math.log(norm(matrix)) for matrix in matrices(network.model))
    assert logarithm > math.log(1.79e308)
    with pytest.raises(UndefinedMeasureError, match="larger than a float can hold") as error:
        measure(network)
    assert f"exp({logarithm:.1f})" in str(error.value)
    assert f"audit {measure.__name__}.bound_form" in str(error.value)
    assert measure.logarithm(network) == pytest.approx(logarithm, rel=1e-12)
    bound = math.exp((logarithm - math.log(network.n)) / 2)
    assert measure.bound_form(network) == pytest.approx(bound, rel=1e-10)
