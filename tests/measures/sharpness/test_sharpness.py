"""Sharpness against a search of the whole ball, and gradients against loops over samples."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import logsumexp
from torch import nn
from torch.nn import functional

from pytest_fragility.measures import (
    adaptive_sharpness,
    fisher_rao_norm,
    gradient_norm,
    worst_case_sharpness,
)
from pytest_fragility.measures.sharpness import worst_case as ascent
from pytest_fragility.measures.sharpness.loss_surface import LossSurface
from pytest_fragility.measures.sharpness.worst_case import FLAT
from pytest_fragility.measures.stacked import StackMeasure
from pytest_fragility.networks.stacks import NetworkStack
from pytest_fragility.networks.trained_network import TrainedNetwork
from tests.in_turn import in_turn
from tests.sample_networks import (
    convolutional,
    labelled_by,
    normalized,
    perceptron,
    randomize,
    sample_network,
    samples,
    with_samples,
)

Floats = npt.NDArray[np.float64]

unhurried = settings(deadline=None, max_examples=10)
seeds = st.integers(0, 2**32 - 1)

RADIUS = {worst_case_sharpness: 0.05, adaptive_sharpness: 0.5}

either_sharpness = in_turn("measure", RADIUS, ids=lambda m: m.__name__)
every_measure = in_turn(
    "measure",
    [worst_case_sharpness, adaptive_sharpness, fisher_rao_norm, gradient_norm],
    ids=lambda m: m.__name__,
)


def random_perceptron(
    widths: list[int], seed: int, *, bias: bool = True, n: int = 8
) -> TrainedNetwork:
    """Return a perceptron with random weights and labels, in float64."""
    return with_samples(perceptron(widths, bias=bias), n, (widths[0],), seed, double=True)


NETWORKS: dict[str, Callable[[int], TrainedNetwork]] = {
    "perceptron": lambda seed: random_perceptron([3, 4, 3], seed),
    "without biases": lambda seed: random_perceptron([3, 4, 3], seed, bias=False),
    "normalized": lambda seed: normalized(seed, double=True),
    "convolutional": lambda seed: convolutional(seed, double=True),
}

every_network = in_turn("network_of", NETWORKS.values(), ids=NETWORKS)


def vector_of(network: TrainedNetwork) -> torch.Tensor:
    """Return all parameters in one vector."""
    return torch.cat([parameter.detach().flatten() for parameter in network.model.parameters()])


def losses_of(network: TrainedNetwork) -> Callable[[Floats], Floats]:
    """Return a perceptron's mean cross-entropy as a function of rows of all parameters."""
    shapes = [tuple(parameter.shape) for parameter in network.model.parameters()]
    inputs, labels = network.inputs.numpy(), network.labels.numpy()

    def losses(rows: Floats) -> Floats:
        outputs, place = np.broadcast_to(inputs, (len(rows), *inputs.shape)), 0
        for layer, shape in enumerate(shapes):
            size = math.prod(shape)
            part = rows[:, place : place + size].reshape(-1, *shape)
            place += size
            if len(shape) == 1:
                outputs = outputs + part[:, None, :]
            else:
                outputs = np.maximum(outputs, 0) if layer else outputs
                outputs = np.einsum("kni,koi->kno", outputs, part)
        chosen = outputs[:, np.arange(len(labels)), labels]
        return np.asarray((logsumexp(outputs, axis=2) - chosen).mean(axis=1))

    return losses


def largest_rise(network: TrainedNetwork, radius: float, scales: torch.Tensor) -> float:
    """Return the largest rise in the ball: a dense sample, its best points improved by SciPy."""
    losses, at = losses_of(network), vector_of(network).numpy()
    start = float(losses(at[None])[0])
    generator = np.random.default_rng(0)
    points = generator.normal(size=(20000, len(at)))
    points *= radius / np.linalg.norm(points, axis=1, keepdims=True)
    points[10000:] *= generator.uniform(size=(10000, 1)) ** (1 / len(at))

    def rises(offsets: Floats) -> Floats:
        return losses(at + scales.numpy() * np.atleast_2d(offsets)) - start

    values = rises(points)
    sampled = best = float(values.max())
    inside = {"type": "ineq", "fun": lambda unit: 1 - float(unit @ unit)}
    # from the best of each of several parts of the sample, so that starts lie apart
    for part in np.array_split(np.arange(20000), 4):
        found = minimize(
            lambda unit: -float(rises(radius * unit)[0]) / sampled,
            points[part[np.argmax(values[part])]] / radius,
            method="SLSQP",
            constraints=[inside],
            options={"ftol": 1e-10, "maxiter": 100},
        ).x
        found *= radius / max(1.0, float(np.linalg.norm(found)))
        best = max(best, float(rises(found)[0]))
    return best


def scales_of(measure: StackMeasure, network: TrainedNetwork) -> torch.Tensor:
    """Return the scale of each parameter."""
    weights = vector_of(network)
    return weights.abs() if measure is adaptive_sharpness else torch.ones_like(weights)


TINY: list[tuple[list[int], bool]] = [([1, 1, 2], False), ([1, 2], True), ([2, 1, 2], False)]


@either_sharpness
@in_turn(("widths", "bias"), TINY)
@in_turn("seed", range(3))
def test_sharpness_is_the_largest_rise_in_the_whole_ball(
    measure: StackMeasure, widths: list[int], bias: bool, seed: int
) -> None:
    """Within a thousandth of what a search finds, and no rise that is not there."""
    network = random_perceptron(widths, seed, bias=bias)
    expected = largest_rise(network, RADIUS[measure], scales_of(measure, network))
    assert measure(network) == pytest.approx(expected, rel=1e-3)
    assert measure(network) <= expected * (1 + 1e-6)


def test_sharpness_of_one_weight_pair_can_be_done_by_hand() -> None:
    """Two logits of one input, far apart: the loss rises along (1, -1) / sqrt(2)."""
    model = perceptron([1, 2], bias=False).double()
    with torch.no_grad():
        next(model.parameters()).copy_(torch.tensor([[0.25], [-0.5]]))
    network = sample_network(model, torch.tensor([[2.0]]).double(), torch.tensor([0]))
    gap = 0.75 * 2

    def rise(step: float) -> float:
        return math.log1p(math.exp(-gap + 2 * step)) - math.log1p(math.exp(-gap))

    assert worst_case_sharpness(network) == pytest.approx(rise(0.05 * math.sqrt(2)), rel=1e-12)
    longest = 0.5 * math.hypot(0.25, 0.5)
    assert adaptive_sharpness(network) == pytest.approx(rise(longest), rel=1e-9)


@either_sharpness
def test_sharpness_at_a_minimum_is_that_of_the_whole_ball(measure: StackMeasure) -> None:
    """Where the gradient is as good as zero, the loss still rises around."""
    inputs = torch.tensor([[1.0], [1.0], [1.0], [-2.0], [-2.0]])
    labels = torch.tensor([0, 1, 1, 0, 1])
    model = perceptron([1, 2]).double()
    network = sample_network(randomize(model, 0, scale=0.3), inputs.double(), labels)
    at = vector_of(network)
    for _ in range(20):
        weight, bias = at[:2].numpy(), at[2:].numpy()
        features = np.stack([inputs[:, 0].double().numpy(), np.ones(5)])
        gaps = (weight[1] - weight[0]) * features[0] + bias[1] - bias[0]
        share = 1 / (1 + np.exp(-gaps))
        slope = features @ (share - labels.numpy()) / 5
        curved = (features * share * (1 - share)) @ features.T / 5
        # a step of Newton's, split evenly between the two classes
        step = torch.from_numpy(np.linalg.solve(curved, slope) / 2)
        at = at + torch.stack([step[0], -step[0], step[1], -step[1]])
    # a little off, as trained networks are; exactly there is a test of its own
    at = at + 1e-6 * torch.tensor([1.0, -0.5, 0.25, 2.0], dtype=torch.float64)
    with torch.no_grad():
        nn.utils.vector_to_parameters(at, model.parameters())
    assert 0 < gradient_norm(network) < 1e-5
    expected = largest_rise(network, RADIUS[measure], scales_of(measure, network))
    assert expected > 1e-5
    assert measure(network) == pytest.approx(expected, rel=1e-2)


def test_sharpness_at_an_exactly_stationary_point_is_not_zero() -> None:
    """No weights and balanced labels: the gradient is exactly zero, the loss still rises."""
    model = randomize(perceptron([1, 2]), 0, scale=0.0).double()
    inputs, labels = torch.tensor([[1.0], [1.0], [-1.0], [-1.0]]), torch.tensor([0, 1, 0, 1])
    network = sample_network(model, inputs.double(), labels)
    assert gradient_norm(network) == 0
    expected = largest_rise(network, 0.05, torch.ones(4, dtype=torch.float64))
    # both eigenvalues that are not zero are 1 / 2
    assert expected == pytest.approx(0.05**2 / 4, rel=1e-2)
    assert worst_case_sharpness(network) == pytest.approx(expected, rel=1e-2)
    assert adaptive_sharpness(network) == 0  # weights of zero do not move


def sure_of_itself(seed: int = 0, factor: float = 60) -> TrainedNetwork:
    """Return a network with the labels that it gives, and hardly any loss."""
    model = randomize(perceptron([3, 4, 3]), seed).double()
    inputs, _ = samples(8, (3,), 3, seed)
    with torch.no_grad():
        last = list(model.parameters())[-2:]
        for parameter in last:
            parameter.mul_(factor)
    return sample_network(model, inputs.double(), labelled_by(model, inputs.double()), seed=seed)


@either_sharpness
def test_where_the_loss_is_tiny_ascents_are_in_float64(
    measure: StackMeasure, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever stands beside it in the stack; elsewhere float32 finds the same to rounding."""
    flat, steep = sure_of_itself(), random_perceptron([3, 4, 3], 0)
    surface = LossSurface(NetworkStack.of_network(flat))
    assert 0 < surface.losses(surface.weights) < FLAT
    alone = [measure(flat), measure(steep)]
    both = measure.over_stack(NetworkStack.of_networks([flat, steep]))
    assert both.tolist() == pytest.approx(alone, rel=1e-8)
    monkeypatch.setattr(ascent, "FLAT", math.inf)
    exact = measure.over_stack(NetworkStack.of_networks([flat, steep]))
    assert exact[0] == both[0] > 0
    assert exact[1] != both[1] and exact[1] == pytest.approx(both[1], rel=1e-5)


@either_sharpness
@every_network
def test_sharpness_is_no_less_than_one_step_of_sam(
    measure: StackMeasure, network_of: Callable[[int], TrainedNetwork]
) -> None:
    """The step to the ball's edge along the scaled gradient of the module."""
    network = network_of(1)
    parameters = list(network.model.parameters())

    def loss() -> torch.Tensor:
        return functional.cross_entropy(network.model(network.inputs), network.labels)

    before = loss()
    gradients = torch.autograd.grad(before, parameters)
    scales, at = scales_of(measure, network), vector_of(network)
    slope = scales * torch.cat([part.flatten() for part in gradients])
    found = measure(network)
    with torch.no_grad():
        nn.utils.vector_to_parameters(
            at + RADIUS[measure] * scales * slope / slope.norm(), parameters
        )
        assert found >= float(loss() - before) * (1 - 1e-9) > 0


class Logarithm(nn.Module):
    """A network of one weight, which is not defined below zero."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([0.01]))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return two logits."""
        return torch.cat([inputs, inputs * self.weight.log()], dim=1)


def test_a_loss_that_is_not_defined_within_the_ball_leaves_sharpness_undefined() -> None:
    """And not the largest rise of where it is defined; what adapts to the weight stays there."""
    network = sample_network(Logarithm(), torch.tensor([[1.0], [2.0]]), torch.tensor([0, 0]))
    assert math.isnan(worst_case_sharpness(network))
    assert adaptive_sharpness(network) > 0


def test_what_float32_cannot_hold_is_searched_in_float64() -> None:
    """A loss of 2e40 nats, linear in two weights: it rises by the ball's radius over sqrt(2)."""
    model = perceptron([1, 2], bias=False).double()
    with torch.no_grad():
        next(model.parameters()).copy_(torch.tensor([[-1e30], [1e30]]))
    network = sample_network(model, torch.tensor([[1e10]]).double(), torch.tensor([0]))
    assert adaptive_sharpness(network) == pytest.approx(0.5 / math.sqrt(2) * 2e40, rel=1e-6)


# invariance


def rescaled(network: TrainedNetwork, factor: float, neuron: int) -> TrainedNetwork:
    """Return the network with a neuron's inputs times a factor, and its outputs divided by it."""
    model = perceptron([3, 4, 3]).double()
    model.load_state_dict(network.model.state_dict())
    first, last = model[1], model[3]
    assert isinstance(first, nn.Linear) and isinstance(last, nn.Linear)
    with torch.no_grad():
        first.weight[neuron] *= factor
        first.bias[neuron] *= factor
        last.weight[:, neuron] /= factor
    torch.testing.assert_close(model(network.inputs), network.model(network.inputs))
    return sample_network(model, network.inputs, network.labels)


@unhurried
@given(seed=seeds, factor=st.floats(0.1, 10), neuron=st.integers(0, 3))
def test_what_is_invariant_ignores_rescaling_of_neurons(
    seed: int, factor: float, neuron: int
) -> None:
    """Adaptive sharpness and the Fisher-Rao norm."""
    network = random_perceptron([3, 4, 3], seed)
    other = rescaled(network, factor, neuron)
    assert fisher_rao_norm(other) == pytest.approx(fisher_rao_norm(network), rel=1e-8, abs=1e-12)
    assert adaptive_sharpness(other) == pytest.approx(adaptive_sharpness(network), rel=1e-6)


@in_turn("measure", [worst_case_sharpness, gradient_norm])
def test_what_is_not_invariant_sees_rescaling_of_neurons(measure: StackMeasure) -> None:
    """The same function, another value."""
    network = random_perceptron([3, 4, 3], 0)
    other = network
    for neuron in range(4):
        other = rescaled(other, 5.0, neuron)
    assert measure(other) != pytest.approx(measure(network), rel=0.1)


# the Fisher-Rao norm


def slope_of_sample(network: TrainedNetwork, place: int) -> float:
    """Return the weights times the gradient of one sample's loss."""
    logits = network.model(network.inputs[place : place + 1])
    loss = functional.cross_entropy(logits, network.labels[place : place + 1])
    parameters = list(network.model.parameters())
    gradients = torch.autograd.grad(loss, parameters)
    parts = [(p.detach() * g).sum() for p, g in zip(parameters, gradients, strict=True)]
    return float(sum(parts))


@every_network
@in_turn("seed", range(3))
def test_the_fisher_rao_norm_averages_squared_slopes(
    network_of: Callable[[int], TrainedNetwork], seed: int
) -> None:
    """Sample by sample, with autograd on the module."""
    network = network_of(seed)
    slopes = [slope_of_sample(network, place) for place in range(len(network.labels))]
    expected = float(np.mean(np.square(slopes)))
    assert fisher_rao_norm(network) == pytest.approx(expected, rel=1e-10)


@unhurried
@given(hidden=st.lists(st.integers(1, 5), max_size=3), seed=seeds)
def test_without_biases_the_fisher_rao_norm_has_a_closed_form(hidden: list[int], seed: int) -> None:
    """L^2 times the mean of (dl . f)^2, with dl = softmax(f) - onehot(label)."""
    network = random_perceptron([3, *hidden, 3], seed, bias=False)
    with torch.no_grad():
        logits = network.model(network.inputs).numpy()
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    pulls = shares - np.eye(3)[network.labels.numpy()]
    depth = len(hidden) + 1
    expected = depth**2 * float(np.mean(np.square((pulls * logits).sum(axis=1))))
    assert fisher_rao_norm(network) == pytest.approx(expected, rel=1e-8, abs=1e-14)


# the gradient's norm


@every_network
@in_turn("seed", range(3))
def test_the_gradient_norm_is_that_of_autograd(
    network_of: Callable[[int], TrainedNetwork], seed: int
) -> None:
    """Averaged over samples one by one, from the module itself."""
    network = network_of(seed)
    total = torch.zeros_like(vector_of(network))
    for place in range(len(network.labels)):
        logits = network.model(network.inputs[place : place + 1])
        loss = functional.cross_entropy(logits, network.labels[place : place + 1])
        parts = torch.autograd.grad(loss, list(network.model.parameters()))
        total += torch.cat([part.flatten() for part in parts]) / len(network.labels)
    assert gradient_norm(network) == pytest.approx(float(total.norm()), rel=1e-10)


# all of them


@every_measure
@in_turn("network_of", [NETWORKS["perceptron"], convolutional])
def test_a_stack_gives_what_each_network_gives_alone(
    measure: StackMeasure, network_of: Callable[[int], TrainedNetwork]
) -> None:
    """Each network with samples, weights and statistics of its own."""
    networks = [network_of(seed) for seed in range(2)]
    alone = [measure(network) for network in networks]
    assert measure.over_stack(NetworkStack.of_networks(networks)).tolist() == pytest.approx(
        alone, rel=1e-8
    )
    assert len(set(alone)) == 2


@every_measure
def test_networks_in_float32_are_worked_out_in_float64(measure: StackMeasure) -> None:
    """The same value as of the same weights in float64."""
    model = randomize(perceptron([3, 4, 3]), 7)
    inputs, _ = samples(8, (3,), 3, 7)
    labels = labelled_by(model, inputs)
    single = measure(sample_network(model, inputs, labels))
    double = measure(sample_network(model.double(), inputs.double(), labels))
    assert single == pytest.approx(double, rel=1e-12)
