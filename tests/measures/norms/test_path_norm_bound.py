"""The margin-based bound by the l1 path norm against NumPy."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from pytest_fragility.errors import SettingsError, UndefinedMeasureError
from pytest_fragility.measures import path_norm_bound
from tests.in_turn import in_turn
from tests.sample_networks import labelled_by, perceptron, randomize, sample_network

Floats = npt.NDArray[np.float64]

unhurried = settings(deadline=None, max_examples=40)
hidden = st.lists(st.integers(1, 5), max_size=2)
seeds = st.integers(0, 2**32 - 1)

SLOPES = np.linspace(0.1, 0.99, 90)


def linear_layers(model: nn.Module) -> list[tuple[Floats, Floats]]:
    """Return weights and biases in the order of the forward pass of a perceptron."""
    layers = [module for module in model.modules() if isinstance(module, nn.Linear)]
    return [
        (
            layer.weight.detach().double().numpy(),
            np.zeros(layer.out_features)
            if layer.bias is None
            else layer.bias.detach().double().numpy(),
        )
        for layer in layers
    ]


def path_sums(layers: list[tuple[Floats, Floats]]) -> Floats:
    """Return each output's sum over paths of absolute products, from all inputs and a constant.

    The constant input is carried along by an extra neuron of every hidden layer.
    """
    sums = np.ones(layers[0][0].shape[1] + 1)
    for weight, bias in layers:
        extended = np.zeros((len(weight) + 1, weight.shape[1] + 1))
        extended[:-1, :-1], extended[:-1, -1], extended[-1, -1] = weight, bias, 1
        sums = np.abs(extended) @ sums
    return np.asarray(sums[:-1])


def bound_of(
    layers: list[tuple[Floats, Floats]], inputs: Floats, labels: npt.NDArray[np.int64]
) -> tuple[float, float]:
    """Return the bound as the docstring states it, and the slope that minimizes it."""
    outputs = inputs.reshape(len(inputs), -1)
    n, dimension = outputs.shape
    largest = max(1.0, float(np.abs(inputs).max()))  # the constant one is an input too
    for place, (weight, bias) in enumerate(layers):
        outputs = outputs @ weight.T + bias
        outputs = np.maximum(outputs, 0) if place < len(layers) - 1 else outputs
    margins = np.array(
        [
            row[label] - np.delete(row, label).max()
            for row, label in zip(outputs, labels, strict=True)
        ]
    )
    weight, bias = layers[-1]
    classes = len(weight)
    if classes == 2:
        difference = (weight[1:] - weight[:1], bias[1:] - bias[:1])
        psi, factor = path_sums([*layers[:-1], difference])[0], 2
    else:
        psi, factor = path_sums(layers).max(), 4 * classes
    complexity = 2 ** len(layers) * psi * largest * math.sqrt(math.log(2 * (dimension + 1)) / n)
    penalty = math.sqrt(math.log(2 * 90 / 0.01) / (2 * n))
    values = [
        np.clip(1 - slope * margins, 0, 1).mean() + factor * slope * complexity + penalty
        for slope in SLOPES
    ]
    return float(min(values)), float(SLOPES[int(np.argmin(values))])


def inputs_of(n: int, dimension: int, seed: int, *, scale: float = 1.0) -> torch.Tensor:
    """Return normal inputs, float32."""
    drawn = np.random.default_rng(seed).normal(size=(n, dimension))
    return torch.from_numpy(scale * drawn).float()


def measured_and_expected(
    model: nn.Module, inputs: torch.Tensor, labels: torch.Tensor
) -> tuple[float, float]:
    """Return the measure and what NumPy makes of it."""
    network = sample_network(model, inputs, labels)
    expected, _ = bound_of(linear_layers(model), inputs.double().numpy(), labels.numpy())
    return path_norm_bound(network), expected


@unhurried
@given(
    sizes=hidden,
    classes=st.integers(2, 4),
    n=st.integers(1, 30),
    seed=seeds,
    spread=st.sampled_from([0.1, 1.0, 20.0]),
)
def test_the_bound_is_that_of_numpy(
    sizes: list[int], classes: int, n: int, seed: int, spread: float
) -> None:
    """For two classes by their difference, for more by the largest and a factor 4 K."""
    model = perceptron([3, *sizes, classes])
    randomize(model, seed)
    inputs = inputs_of(n, 3, seed, scale=spread)
    labels = torch.from_numpy(np.random.default_rng(seed).integers(classes, size=n))
    measured, expected = measured_and_expected(model, inputs, labels)
    assert measured == pytest.approx(expected, rel=1e-10)


@in_turn("classes", [2, 3])
def test_images_are_flattened(classes: int) -> None:
    """D is the number of their pixels plus one, x the largest absolute pixel of all."""
    model = randomize(perceptron([12, 4, classes]), 0)
    inputs = inputs_of(9, 12, 0, scale=3.0).view(9, 3, 2, 2)
    measured, expected = measured_and_expected(model, inputs, torch.arange(9) % classes)
    assert measured == pytest.approx(expected, rel=1e-10)


def test_networks_without_biases_are_bounded_too() -> None:
    """As if the biases were zero; the constant input stays among those that are counted."""
    model = perceptron([3, 4, 2], bias=False)
    randomize(model, 0)
    inputs = inputs_of(12, 3, 0)
    measured, expected = measured_and_expected(model, inputs, labelled_by(model, inputs))
    assert measured == pytest.approx(expected, rel=1e-10)


@in_turn(("scale", "slope"), [(4.0, 0.25), (2.0, 0.5), (20.0, 0.1), (0.5, 0.99)])
def test_the_best_slope_is_taken(scale: float, slope: float) -> None:
    """About one over the margin, where margins are alike and samples plenty."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(1, 2))
    layer = model[1]
    assert isinstance(layer, nn.Linear)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[-scale / 2], [scale / 2]]))
        layer.bias.zero_()
    labels = torch.arange(4000) % 2
    inputs = (2.0 * labels - 1).unsqueeze(1)
    expected, best = bound_of(linear_layers(model), inputs.double().numpy(), labels.numpy())
    assert best == pytest.approx(slope, abs=1e-9)
    network = sample_network(model, inputs, labels)
    assert path_norm_bound(network) == pytest.approx(expected, rel=1e-10)


def test_the_bound_can_be_done_by_hand() -> None:
    """One layer, two classes: psi = |2 + 1| + |0.5 - 0.25|, x = 3, D = 2, all margins negative."""
    model = nn.Sequential(nn.Linear(1, 2))
    layer = model[0]
    assert isinstance(layer, nn.Linear)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[-1.0], [2.0]]))
        layer.bias.copy_(torch.tensor([0.25, 0.5]))
    network = sample_network(model, torch.tensor([[3.0], [-1.0], [2.0]]), torch.tensor([0, 1, 0]))
    complexity = 2 * 3.25 * 3 * math.sqrt(math.log(4) / 3)
    expected = 1 + 2 * 0.1 * complexity + math.sqrt(math.log(180 / 0.01) / 6)
    assert path_norm_bound(network) == pytest.approx(expected, rel=1e-12)


class HeadFirst(nn.Module):
    """A perceptron whose last layer is registered first."""

    def __init__(self, body: nn.Linear, head: nn.Linear) -> None:
        super().__init__()
        self.head = head
        self.body = body

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits."""
        logits: torch.Tensor = self.head(torch.relu(self.body(x)))
        return logits


@in_turn("classes", [2, 3])
def test_the_order_of_registration_does_not_matter(classes: int) -> None:
    """The last layer is the one whose outputs are the logits."""
    model = perceptron([3, 4, classes])
    randomize(model, 0)
    body, head = model[1], model[3]
    assert isinstance(body, nn.Linear) and isinstance(head, nn.Linear)
    inputs, labels = inputs_of(10, 3, 0), torch.arange(10) % classes
    _, expected = measured_and_expected(model, inputs, labels)
    turned = sample_network(HeadFirst(body, head), inputs, labels)
    assert path_norm_bound(turned) == pytest.approx(expected, rel=1e-6)


class Residual(nn.Module):
    """A layer beside a shortcut, and a last one."""

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.body = nn.Linear(4, 4)
        self.head = head

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits."""
        logits: torch.Tensor = self.head(x + torch.relu(self.body(x)))
        return logits


@in_turn(
    ("model", "shape", "text"),
    [
        (
            nn.Sequential(nn.Conv2d(1, 2, 2), nn.ReLU(), nn.Flatten(), nn.Linear(2, 2)),
            (1, 2, 2),
            None,
        ),
        (nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2)), (4,), None),
        (nn.Sequential(nn.Linear(4, 3), nn.LayerNorm(3), nn.Linear(3, 2)), (4,), None),
        (nn.Sequential(nn.Linear(4, 2), nn.BatchNorm1d(2)), (4,), None),
        (Residual(nn.Linear(4, 2)), (4,), None),
        (Residual(nn.Linear(4, 3)), (4,), None),
        (nn.Sequential(nn.AvgPool2d(2), nn.Flatten(), nn.Linear(1, 2)), (1, 2, 2), None),
        (nn.Sequential(nn.MaxPool2d(2), nn.Flatten(), nn.Linear(1, 2)), (1, 2, 2), None),
    ],
)
def test_anything_but_a_perceptron_is_refused(
    model: nn.Module, shape: tuple[int, ...], text: str | None
) -> None:
    """Convolutions, other activations, residual connections and pooling."""
    network = sample_network(model, torch.ones(10, *shape), torch.zeros(10).long())
    with pytest.raises(UndefinedMeasureError, match=text):
        path_norm_bound(network)


def test_it_is_a_bound_itself() -> None:
    """Without a further form."""
    with pytest.raises(SettingsError, match="bound on the error"):
        _ = path_norm_bound.bound_form


def psi_of(model: nn.Module, n: int, inputs: torch.Tensor) -> float:
    """Return psi, worked out backwards from a bound whose margins are all negative.

    Inputs have to be in [-1, 1]; then the bound is ``1 + c * 0.1 * R + penalty``.
    """
    labels = 1 - labelled_by(model, inputs)
    excess = path_norm_bound(sample_network(model, inputs, labels)) - 1
    excess -= math.sqrt(math.log(2 * 90 / 0.01) / (2 * n))
    depth = len(linear_layers(model))
    spread = math.sqrt(math.log(2 * (inputs.shape[1] + 1)) / n)
    return excess / (2 * 0.1) / (2**depth * spread)


@unhurried
@given(sizes=hidden, seed=seeds)
def test_psi_bounds_the_difference_of_logits(sizes: list[int], seed: int) -> None:
    """For every input in [-1, 1], its corners among them."""
    model = perceptron([3, *sizes, 2])
    randomize(model, seed)
    generator = np.random.default_rng(seed)
    inside = generator.uniform(-1, 1, size=(50, 3))
    corners = generator.choice([-1.0, 1.0], size=(50, 3))
    inputs = torch.from_numpy(np.concatenate([inside, corners])).float()
    psi = psi_of(model, 100, inputs)
    with torch.no_grad():
        logits = model.double()(inputs.double())
    assert float((logits[:, 1] - logits[:, 0]).abs().max()) <= psi * (1 + 1e-6)


def test_psi_is_reached_by_positive_weights() -> None:
    """At the corner of ones, where every path adds what it can."""
    model = perceptron([3, 4, 5, 2])
    randomize(model, 0)
    layer: Any = model[-1]
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.abs_()
        layer.weight[0] = 0
        layer.bias[0] = 0
    inputs = torch.ones(10, 3)
    with torch.no_grad():
        logits = model(inputs)[0].double()
    assert psi_of(model, 10, inputs) == pytest.approx(float(logits[1] - logits[0]), rel=1e-5)
