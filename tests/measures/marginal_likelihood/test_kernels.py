"""Kernels of networks against random networks and against Cho and Saul's closed form."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import nn
from torch.nn import functional

from pytest_fragility.errors import UndefinedMeasureError
from pytest_fragility.measures.marginal_likelihood.kernels import (
    CLOSED_FORM,
    MONTE_CARLO,
    hidden_layers_of,
    monte_carlo_kernel,
    network_kernel,
    relu_kernel,
)
from tests.in_turn import in_turn
from tests.sample_networks import perceptron

Floats = npt.NDArray[np.float64]

depths = in_turn("hidden_layers", range(4))


def inputs_of(n: int, shape: tuple[int, ...], seed: int = 0) -> torch.Tensor:
    """Return normal inputs."""
    generator = np.random.default_rng(seed)
    return torch.from_numpy(generator.normal(size=(n, *shape))).float()


def random(seed: int = 0) -> torch.Generator:
    """Return a generator of torch."""
    return torch.Generator().manual_seed(seed)


def distance(one: Floats, other: Floats) -> float:
    """Return the Frobenius distance."""
    return float(np.linalg.norm(one - other))


def mean_and_error(products: Iterator[Floats]) -> tuple[Floats, Floats]:
    """Return the mean of matrices and the standard error of each entry."""
    every = np.stack(list(products))
    return every.mean(axis=0), every.std(axis=0, ddof=1) / math.sqrt(len(every))


def wide_products(inputs: Floats, hidden_layers: int, bias: float, seed: int) -> Iterator[Floats]:
    """Yield mean products of outputs of a hundred random networks of width 400."""
    generator = np.random.default_rng(seed)
    for _ in range(100):
        values = inputs.astype(np.float32)
        for layer in range(hidden_layers + 1):
            fan_in = values.shape[1]
            weight = generator.standard_normal((fan_in, 400), dtype=np.float32)
            shift = generator.standard_normal(400, dtype=np.float32)
            values = values @ weight * math.sqrt(2 / fan_in) + shift * math.sqrt(bias)
            if layer < hidden_layers:
                values = np.maximum(values, 0)
        yield (values @ values.T / 400).astype(np.float64)


@in_turn("bias_variance", [0.0, 0.5])
@depths
def test_relu_kernel_is_the_covariance_of_wide_networks(
    hidden_layers: int, bias_variance: float
) -> None:
    """Outputs of random wide networks covary as the kernel says."""
    inputs = inputs_of(4, (5,), seed=1).double().numpy()
    inputs[3] = -inputs[2]
    kernel = relu_kernel(
        inputs, hidden_layers=hidden_layers, weight_variance=2, bias_variance=bias_variance
    )
    products = wide_products(inputs, hidden_layers, bias_variance, seed=hidden_layers)
    mean, error = mean_and_error(products)
    assert np.abs(error).max() < 0.03 * np.abs(mean).max()
    assert (np.abs(kernel - mean) <= 5 * error + 1e-6).all()


def arc_cosine(kernel: Floats) -> Floats:
    """Return Cho and Saul's J1 with the norms, ``|x| |y| (sin t + (pi - t) cos t) / pi``."""
    norms = np.sqrt(np.diag(kernel))
    lengths = np.multiply.outer(norms, norms)
    angles = np.arccos(np.clip(kernel / lengths, -1, 1))
    return lengths * (np.sin(angles) + (math.pi - angles) * np.cos(angles)) / math.pi


@in_turn(("weight_variance", "bias_variance"), [(2, 0), (1.3, 0.2), (0.5, 3)])
@depths
def test_relu_kernel_is_the_arc_cosine_kernel(
    hidden_layers: int, weight_variance: float, bias_variance: float
) -> None:
    """Each hidden layer is one arc-cosine kernel of order one."""
    inputs = inputs_of(12, (6,), seed=2).double().numpy()
    expected = weight_variance * inputs @ inputs.T / 6 + bias_variance
    for _ in range(hidden_layers):
        expected = weight_variance * arc_cosine(expected) / 2 + bias_variance
    kernel = relu_kernel(
        inputs,
        hidden_layers=hidden_layers,
        weight_variance=weight_variance,
        bias_variance=bias_variance,
    )
    # arccos loses half of the digits on the diagonal, where the angle is zero
    generic = ~np.eye(12, dtype=bool)
    np.testing.assert_allclose(kernel[generic], expected[generic], rtol=1e-12)
    np.testing.assert_allclose(np.diag(kernel), np.diag(expected), rtol=1e-7)


@in_turn("scale", [1e-8, 1.0, 1e8])
@depths
def test_identical_inputs_have_correlation_one(hidden_layers: int, scale: float) -> None:
    """Copies have one row each and the variance as their covariance, with no rounding to NaN."""
    one = scale * np.random.default_rng(3).normal(size=(1, 784))
    inputs = np.repeat(one, 4, axis=0)
    kernel = relu_kernel(inputs, hidden_layers=hidden_layers, weight_variance=2, bias_variance=0.1)
    np.testing.assert_allclose(kernel, np.full((4, 4), kernel[0, 0]), rtol=1e-10)
    variance = 2 * (one**2).sum() / 784 + 0.1 * (hidden_layers + 1)
    assert kernel[0, 0] == pytest.approx(variance, rel=1e-10)


@in_turn("hidden_layers", [1, 2, 5])
def test_orthogonal_inputs_have_the_known_correlation(hidden_layers: int) -> None:
    """It is 1 / pi after one layer, and more after each."""
    kernel = relu_kernel(np.eye(2), hidden_layers=hidden_layers, weight_variance=2, bias_variance=0)
    correlation = 0.0
    for _ in range(hidden_layers):
        sine = math.sqrt(1 - correlation**2)
        correlation = (sine + (math.pi - math.acos(correlation)) * correlation) / math.pi
    assert kernel[0, 1] / kernel[0, 0] == pytest.approx(correlation, rel=1e-12)


def test_opposite_inputs_share_no_unit() -> None:
    """Without biases, x and -x excite different units of the first layer."""
    one = np.random.default_rng(3).normal(size=784)
    inputs = np.stack([one, -one, -3 * one])
    kernel = relu_kernel(inputs, hidden_layers=1, weight_variance=2, bias_variance=0)
    variance = 2 * (one**2).sum() / 784
    expected = variance * np.array([[1, 0, 0], [0, 1, 3], [0, 3, 9]])
    np.testing.assert_allclose(kernel, expected, rtol=1e-10, atol=1e-10 * variance)


@depths
def test_zero_inputs_have_the_variance_of_biases(hidden_layers: int) -> None:
    """An input of zeros gives zeros without biases, and the biases' variance with them."""
    inputs = np.array([[0.0, 0.0], [1.0, 2.0], [0.0, 0.0]])
    without = relu_kernel(inputs, hidden_layers=hidden_layers, weight_variance=2, bias_variance=0)
    np.testing.assert_array_equal(without[[0, 2]], 0)
    # variance two over the fan-in keeps the squared norm at any depth
    assert without[1, 1] == pytest.approx(5, rel=1e-12)
    kernel = relu_kernel(inputs, hidden_layers=hidden_layers, weight_variance=2, bias_variance=0.3)
    biases = 0.3 * (hidden_layers + 1)
    np.testing.assert_allclose(kernel[np.ix_([0, 2], [0, 2])], biases, rtol=1e-12)


@in_turn("bias_variance", [0.0, 0.01, 1.0])
@depths
def test_relu_kernel_is_a_covariance(hidden_layers: int, bias_variance: float) -> None:
    """The matrix is symmetric and positive semidefinite, with copies and multiples too."""
    for n, d in ((1, 3), (6, 1), (20, 8)):
        inputs = inputs_of(n, (d,), seed=n).double().numpy()
        inputs = np.concatenate([inputs, inputs[:1], -inputs[:1], 3 * inputs[:1]])
        kernel = relu_kernel(
            inputs, hidden_layers=hidden_layers, weight_variance=2, bias_variance=bias_variance
        )
        np.testing.assert_allclose(kernel, kernel.T, rtol=1e-13, atol=1e-13 * np.abs(kernel).max())
        values = np.linalg.eigvalsh(kernel)
        assert values[0] >= -1e-11 * values[-1]


class OwnPerceptron(nn.Module):
    """A perceptron with two hidden layers and a forward pass of its own."""

    def __init__(self, activation: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.activation = activation
        self.first = nn.Linear(6, 5)
        self.second = nn.Linear(5, 4)
        self.last = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the layers."""
        x = self.activation(self.first(torch.flatten(x, 1)))
        return self.last(self.activation(self.second(x)))  # type: ignore[no-any-return]


class ReluMethod(nn.Module):
    """A perceptron with one hidden layer that calls relu as a tensor's method."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 5)
        self.last = nn.Linear(5, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the layers."""
        return self.last(self.first(x.flatten(1)).relu())  # type: ignore[no-any-return]


class Residual(nn.Module):
    """A perceptron with a connection around a hidden layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 6)
        self.last = nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the layers."""
        return self.last(x + functional.relu(self.first(x)))  # type: ignore[no-any-return]


def stacked(*layers: nn.Module) -> nn.Sequential:
    """Return layers in a row."""
    return nn.Sequential(*layers)


@in_turn(
    ("model", "expected"),
    [
        (perceptron([6, 3]), 0),
        (perceptron([6, 5, 3]), 1),
        (perceptron([6, 5, 4, 3, 2], bias=False), 3),
        (stacked(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3)), 1),
        (stacked(stacked(nn.Linear(6, 5), nn.ReLU()), nn.Linear(5, 3)), 1),
        (nn.Linear(6, 3), 0),
        (OwnPerceptron(functional.relu), 2),
        (OwnPerceptron(torch.relu), 2),
        (ReluMethod(), 1),
    ],
)
def test_hidden_layers_of_perceptrons_are_counted(model: nn.Module, expected: int) -> None:
    """However it is written, a ReLU perceptron has its number of hidden layers."""
    assert hidden_layers_of(model) == expected


@in_turn(
    "model",
    [
        stacked(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3), nn.ReLU()),
        stacked(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3)),
        stacked(nn.Linear(6, 5), nn.LeakyReLU(), nn.Linear(5, 3)),
        stacked(nn.Linear(6, 5), nn.Linear(5, 3)),
        stacked(nn.ReLU(), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3)),
        stacked(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 3)),
        stacked(nn.Conv2d(1, 2, 2), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3)),
        stacked(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3), nn.Softmax(dim=1)),
        OwnPerceptron(torch.tanh),
        Residual(),
    ],
)
def test_other_networks_have_no_number_of_hidden_layers(model: nn.Module) -> None:
    """What is no ReLU perceptron has no closed form."""
    assert hidden_layers_of(model) is None


@in_turn("make", [lambda: perceptron([12, 9, 7, 3]), lambda: perceptron([12, 2])])
def test_kernel_of_a_perceptron_is_the_closed_form(make: Callable[[], nn.Module]) -> None:
    """A perceptron's kernel is that of its flattened inputs at infinite width."""
    inputs = inputs_of(5, (1, 3, 4))
    model = make()
    hidden_layers = hidden_layers_of(model)
    assert hidden_layers is not None
    found = network_kernel(
        model, inputs, generator=random(), weight_variance=1.5, bias_variance=0.25
    )
    expected = relu_kernel(
        inputs.reshape(5, 12).numpy(),
        hidden_layers=hidden_layers,
        weight_variance=1.5,
        bias_variance=0.25,
    )
    np.testing.assert_array_equal(found.matrix, expected)
    assert (found.method, found.networks, found.relative_error) == (CLOSED_FORM, 0, 0.0)


def closed_form(inputs: torch.Tensor, hidden_layers: int, bias_variance: float) -> Floats:
    """Return the kernel at infinite width with He initialization."""
    return relu_kernel(
        inputs.flatten(1).numpy(),
        hidden_layers=hidden_layers,
        weight_variance=2,
        bias_variance=bias_variance,
    )


@in_turn("bias_variance", [0.0, 0.5])
@in_turn("hidden_layers", [1, 2])
def test_random_wide_perceptrons_agree_with_the_closed_form(
    hidden_layers: int, bias_variance: float
) -> None:
    """Monte Carlo is within its error of the limit of infinite width."""
    inputs = inputs_of(6, (2, 4))
    model = perceptron([8, *[500] * hidden_layers, 3])
    found = monte_carlo_kernel(
        model, inputs, generator=random(1), bias_variance=bias_variance, networks=60
    )
    expected = closed_form(inputs, hidden_layers, bias_variance)
    relative = distance(found.matrix, expected) / float(np.linalg.norm(expected))
    assert found.relative_error < 0.02
    assert relative <= 4 * found.relative_error
    assert (found.method, found.networks) == (MONTE_CARLO, 60)


@in_turn("bias_variance", [0.0, 0.5])
def test_reported_error_is_the_distance_to_the_mean(bias_variance: float) -> None:
    """Over many estimates, their distance to the exact kernel is what they report.

    With one hidden layer the kernel is exact at any width.
    """
    inputs = inputs_of(6, (8,))
    exact = closed_form(inputs, 1, bias_variance)
    model = perceptron([8, 30, 3])
    generator = random(2)
    estimates = [
        monte_carlo_kernel(
            model, inputs, generator=generator, bias_variance=bias_variance, networks=25
        )
        for _ in range(80)
    ]
    actual = np.mean([distance(e.matrix, exact) for e in estimates]) / np.linalg.norm(exact)
    reported = np.mean([e.relative_error for e in estimates])
    assert 0.75 < actual / reported < 1.25


def test_error_falls_with_the_root_of_networks() -> None:
    """Sixteen times as many networks have about a quarter of the error."""
    few, many = (
        monte_carlo_kernel(
            perceptron([8, 30, 3]), inputs_of(6, (8,)), generator=random(3), networks=networks
        )
        for networks in (40, 640)
    )
    assert many.relative_error == pytest.approx(few.relative_error / 4, rel=0.3)


def test_few_networks_leave_the_kernel_without_full_rank() -> None:
    """One network has the rank of its last features; by default there are enough networks."""
    inputs = inputs_of(60, (8,))
    model = stacked(nn.Linear(8, 20), nn.Tanh(), nn.Linear(20, 5), nn.Tanh(), nn.Linear(5, 3))
    few = network_kernel(model, inputs, generator=random(), networks=4)
    assert few.rank == 4 * 5
    usual = network_kernel(model, inputs, generator=random())
    assert usual.rank == 60
    assert usual.networks * 5 >= 4 * 60


def test_there_are_at_least_sixteen_networks() -> None:
    """Few samples and wide features still have an average of some networks."""
    found = monte_carlo_kernel(perceptron([8, 90, 3]), inputs_of(2, (8,)), generator=random())
    assert found.networks == 16


def convolutional(*, normalized: bool) -> nn.Module:
    """Return a small convolutional network in eval mode."""
    normalizations = [nn.BatchNorm2d(3), nn.BatchNorm1d(6)] if normalized else [nn.Identity()] * 2
    return stacked(
        nn.Conv2d(2, 3, 2, stride=2),
        normalizations[0],
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(12, 6),
        normalizations[1],
        nn.ReLU(),
        nn.Linear(6, 4),
    ).eval()


def brute_products(
    model: nn.Module, inputs: torch.Tensor, bias_variance: float, networks: int
) -> Iterator[Floats]:
    """Yield mean products of outputs of a network that is initialized again and again."""
    model = copy.deepcopy(model)
    generator = random(1000)
    fan_in = {nn.Conv2d: 2 * 2 * 2, nn.Linear: None}
    with torch.no_grad():
        for _ in range(networks):
            for module in model.modules():
                if isinstance(module, nn.Conv2d | nn.Linear):
                    inward = fan_in[type(module)] or module.weight.shape[1]
                    module.weight.normal_(0, math.sqrt(1.5 / inward), generator=generator)
                    assert module.bias is not None
                    module.bias.normal_(0, math.sqrt(bias_variance), generator=generator)
            outputs = model(inputs).double().numpy()
            yield outputs @ outputs.T / outputs.shape[1]


@in_turn("has_statistics", [False, True])
@in_turn("normalized", [False, True])
def test_kernel_of_a_convolutional_network_is_the_covariance_of_its_outputs(
    normalized: bool, has_statistics: bool
) -> None:
    """Random initializations at its own width covary as the kernel says.

    Running statistics of a trained network are no part of its prior.
    """
    untrained = convolutional(normalized=normalized)
    model = copy.deepcopy(untrained)
    if has_statistics:
        for name, buffer in model.named_buffers():
            values = np.random.default_rng(len(name)).uniform(0.3, 3, size=tuple(buffer.shape))
            if not name.endswith("num_batches_tracked"):
                buffer.copy_(torch.from_numpy(values))
    inputs = inputs_of(5, (2, 4, 4))
    found = network_kernel(
        model,
        inputs,
        generator=random(5),
        weight_variance=1.5,
        bias_variance=0.2,
        networks=250,
    )
    mean, error = mean_and_error(brute_products(untrained, inputs, 0.2, 1000))
    own = found.relative_error * float(np.linalg.norm(found.matrix))
    assert own < 0.08 * np.linalg.norm(mean)
    assert distance(found.matrix, mean) <= 3 * math.hypot(own, float(np.linalg.norm(error)))
    assert found.method == MONTE_CARLO


@in_turn(
    ("model", "message"),
    [
        (stacked(nn.Linear(8, 5), nn.ReLU(), nn.Linear(5, 3), nn.ReLU()), "ends in a linear"),
        (stacked(nn.Linear(8, 5), nn.ReLU(), nn.Linear(5, 3), nn.Softmax(dim=1)), "linear layer"),
        (
            stacked(nn.Unflatten(1, (2, 4)), nn.Conv1d(2, 3, 4), nn.Flatten()),
            "ends in a linear layer",
        ),
        (stacked(nn.Linear(8, 3), nn.BatchNorm1d(3)).eval(), "ends in a linear layer"),
        (stacked(nn.Linear(8, 5), nn.LayerNorm(5), nn.ReLU(), nn.Linear(5, 3)), "LayerNorm"),
        (stacked(nn.Linear(8, 5), nn.PReLU(), nn.Linear(5, 3)), "PReLU"),
        (stacked(nn.Flatten(), nn.ReLU()), "no linear layer"),
    ],
)
def test_networks_without_such_a_prior_are_refused(model: nn.Module, message: str) -> None:
    """A network that does not end in a linear layer, or has other parameters, is refused."""
    with pytest.raises(UndefinedMeasureError, match=message):
        network_kernel(model, inputs_of(4, (8,)), generator=random())


@in_turn("normalized", [False, True])
def test_weights_of_the_network_neither_matter_nor_change(normalized: bool) -> None:
    """The architecture alone decides; parameters, buffers and hooks stay as they were."""
    inputs = inputs_of(4, (2, 4, 4))
    model = convolutional(normalized=normalized)
    found = network_kernel(model, inputs, generator=random(), bias_variance=0.1)
    with torch.no_grad():
        for place, parameter in enumerate(model.parameters()):
            parameter.copy_(7 * inputs_of(1, tuple(parameter.shape), seed=place)[0])
    before = copy.deepcopy(model.state_dict())
    again = network_kernel(model, inputs, generator=random(), bias_variance=0.1)
    np.testing.assert_array_equal(found.matrix, again.matrix)
    assert before.keys() == model.state_dict().keys()
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())


def test_hooks_are_taken_away_from_a_refused_network() -> None:
    """An error leaves the network as it was."""
    model = stacked(nn.Linear(8, 5), nn.ReLU(), nn.Linear(5, 3), nn.ReLU())
    with pytest.raises(UndefinedMeasureError):
        monte_carlo_kernel(model, inputs_of(4, (8,)), generator=random())
    assert not any(module._forward_hooks for module in model.modules())


def test_kernel_is_determined_by_the_generator() -> None:
    """Another seed gives another kernel, and nothing else is drawn from."""
    model, inputs = convolutional(normalized=True), inputs_of(4, (2, 4, 4))
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1]  # noqa: NPY002
    first, again, other = (
        network_kernel(model, inputs, generator=random(seed)).matrix for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert distance(first, other) > 1e-3
    assert torch.equal(torch.get_rng_state(), before)
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_before)  # noqa: NPY002
