"""Curvature of the training loss against explicit Hessians."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.func import functional_call

from pytest_fragility.errors import UndefinedMeasureError
from pytest_fragility.measures import (
    hessian_largest_eigenvalue,
    hessian_trace,
    hessian_trace_estimate,
)
from pytest_fragility.measures.sharpness import hessian as curvature
from pytest_fragility.measures.sharpness import second_derivatives as second_order
from pytest_fragility.measures.sharpness.loss_surface import LossSurface
from pytest_fragility.networks.stacks import NetworkStack
from pytest_fragility.networks.trained_network import TrainedNetwork
from tests.in_turn import in_turn
from tests.sample_networks import (
    convolutional,
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


def small_perceptron(seed: int = 0, *, n: int = 7) -> TrainedNetwork:
    """Return a perceptron with random weights, which has 26 parameters."""
    return with_samples(perceptron([3, 4, 2]), n, (3,), seed)


def smooth(seed: int = 0) -> TrainedNetwork:
    """Return a network with an activation that path norms do not know."""
    return with_samples(nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 2)), 7, (3,), seed)


def softmax_regression(seed: int, *, classes: int = 3) -> TrainedNetwork:
    """Return a linear layer without bias on three inputs."""
    return with_samples(perceptron([3, classes], bias=False), 9, (3,), seed)


NETWORKS: dict[str, Callable[[int], TrainedNetwork]] = {
    "perceptron": small_perceptron,
    "normalized": normalized,
    "convolutional": convolutional,
    "smooth": smooth,
}

every_network = in_turn("network_of", NETWORKS.values(), ids=NETWORKS)


def loss_at(network: TrainedNetwork) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return the mean cross-entropy as a function of all parameters in one vector, float64."""
    named = dict(network.model.named_parameters())
    buffers = {
        name: buffer.double() if buffer.is_floating_point() else buffer
        for name, buffer in network.model.named_buffers()
    }
    inputs, labels = network.inputs.double(), network.labels

    def loss(vector: torch.Tensor) -> torch.Tensor:
        parts, place = dict(buffers), 0
        for name, parameter in named.items():
            parts[name] = vector[place : place + parameter.numel()].view(parameter.shape)
            place += parameter.numel()
        logits = functional_call(network.model, parts, (inputs,))
        chosen = logits.gather(1, labels.unsqueeze(1)).squeeze(1)
        return (torch.logsumexp(logits, dim=1) - chosen).mean()

    return loss


def vector_of(network: TrainedNetwork) -> torch.Tensor:
    """Return all parameters in one vector, float64."""
    parameters = [parameter.detach().double().flatten() for parameter in network.model.parameters()]
    return torch.cat(parameters)


def hessian_of(network: TrainedNetwork) -> Floats:
    """Return the whole Hessian of the mean cross-entropy."""
    hessian = torch.autograd.functional.hessian(loss_at(network), vector_of(network))
    assert isinstance(hessian, torch.Tensor)
    return np.asarray(hessian.numpy())


# the loss and its derivatives


@every_network
def test_losses_and_gradients_are_those_of_the_module(
    network_of: Callable[[int], TrainedNetwork],
) -> None:
    """At the network's own weights and at others, in float64."""
    network = network_of(1)
    surface, loss = LossSurface(NetworkStack.of_network(network)), loss_at(network)
    generator = torch.Generator().manual_seed(0)
    for step in (0.0, 0.3):
        noise = torch.randn(surface.weights.shape, generator=generator, dtype=torch.float64)
        at = surface.weights + step * noise
        expected = loss(at[0])
        slope = torch.autograd.functional.jacobian(loss, at[0])
        assert isinstance(slope, torch.Tensor)
        losses, gradients = surface.losses_and_gradients(at)
        torch.testing.assert_close(losses[0], expected, rtol=1e-12, atol=0)
        torch.testing.assert_close(surface.losses(at)[0], expected, rtol=1e-12, atol=0)
        torch.testing.assert_close(gradients[0], slope, rtol=1e-10, atol=1e-13)
        assert not losses.requires_grad and not gradients.requires_grad


@every_network
def test_losses_of_samples_average_to_the_loss(
    network_of: Callable[[int], TrainedNetwork],
) -> None:
    """One for each training sample, as torch's cross-entropy gives them."""
    network = network_of(2)
    surface = LossSurface(NetworkStack.of_network(network))
    with torch.no_grad():
        logits = network.model(network.inputs)
    expected = nn.functional.cross_entropy(logits, network.labels, reduction="none").double()
    losses = surface.sample_losses(surface.weights)
    torch.testing.assert_close(losses, expected.unsqueeze(0), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(losses.mean(dim=1), surface.losses(surface.weights))


@every_network
def test_products_with_the_hessian_are_those_of_finite_differences(
    network_of: Callable[[int], TrainedNetwork],
) -> None:
    """Mixed second differences of the loss along random directions."""
    network = network_of(4)
    surface, loss = LossSurface(NetworkStack.of_network(network)), loss_at(network)
    generator = torch.Generator().manual_seed(0)
    at, step = surface.weights[0], 1e-4
    for _ in range(3):
        first, second = torch.randn(2, len(at), generator=generator, dtype=torch.float64)
        first, second = first / first.norm(), second / second.norm()
        differences = [
            one * other * float(loss(at + step * (one * first + other * second)))
            for one in (1, -1)
            for other in (1, -1)
        ]
        product = surface.hessian_products(first.unsqueeze(0))[0]
        assert float(product @ second) == pytest.approx(
            sum(differences) / (4 * step**2), rel=1e-4, abs=1e-5
        )


@every_network
def test_products_with_the_hessian_are_those_of_the_explicit_one(
    network_of: Callable[[int], TrainedNetwork],
) -> None:
    """Row by row, against torch's Hessian of a loss written here."""
    network = network_of(3)
    surface, hessian = LossSurface(NetworkStack.of_network(network)), hessian_of(network)
    rows = [
        surface.hessian_products(row.unsqueeze(0))[0] for row in torch.eye(len(hessian)).double()
    ]
    np.testing.assert_allclose(torch.stack(rows).numpy(), hessian, rtol=1e-9, atol=1e-12)


# the largest eigenvalue


@every_network
@in_turn("seed", range(2))
def test_the_largest_eigenvalue_is_that_of_the_whole_matrix(
    network_of: Callable[[int], TrainedNetwork], seed: int
) -> None:
    """The algebraically largest one, to the accuracy that is promised."""
    network = network_of(seed)
    values = np.linalg.eigvalsh(hessian_of(network))
    measured = hessian_largest_eigenvalue(network)
    assert measured == pytest.approx(values[-1], rel=1e-5, abs=2e-6 * np.abs(values).max())


def mostly_negative() -> TrainedNetwork:
    """Return a network near the origin, whose steepest curvature is downwards.

    The logits grow with a product of three small weights, which the label wants larger: among
    weights alike, that has the eigenvalues -2c, c and c.
    """
    model = perceptron([1, 1, 1, 2], bias=False)
    with torch.no_grad():
        values = ([[0.1]], [[0.1]], [[-0.05], [0.05]])
        for parameter, value in zip(model.parameters(), values, strict=True):
            parameter.copy_(torch.tensor(value))
    return sample_network(model, torch.tensor([[3.0], [2.0]]), torch.tensor([1, 1]))


def test_a_negative_eigenvalue_of_larger_magnitude_is_passed_over() -> None:
    """Where the Hessian's eigenvalue of largest magnitude is negative, the largest is returned."""
    network = mostly_negative()
    values = np.linalg.eigvalsh(hessian_of(network))
    assert -values[0] > 1.5 * values[-1] > 0
    assert hessian_largest_eigenvalue(network) == pytest.approx(values[-1], rel=1e-5)


@unhurried
@given(seed=seeds)
def test_the_hessian_of_softmax_regression_is_known(seed: int) -> None:
    """Mean over samples of (diag p - p p^T) kron x x^T."""
    network = softmax_regression(seed)
    layer = next(network.model.parameters()).detach().double().numpy()
    inputs = network.inputs.double().numpy()
    logits = inputs @ layer.T
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    hessian = np.mean(
        [
            np.kron(np.diag(share) - np.outer(share, share), np.outer(x, x))
            for share, x in zip(shares, inputs, strict=True)
        ],
        axis=0,
    )
    largest = np.linalg.eigvalsh(hessian)[-1]
    assert hessian_largest_eigenvalue(network) == pytest.approx(largest, rel=1e-5)
    surface = LossSurface(NetworkStack.of_network(network))
    rows = [surface.hessian_products(row.unsqueeze(0))[0] for row in torch.eye(9).double()]
    np.testing.assert_allclose(torch.stack(rows).numpy(), hessian, rtol=1e-9, atol=1e-12)


def test_one_weight_per_class_can_be_done_by_hand() -> None:
    """Two classes, one input x: p (1 - p) x^2 times [[1, -1], [-1, 1]], whose largest is twice."""
    model = perceptron([1, 2], bias=False)
    with torch.no_grad():
        next(model.parameters()).copy_(torch.tensor([[0.0], [math.log(3)]]))
    network = sample_network(model, torch.tensor([[2.0]]), torch.tensor([0]))
    share = 9 / 10
    assert hessian_largest_eigenvalue(network) == pytest.approx(
        2 * share * (1 - share) * 4, rel=1e-6
    )


def test_a_network_that_is_sure_of_itself_has_a_tiny_eigenvalue_that_is_right() -> None:
    """Accuracy is relative, however flat the loss."""
    network = softmax_regression(0)
    with torch.no_grad():
        next(network.model.parameters()).mul_(10)
    values = np.linalg.eigvalsh(hessian_of(network))
    assert hessian_largest_eigenvalue(network) == pytest.approx(values[-1], rel=1e-5)


def test_the_start_vector_does_not_matter() -> None:
    """Other randomness gives the same eigenvalue to the promised accuracy."""
    network = small_perceptron()
    first = hessian_largest_eigenvalue(network)
    network.rng.manual_seed(99)
    assert hessian_largest_eigenvalue(network) == pytest.approx(first, rel=1e-5)


def test_a_hessian_of_zeros_has_the_eigenvalue_zero() -> None:
    """Inputs of zero leave a layer without bias no influence; the trace is zero too."""
    model = randomize(perceptron([3, 2], bias=False), 0)
    network = sample_network(model, torch.zeros(4, 3), torch.tensor([0, 1, 0, 1]))
    assert hessian_largest_eigenvalue(network) == 0
    estimate = hessian_trace_estimate(network)
    assert estimate.trace == estimate.standard_error == 0


def test_repeated_eigenvalues_are_found() -> None:
    """Balanced one-hot samples and no weights: few distinct eigenvalues, each many times."""
    model = randomize(perceptron([5, 4], bias=False), 0, scale=0.0)
    inputs, labels = torch.eye(5).repeat(4, 1), torch.arange(20) % 4
    network = sample_network(model, inputs, labels)
    values = np.linalg.eigvalsh(hessian_of(network))
    assert np.sum(np.isclose(values, 1 / 20)) == 15 and np.sum(np.isclose(values, 0)) == 5
    assert hessian_largest_eigenvalue(network) == pytest.approx(1 / 20, rel=1e-9)


def test_what_float32_cannot_hold_is_worked_out_in_float64() -> None:
    """Inputs whose squares are beyond it."""
    model = nn.Sequential(nn.Linear(2, 2, bias=False)).double()
    inputs = torch.tensor([[3e25, 0.0], [0.0, 1e25]], dtype=torch.float64)
    with torch.no_grad():
        model[0].weight.zero_()
    network = sample_network(model, inputs, torch.tensor([0, 1]))
    # p (1 - p) x^2 times [[1, -1], [-1, 1]], averaged over two samples
    assert hessian_largest_eigenvalue(network) == pytest.approx(2 * 9e50 / 8, rel=1e-6)


@every_network
def test_a_stack_gives_what_each_network_gives_alone(
    network_of: Callable[[int], TrainedNetwork], monkeypatch: pytest.MonkeyPatch
) -> None:
    """For eigenvalue and trace, each with randomness of its own."""
    monkeypatch.setattr(curvature, "PROBES", 5)
    networks = [network_of(seed) for seed in range(2)]
    stack = NetworkStack.of_networks(networks)
    for measure in (hessian_largest_eigenvalue, hessian_trace):
        alone = [measure(network) for network in networks]
        assert measure.over_stack(stack).tolist() == pytest.approx(alone, rel=1e-6)
        assert len(set(alone)) == 2


def test_too_few_steps_are_said_to_be_too_few(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the estimate so far, and which network of the stack it was."""
    monkeypatch.setattr(curvature, "STEPS", 2)
    fine = sample_network(
        randomize(perceptron([3, 4, 2]), 0), torch.zeros(7, 3), samples(7, (3,), 2, 0)[1]
    )
    with pytest.raises(UndefinedMeasureError, match="not found in 2 Lanczos steps") as refused:
        hessian_largest_eigenvalue(small_perceptron(1))
    assert refused.value.place == 0
    with torch.no_grad():
        for parameter in fine.model.parameters():
            parameter.zero_()
    # without weights and with inputs of zero, the Hessian has rank one
    assert hessian_largest_eigenvalue(fine) == pytest.approx(1 / 2, rel=1e-6)
    with pytest.raises(UndefinedMeasureError) as refused:
        hessian_largest_eigenvalue.over_stack(NetworkStack.of_networks([fine, small_perceptron(1)]))
    assert refused.value.place == 1


# the trace


@every_network
def test_the_trace_is_estimated_within_its_error(
    network_of: Callable[[int], TrainedNetwork],
) -> None:
    """Four standard errors around that of the whole matrix; the measure is this estimate."""
    network = network_of(5)
    exact = float(np.trace(hessian_of(network)))
    estimate = hessian_trace_estimate(network, probes=30)
    assert estimate.probes == 30 and estimate.standard_error > 0
    assert abs(estimate.trace - exact) < 4 * estimate.standard_error


def test_the_standard_error_is_the_spread_over_seeds() -> None:
    """And that of theory: variance 2 * (sum of squares off the diagonal) for random signs."""
    network = small_perceptron(6)
    hessian = hessian_of(network)
    off = hessian - np.diag(np.diag(hessian))
    expected = math.sqrt(2 * float((off**2).sum()) / 20)
    copies = []
    for seed in range(200):
        rng = torch.Generator().manual_seed(seed)
        copies.append(dataclasses.replace(network, seed=seed, rng=rng))
    drawn = curvature.trace_samples(NetworkStack.of_networks(copies), 20).numpy()
    traces, errors = drawn.mean(axis=1), drawn.std(axis=1, ddof=1) / math.sqrt(20)
    # the spread of 200 numbers has a relative error of 1 / sqrt(400)
    assert np.std(traces, ddof=1) == pytest.approx(expected, rel=4 / math.sqrt(400))
    assert math.sqrt(np.mean(np.square(errors))) == pytest.approx(expected, rel=0.1)
    assert abs(np.mean(traces) - np.trace(hessian)) < 4 * expected / math.sqrt(200)
    estimate = hessian_trace_estimate(copies[7], probes=20)
    assert estimate.trace == pytest.approx(traces[7], rel=1e-9)
    assert estimate.standard_error == pytest.approx(errors[7], rel=1e-9)


def one_output() -> tuple[nn.Module, list[torch.Tensor]]:
    """Return one-hot samples and a single weight for each, so that the Hessian is diagonal."""

    class AgainstZero(nn.Module):
        """Logits of zero and of a linear layer: logistic regression."""

        def __init__(self) -> None:
            super().__init__()
            self.score = nn.Linear(4, 1, bias=False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            """Return two logits."""
            score = self.score(x)
            return torch.cat([torch.zeros_like(score), score], dim=1)

    inputs = torch.diag(torch.tensor([1.0, 2.0, 3.0, 0.5]))
    return randomize(AgainstZero(), 0), [inputs, torch.tensor([0, 1, 1, 0])]


def test_a_diagonal_hessian_is_summed_exactly() -> None:
    """Every probe gives the trace, mean of p (1 - p) x^2, so that the error is zero."""
    model, (inputs, labels) = one_output()
    network = sample_network(model, inputs, labels)
    weights = next(model.parameters()).detach().double().numpy().ravel()
    entries = np.diag(inputs.double().numpy())
    shares = 1 / (1 + np.exp(-weights * entries))
    curvatures = shares * (1 - shares) * entries**2 / 4
    estimate = hessian_trace_estimate(network, probes=5)
    assert estimate.trace == pytest.approx(float(curvatures.sum()), rel=1e-12)
    assert estimate.standard_error == pytest.approx(0, abs=1e-14)
    assert hessian_largest_eigenvalue(network) == pytest.approx(curvatures.max(), rel=1e-6)


@unhurried
@given(
    seed=seeds,
    widths=st.lists(st.integers(1, 5), min_size=2, max_size=4),
    bias=st.booleans(),
    n=st.integers(1, 9),
)
def test_the_trace_of_a_relu_perceptron_is_exact(
    seed: int, widths: list[int], bias: bool, n: int
) -> None:
    """That of the whole matrix, for any depth, with biases and without, whatever the randomness."""
    classes = widths[-1] + 1
    model = randomize(perceptron([*widths[:-1], classes], bias=bias), seed)
    network = sample_network(model, *samples(n, (widths[0],), classes, seed), seed=seed)
    hessian = hessian_of(network)
    scale = np.abs(np.diag(hessian)).sum()
    # the matrix holds differences of p and p^2, rounded, times products of slopes
    rounding = 1e-15 * squared_slopes(network)
    found = hessian_trace(network)
    assert found == pytest.approx(np.trace(hessian), rel=1e-9, abs=1e-12 * scale + rounding)
    network.rng.manual_seed(99)
    assert hessian_trace(network) == found >= 0


def squared_slopes(network: TrainedNetwork) -> float:
    """Return the squared length of the logits' gradients, the mean over samples."""
    model = copy.deepcopy(network.model).double()
    logits = model(network.inputs.double()).flatten()
    parameters = list(model.parameters())
    gradients = [
        torch.autograd.grad(logit, parameters, retain_graph=True) for logit in logits.unbind()
    ]
    squares = sum(float(part.square().sum()) for each in gradients for part in each)
    return squares / len(network.labels)


def test_an_exact_trace_is_summed_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where samples times classes are too many at a time, it is the same."""
    network = small_perceptron(3)
    whole = hessian_trace(network)
    monkeypatch.setattr(second_order, "AT_A_TIME", 4)
    assert hessian_trace(network) == pytest.approx(whole, rel=1e-12)


@in_turn("network_of", [normalized, convolutional, smooth])
def test_the_trace_of_others_is_the_estimate_from_fifty_probes(
    network_of: Callable[[int], TrainedNetwork],
) -> None:
    """The same number as the estimate that comes with its error."""
    network, estimate = network_of(5), hessian_trace_estimate(network_of(5))
    assert estimate.probes == 50
    assert hessian_trace(network) == estimate.trace


def test_a_trace_below_zero_has_no_logarithm() -> None:
    """A saturating neuron behind a wrong label; the error says why."""
    model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Tanh(), nn.Linear(1, 2, bias=False))
    with torch.no_grad():
        for parameter, value in zip(model.parameters(), ([[1.0]], [[-5.0], [5.0]]), strict=True):
            parameter.copy_(torch.tensor(value))
    network = sample_network(model, torch.tensor([[1.0]]), torch.tensor([0]))
    exact = float(np.trace(hessian_of(network)))
    estimate = hessian_trace_estimate(network, probes=40)
    assert exact < -1
    assert abs(estimate.trace - exact) < 4 * estimate.standard_error
    with pytest.raises(UndefinedMeasureError, match="has no logarithm"):
        hessian_trace.logarithm(network)
