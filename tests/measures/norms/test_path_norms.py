"""Path norms against enumeration of paths, dense matrices over neurons and exact integers."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise, product

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from pytest_fragility.errors import UndefinedMeasureError
from pytest_fragility.measures import path_norm, path_norm_over_margin
from pytest_fragility.measures.norms.path_sums import log_path_sums
from pytest_fragility.networks.stacks import NetworkStack
from pytest_fragility.networks.trained_network import TrainedNetwork
from tests.in_turn import in_turn
from tests.sample_networks import labelled_by, perceptron, randomize, sample_network

Floats = npt.NDArray[np.float64]

unhurried = settings(deadline=None, max_examples=40)
widths = st.lists(st.integers(1, 4), min_size=2, max_size=4)
seeds = st.integers(0, 2**32 - 1)


def network_of(model: nn.Module, shape: tuple[int, ...], *, n: int = 3) -> TrainedNetwork:
    """Return a trained network around a module, with inputs of a shape and labels all zero."""
    dtype = next(model.parameters()).dtype
    return sample_network(model, torch.zeros(n, *shape, dtype=dtype), torch.zeros(n).long())


def value_of(model: nn.Module, shape: tuple[int, ...]) -> float:
    """Return the path norm of a module for inputs of a shape."""
    return path_norm(network_of(model, shape))


# enumeration of paths


def sum_over_paths(model: nn.Sequential) -> float:
    """Return the sum over paths of squared products, one path at a time.

    A path starts at an input or at a layer's bias and takes one neuron of every later layer.
    """
    layers = [module for module in model if isinstance(module, nn.Linear)]
    weights = [layer.weight.detach().double().numpy() for layer in layers]
    biases = [
        np.zeros(len(layer.weight)) if layer.bias is None else layer.bias.detach().double().numpy()
        for layer in layers
    ]
    total = 0.0
    for start, bias in enumerate(biases):
        for path in product(*[range(len(weight)) for weight in weights[start:]]):
            rest = 1.0
            for layer, (source, target) in enumerate(pairwise(path), start + 1):
                rest *= float(weights[layer][target, source]) ** 2
            total += float(bias[path[0]]) ** 2 * rest
            if start == 0:
                total += sum(float(weight) ** 2 * rest for weight in weights[0][path[0]])
    return total


@unhurried
@given(sizes=widths, seed=seeds, bias=st.booleans())
def test_the_squared_path_norm_of_a_perceptron_is_a_sum_over_paths(
    sizes: list[int], seed: int, bias: bool
) -> None:
    """Against enumeration of all paths to all outputs, those from biases included."""
    model = perceptron(sizes, bias=bias)
    randomize(model, seed)
    value = value_of(model, (sizes[0],))
    assert value == pytest.approx(sum_over_paths(model), rel=1e-12)


def test_the_squared_path_norm_of_one_neuron_can_be_done_by_hand() -> None:
    """(2 * 3)^2 + (5 * 3)^2 + 7^2."""
    model = perceptron([1, 1, 1])
    with torch.no_grad():
        for parameter, value in zip(model.parameters(), (-2, 5, 3, -7), strict=True):
            parameter.fill_(value)
    assert value_of(model, (1,)) == pytest.approx(36 + 225 + 49, rel=1e-12)


def test_sums_to_the_first_power_take_absolute_values() -> None:
    """By hand: |2 * 3| + |5 * 3| + |7|."""
    model = perceptron([1, 1, 1])
    with torch.no_grad():
        for parameter, value in zip(model.parameters(), (-2, 5, 3, -7), strict=True):
            parameter.fill_(value)
    stack = NetworkStack.of_network(network_of(model, (1,)))
    assert float(log_path_sums(stack, 1).exp()) == pytest.approx(6 + 15 + 7, rel=1e-12)


def test_a_linear_layer_can_be_a_network_of_its_own() -> None:
    """Without a container around it."""
    model = nn.Linear(3, 2)
    weight, bias = model.weight.detach().double(), model.bias.detach().double()
    expected = float(weight.square().sum() + bias.square().sum())
    assert value_of(model, (3,)) == pytest.approx(expected, rel=1e-12)


# dense matrices over neurons


@dataclass(frozen=True)
class Affine:
    """Modules which together are affine in eval mode."""

    modules: tuple[nn.Module, ...]


@dataclass(frozen=True)
class Maximum:
    """A maximum over square windows."""

    window: int
    stride: int
    padding: int = 0


@dataclass(frozen=True)
class Sum:
    """A sum over parallel branches; an empty one is the identity."""

    branches: tuple[Sequence[Block], ...]


Block = Affine | Maximum | Sum


def affine(*modules: nn.Module) -> Affine:
    """Return the modules as one dense matrix."""
    return Affine(modules)


def dense(block: Affine, shape: tuple[int, ...]) -> tuple[Floats, Floats, tuple[int, ...]]:
    """Return matrix, offset and output shape of an affine map, probed with basis vectors."""
    modules = nn.Sequential(*copy.deepcopy(block.modules)).double().eval()
    count = math.prod(shape)
    with torch.no_grad():
        offset = modules(torch.zeros(1, *shape, dtype=torch.float64))
        columns = modules(torch.eye(count, dtype=torch.float64).view(count, *shape)) - offset
    return columns.flatten(1).T.numpy(), offset.flatten().numpy(), tuple(offset.shape[1:])


def incidence(block: Maximum, shape: tuple[int, ...]) -> tuple[Floats, tuple[int, ...]]:
    """Return the 0/1 matrix that tells which input each output of a maximum looks at."""
    channels, height, width = shape
    reach = 2 * block.padding - block.window
    rows, columns = (height + reach) // block.stride + 1, (width + reach) // block.stride + 1
    matrix = np.zeros((channels, rows, columns, channels, height, width))
    for channel, row, column in product(range(channels), range(rows), range(columns)):
        for down, right in product(range(block.window), repeat=2):
            y = row * block.stride - block.padding + down
            x = column * block.stride - block.padding + right
            if 0 <= y < height and 0 <= x < width:
                matrix[channel, row, column, channel, y, x] = 1
    return matrix.reshape(channels * rows * columns, -1), (channels, rows, columns)


def through(
    blocks: Sequence[Block], sums: Floats, shape: tuple[int, ...], power: int
) -> tuple[Floats, tuple[int, ...]]:
    """Return the sums over paths behind the blocks, neuron by neuron."""
    for block in blocks:
        if isinstance(block, Affine):
            matrix, offset, shape = dense(block, shape)
            sums = np.abs(matrix) ** power @ sums + np.abs(offset) ** power
        elif isinstance(block, Maximum):
            matrix, shape = incidence(block, shape)
            sums = matrix @ sums
        else:
            ends = [through(branch, sums, shape, power) for branch in block.branches]
            sums, shape = np.sum([end for end, _ in ends], axis=0), ends[0][1]
    return sums, shape


class Forward(nn.Module):
    """Modules with a forward pass of its own."""

    def __init__(self, forward: Callable[..., torch.Tensor], **parts: nn.Module) -> None:
        super().__init__()
        self.pass_through = forward
        for name, part in parts.items():
            self.add_module(name, part)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return what the given function returns."""
        return self.pass_through(self, x)


Case = tuple[nn.Module, Sequence[Block], tuple[int, ...]]


def strided() -> Case:
    """Return a convolution with stride, padding and groups, then one with dilation."""
    first = nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2)
    second = nn.Conv2d(6, 2, 2, dilation=2, bias=False)
    head = nn.Linear(2, 3)
    model = nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), nn.Flatten(), head)
    return model, [affine(first), affine(second), affine(nn.Flatten(), head)], (4, 5, 5)


def normalized() -> Case:
    """Return convolution, normalization, ReLU, average pooling, flattening and linear layer."""
    first, norm, pool, head = (
        nn.Conv2d(2, 3, 3, padding=1),
        nn.BatchNorm2d(3),
        nn.AvgPool2d(2),
        nn.Linear(12, 2),
    )
    model = nn.Sequential(first, norm, nn.ReLU(), pool, nn.Flatten(), head)
    return model, [affine(first, norm), affine(pool), affine(nn.Flatten(), head)], (2, 4, 4)


def normalized_without_scale() -> Case:
    """Return normalization without parameters, behind layers without bias."""
    first, norm = nn.Linear(3, 4, bias=False), nn.BatchNorm1d(4, affine=False, eps=0.1)
    second, last = nn.Linear(4, 3, bias=False), nn.BatchNorm1d(3)
    model = nn.Sequential(first, norm, nn.ReLU(), second, last)
    return model, [affine(first, norm), affine(second, last)], (3,)


def average_with_padding() -> Case:
    """Return average pooling with overlapping windows over a border of zeros."""
    first, pool = nn.Conv2d(1, 2, 2), nn.AvgPool2d(3, stride=2, padding=1)
    head = nn.Linear(8, 2)
    model = nn.Sequential(first, nn.ReLU(), pool, nn.Flatten(), head)
    return model, [affine(first), affine(pool), affine(nn.Flatten(), head)], (1, 4, 5)


def maximum() -> Case:
    """Return max-pooling with overlapping windows and a border."""
    first, head = nn.Conv2d(1, 2, 2), nn.Linear(18, 2)
    model = nn.Sequential(first, nn.ReLU(), nn.MaxPool2d(3, 2, 1), nn.Flatten(), head)
    return model, [affine(first), Maximum(3, 2, 1), affine(nn.Flatten(), head)], (1, 7, 6)


def plain_maximum() -> Case:
    """Return max-pooling whose stride is its window."""
    first, head = nn.Conv2d(1, 2, 2), nn.Linear(8, 2)
    model = nn.Sequential(first, nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), head)
    return model, [affine(first), Maximum(2, 2), affine(nn.Flatten(), head)], (1, 5, 5)


def global_average() -> Case:
    """Return adaptive pooling to one position."""
    first, pool, head = nn.Conv2d(2, 3, 3), nn.AdaptiveAvgPool2d(1), nn.Linear(3, 2)
    model = nn.Sequential(first, nn.ReLU(), pool, nn.Flatten(), head)
    return model, [affine(first), affine(pool, nn.Flatten(), head)], (2, 5, 4)


def adaptive_average() -> Case:
    """Return adaptive pooling to several positions."""
    first, pool, head = nn.Conv2d(2, 3, 2), nn.AdaptiveAvgPool2d((2, 1)), nn.Linear(6, 2)
    model = nn.Sequential(first, nn.ReLU(), pool, nn.Flatten(), head)
    return model, [affine(first), affine(pool), affine(nn.Flatten(), head)], (2, 5, 4)


def circular() -> Case:
    """Return a convolution around a torus."""
    first, head = nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular"), nn.Linear(48, 2)
    model = nn.Sequential(first, nn.ReLU(), nn.Flatten(), head)
    return model, [affine(first), affine(nn.Flatten(), head)], (2, 4, 4)


def padded_to_same() -> Case:
    """Return a convolution whose padding is a word."""
    first, head = nn.Conv2d(2, 2, (3, 1), padding="same"), nn.Linear(32, 2)
    model = nn.Sequential(first, nn.ReLU(), nn.Flatten(), head)
    return model, [affine(first), affine(nn.Flatten(), head)], (2, 4, 4)


def one_dimensional() -> Case:
    """Return a convolution over sequences."""
    first, pool, head = nn.Conv1d(2, 3, 3, stride=2), nn.AvgPool1d(2), nn.Linear(3, 2)
    model = nn.Sequential(first, nn.ReLU(), pool, nn.Flatten(), head)
    return model, [affine(first), affine(pool), affine(nn.Flatten(), head)], (2, 6)


def residual() -> Case:
    """Return a residual module with normalization inside its branch."""
    stem, head = nn.Conv2d(1, 2, 3, padding=1), nn.Linear(32, 2)
    inner = nn.Sequential(
        nn.Conv2d(2, 3, 3, padding=1, bias=False),
        nn.BatchNorm2d(3),
        nn.ReLU(),
        nn.Conv2d(3, 2, 1),
        nn.BatchNorm2d(2),
    )
    branch = [affine(inner[0], inner[1]), affine(inner[3], inner[4])]
    block = Forward(lambda self, x: torch.relu(x + self.f(x)), f=inner)
    model = nn.Sequential(stem, nn.ReLU(), block, nn.Flatten(), head)
    return (
        model,
        [affine(stem), Sum(((), branch)), affine(nn.Flatten(), head)],
        (1, 4, 4),
    )


def shortcut() -> Case:
    """Return a residual module whose shortcut is a convolution, added in place."""

    def forward(self: nn.Module, x: torch.Tensor) -> torch.Tensor:
        out = self.f(x)
        out += self.skip(x)
        return functional.relu(out)

    inner, skip, head = nn.Conv2d(1, 2, 3, 2, 1), nn.Conv2d(1, 2, 1, 2), nn.Linear(8, 2)
    block = Forward(forward, f=inner, skip=skip)
    model = nn.Sequential(block, nn.Flatten(), head)
    blocks = [Sum(([affine(inner)], [affine(skip)])), affine(nn.Flatten(), head)]
    return model, blocks, (1, 4, 4)


def functions(reshape: Callable[[torch.Tensor], torch.Tensor]) -> Case:
    """Return a network that calls functions, reshaping in the given way."""

    def forward(self: nn.Module, x: torch.Tensor) -> torch.Tensor:
        kept = functional.dropout(functional.relu(self.first(x)), 0.5, training=self.training)
        return self.head(self.drop(reshape(kept)))

    first, head = nn.Conv2d(2, 3, 2), nn.Linear(27, 2)
    model = Forward(forward, first=first, head=head, drop=nn.Dropout(0.3))
    return model, [affine(first), affine(nn.Flatten(), head)], (2, 4, 4)


def averaged(average: Callable[[torch.Tensor], torch.Tensor]) -> Case:
    """Return a network with an average over positions, worked out in the given way."""
    first, head = nn.Conv2d(2, 3, 2), nn.Linear(3, 2)
    model = Forward(
        lambda self, x: self.head(average(functional.relu(self.first(x)))), first=first, head=head
    )
    return model, [affine(first), affine(nn.AdaptiveAvgPool2d(1), nn.Flatten(), head)], (2, 4, 5)


def along_the_last_dimension() -> Case:
    """Return a linear layer over each row of an image, which has as many rows as outputs."""
    first, head = nn.Linear(4, 3), nn.Linear(18, 2)
    model = nn.Sequential(first, nn.ReLU(), nn.Flatten(), head)
    return model, [affine(first), affine(nn.Flatten(), head)], (2, 3, 4)


def twice_the_same_layer() -> Case:
    """Return a network that goes through one layer twice."""
    layer, head = nn.Linear(3, 3), nn.Linear(3, 2)
    model = Forward(lambda self, x: self.head(self.f(self.f(x).relu()).relu()), f=layer, head=head)
    return model, [affine(layer), affine(layer), affine(head)], (3,)


CASES: dict[str, Callable[[], Case]] = {
    "stride, padding, groups, dilation": strided,
    "normalization and average pooling": normalized,
    "normalization without scale": normalized_without_scale,
    "average pooling with padding": average_with_padding,
    "max-pooling with padding": maximum,
    "max-pooling": plain_maximum,
    "global average": global_average,
    "adaptive average": adaptive_average,
    "circular padding": circular,
    "padding='same'": padded_to_same,
    "one dimension": one_dimensional,
    "residual": residual,
    "shortcut": shortcut,
    "view": lambda: functions(lambda x: x.view(x.size(0), -1)),
    "view by shape": lambda: functions(lambda x: x.view(x.shape[0], -1)),
    "reshape": lambda: functions(lambda x: x.reshape(-1, 27)),
    "flatten": lambda: functions(lambda x: x.flatten(1)),
    "torch.flatten": lambda: functions(lambda x: torch.flatten(x, start_dim=1)),
    "mean": lambda: averaged(lambda x: x.mean([2, 3])),
    "mean of a keyword": lambda: averaged(lambda x: x.mean(dim=(-2, -1))),
    "mean by keywords in another order": lambda: averaged(
        lambda x: x.mean(keepdim=True, dim=(2, 3)).flatten(1)
    ),
    "torch.mean": lambda: averaged(lambda x: torch.mean(x, (2, 3), keepdim=True).flatten(1)),
    "mean of a mean": lambda: averaged(lambda x: x.mean(3).mean(2)),
    "squeezed": lambda: averaged(lambda x: x.mean(3, keepdim=True).squeeze(3).mean(-1)),
    "linear along the last dimension": along_the_last_dimension,
    "one layer twice": twice_the_same_layer,
}


@in_turn("power", [1, 2])
@in_turn("case", CASES.values(), ids=CASES)
def test_sums_over_paths_are_those_of_dense_matrices(case: Callable[[], Case], power: int) -> None:
    """Against matrices over neurons, each entry to the power, multiplied out."""
    torch.manual_seed(0)
    model, blocks, shape = case()
    randomize(model, 3).eval()
    expected, _ = through(blocks, np.ones(math.prod(shape)), shape, power)
    network = network_of(model, shape)
    sums = log_path_sums(NetworkStack.of_network(network), power).exp()
    np.testing.assert_allclose(sums[0], expected, rtol=1e-11)
    if power == 2:
        assert path_norm(network) == pytest.approx(float(expected.sum()), rel=1e-11)


def test_the_reference_describes_the_network() -> None:
    """Its dense matrices compute the outputs of the residual network itself."""
    model, blocks, shape = residual()
    randomize(model, 3).double().eval()
    x = torch.randn(2, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    stem, branches, head = blocks
    assert isinstance(stem, Affine) and isinstance(branches, Sum) and isinstance(head, Affine)
    with torch.no_grad():
        hidden = x.flatten(1).numpy()
        matrix, offset, middle = dense(stem, shape)
        hidden = np.maximum(hidden @ matrix.T + offset, 0)
        inner = hidden
        for place, block in enumerate(branches.branches[1]):
            assert isinstance(block, Affine)
            matrix, offset, middle = dense(block, middle)
            inner = inner @ matrix.T + offset
            inner = np.maximum(inner, 0) if place == 0 else inner
        hidden = np.maximum(hidden + inner, 0)
        matrix, offset, _ = dense(head, middle)
        np.testing.assert_allclose(hidden @ matrix.T + offset, model(x), rtol=1e-10, atol=1e-10)


def test_a_stack_of_convolutional_networks_gives_what_each_gives_alone() -> None:
    """With normalization, each network with weights and statistics of its own."""
    networks = []
    for seed in range(3):
        model, _, shape = normalized()
        networks.append(network_of(randomize(model, seed), shape))
    together = path_norm.over_stack(NetworkStack.of_networks(networks))
    assert together.tolist() == pytest.approx([path_norm(one) for one in networks], rel=1e-13)
    assert len(set(together.tolist())) == 3


# invariance


def linear(model: nn.Sequential, place: int) -> nn.Linear:
    """Return one of a perceptron's linear layers."""
    layers = [module for module in model if isinstance(module, nn.Linear)]
    return layers[place]


@unhurried
@given(
    seed=seeds,
    factor=st.floats(0.01, 100),
    neurons=st.lists(st.integers(0, 3), min_size=1, unique=True),
    order=st.permutations(range(4)),
)
def test_the_same_function_has_the_same_norm(
    seed: int, factor: float, neurons: list[int], order: list[int]
) -> None:
    """Some or all neurons times a factor, which the next layer undoes; neurons in another order."""
    model = perceptron([3, 4, 3, 2]).double()
    randomize(model, seed)
    before = value_of(model, (3,))
    first, second = linear(model, 0), linear(model, 1)
    with torch.no_grad():
        first.weight[neurons] *= factor
        first.bias[neurons] *= factor
        second.weight[:, neurons] /= factor
        assert value_of(model, (3,)) == pytest.approx(before, rel=1e-12)
        for tensor in (first.weight, first.bias):
            tensor.copy_(tensor[order].clone())
        second.weight.copy_(second.weight[:, order].clone())
    assert value_of(model, (3,)) == pytest.approx(before, rel=1e-12)


# depth


def deep(layers: int, scale: float, *, bias: float, digits: int) -> nn.Sequential:
    """Return a perceptron of width 16 with weights that are multiples of 2^-digits."""
    model = perceptron([16] * (layers + 1))
    generator = np.random.default_rng(layers)
    unit = 2.0**-digits
    with torch.no_grad():
        for parameter in model.parameters():
            drawn = generator.normal(size=tuple(parameter.shape))
            drawn = drawn * (scale if parameter.dim() == 2 else bias)
            parameter.copy_(torch.from_numpy(np.rint(drawn / unit) * unit))
    return model


def exact_log(model: nn.Sequential, digits: int) -> float:
    """Return the logarithm of the squared path norm, summed in whole numbers of any size."""
    layers = [module for module in model if isinstance(module, nn.Linear)]
    sums, shift = [1] * layers[0].in_features, 0
    for layer in layers:
        weight = [[int(w * 2**digits) ** 2 for w in row] for row in layer.weight.tolist()]
        biases = [int(b * 2**digits) ** 2 for b in layer.bias.tolist()]
        sums = [
            sum(w * s for w, s in zip(row, sums, strict=True)) + (b << shift)
            for row, b in zip(weight, biases, strict=True)
        ]
        shift += 2 * digits
    return math.log(sum(sums)) - shift * math.log(2)


def test_depth_does_not_overflow_float32() -> None:
    """150 layers, far above what float32 holds, against whole numbers."""
    model = deep(150, 1.16, bias=1.0, digits=10)
    network = network_of(model, (16,))
    expected = exact_log(model, 10)
    assert math.log(1e38) < 2 * math.log(1e38) < expected < math.log(1e308)
    assert path_norm.logarithm(network) == pytest.approx(expected, abs=1e-10)
    assert path_norm(network) == pytest.approx(math.exp(expected), rel=1e-10)


def test_beyond_float64_logarithm_and_bound_form_are_right() -> None:
    """The value is refused, by its place; half the exponent still fits into a float."""
    model = deep(250, 1.6, bias=1.0, digits=10)
    fine, network = network_of(deep(250, 0.2, bias=0.0, digits=20), (16,)), network_of(model, (16,))
    expected = exact_log(model, 10)
    assert expected > math.log(1.79e308)
    with pytest.raises(UndefinedMeasureError, match="larger than a float can hold") as refused:
        path_norm.over_stack(NetworkStack.of_networks([fine, network]))
    assert refused.value.place == 1
    assert "path_norm.bound_form" in str(refused.value)
    assert path_norm.logarithm(network) == pytest.approx(expected, abs=1e-10)
    root = math.exp((expected - math.log(3)) / 2)
    assert path_norm.bound_form(network) == pytest.approx(root, rel=1e-10)


def test_biases_behind_small_weights_count() -> None:
    """What underflows adds nothing to the paths that start at the last biases."""
    model = deep(150, 2**-12, bias=0.5, digits=24)
    expected = exact_log(model, 24)
    assert -10 < expected < 10
    assert path_norm.logarithm(network_of(model, (16,))) == pytest.approx(expected, abs=1e-11)


def test_small_weights_do_not_underflow() -> None:
    """Without biases: the value itself is zero in float64, its logarithm is not."""
    model = deep(150, 2**-12, bias=0.0, digits=24)
    network = network_of(model, (16,))
    expected = exact_log(model, 24)
    assert expected < -1500
    assert path_norm.logarithm(network) == pytest.approx(expected, abs=1e-10)
    assert path_norm(network) == 0


@in_turn("bias", [2**-20, 2**20])
def test_biases_of_another_order_of_magnitude_count(bias: float) -> None:
    """Far smaller or larger than the weights, at every layer."""
    model = deep(30, 1.0, bias=bias, digits=26)
    network = network_of(model, (16,))
    assert path_norm.logarithm(network) == pytest.approx(exact_log(model, 26), abs=1e-10)


def test_weights_all_zero_give_zero() -> None:
    """The logarithm is minus infinity, and the bound's form zero."""
    model = perceptron([3, 4, 2])
    network = network_of(randomize(model, 0, scale=0.0), (3,))
    assert path_norm(network) == 0
    assert path_norm.logarithm(network) == -math.inf
    assert path_norm.bound_form(network) == 0


def test_one_layer_of_zeros_gives_zero_unless_biases_follow() -> None:
    """Only paths from biases behind it are left."""
    model = perceptron([3, 4, 4, 2])
    randomize(model, 5)
    with torch.no_grad():
        linear(model, 1).weight.zero_()
        linear(model, 1).bias.zero_()
    expected = float(linear(model, 2).bias.detach().double().square().sum())
    assert value_of(model, (3,)) == pytest.approx(expected, rel=1e-12)
    with torch.no_grad():
        linear(model, 2).bias.zero_()
    assert value_of(model, (3,)) == 0


def test_a_layer_of_zeros_behind_huge_sums_leaves_later_biases_as_they_are() -> None:
    """However large the sums that it multiplies by zero: exp(400 * ln 16) here."""
    model = deep(400, 1.5, bias=0.0, digits=10)
    last = linear(model, 399)
    with torch.no_grad():
        last.weight.zero_()
        last.bias.fill_(0.5)
    assert value_of(model, (16,)) == pytest.approx(16 * 0.25, rel=1e-12)


def test_a_residual_branch_that_ends_in_zeros_leaves_the_shortcut_as_it_is() -> None:
    """As branches often start; however large the sums inside."""
    inner = deep(400, 1.5, bias=0.0, digits=10)
    with torch.no_grad():
        linear(inner, 399).weight.zero_()
    head = nn.Linear(16, 2)
    model = Forward(lambda self, x: self.head(x + self.f(x)), f=inner, head=head)
    weight, bias = head.weight.detach().double(), head.bias.detach().double()
    expected = float(weight.square().sum() + bias.square().sum())
    assert value_of(model, (16,)) == pytest.approx(expected, rel=1e-12)


# what is refused


class Branching(nn.Module):
    """A forward pass that depends on the data."""

    def __init__(self) -> None:
        super().__init__()
        self.f = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the outputs for the inputs or for their negatives."""
        return self.f(x) if x.sum() > 0 else self.f(-x)


def convolutional(pool: nn.Module) -> nn.Module:
    """Return a convolutional network for 5 x 5 images around a pooling layer."""
    return nn.Sequential(
        nn.Conv2d(1, 2, 1), nn.ReLU(), pool, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2)
    )


def between(layer: nn.Module) -> nn.Module:
    """Return a perceptron with a layer in its middle."""
    return nn.Sequential(nn.Linear(4, 4), layer, nn.Linear(4, 2))


def attention() -> nn.Module:
    """Return a network with an attention layer."""
    return Forward(
        lambda self, x: self.head(self.mix(x, x, x)[0].mean(1)),
        mix=nn.MultiheadAttention(4, 2, batch_first=True),
        head=nn.Linear(4, 2),
    )


@in_turn(
    ("model", "shape", "text"),
    [
        (between(nn.Tanh()), (4,), "layer 1 (Tanh)"),
        (between(nn.GELU()), (4,), "layer 1 (GELU)"),
        (between(nn.LeakyReLU()), (4,), "layer 1 (LeakyReLU)"),
        (between(nn.LayerNorm(4)), (4,), "layer 1 (LayerNorm)"),
        (between(nn.BatchNorm1d(4, track_running_stats=False)), (4,), "no running statistics"),
        (between(nn.Sequential(nn.ReLU(), nn.BatchNorm1d(4))), (4,), "does not directly follow"),
        (between(nn.PReLU()), (4,), "layer 1 (PReLU)"),
        (attention(), (3, 4), "layer mix (MultiheadAttention)"),
        (convolutional(nn.MaxPool2d(2, ceil_mode=True)), (1, 5, 5), "ceil_mode=True"),
        (convolutional(nn.AvgPool2d(2, ceil_mode=True)), (1, 5, 5), "windows of different sizes"),
        (
            convolutional(nn.AvgPool2d(2, padding=1, count_include_pad=False)),
            (1, 5, 5),
            "windows of different sizes",
        ),
        (convolutional(nn.AvgPool2d(2, divisor_override=3)), (1, 5, 5), "divisor_override"),
        (convolutional(nn.MaxPool2d(2, dilation=2)), (1, 5, 5), "dilation"),
        (convolutional(nn.AdaptiveAvgPool2d(2)), (1, 5, 5), "adaptive pooling"),
        (convolutional(nn.GroupNorm(1, 2)), (1, 5, 5), "layer 2 (GroupNorm)"),
        (convolutional(nn.Conv2d(2, 2, 3, 1, 1, padding_mode="reflect")), (1, 5, 5), "reflect"),
        (Branching(), (4,), "cannot be traced by torch.fx"),
        (Forward(lambda self, x: self.f(2 * x), f=nn.Linear(4, 2)), (4,), "mul"),
        (Forward(lambda self, x: self.f(x) - x[:, :2], f=nn.Linear(4, 2)), (4,), "operation"),
        (Forward(lambda self, x: torch.sigmoid(self.f(x)), f=nn.Linear(4, 2)), (4,), "sigmoid"),
        (
            Forward(lambda self, x: self.f(torch.add(x, x, alpha=3)), f=nn.Linear(4, 2)),
            (4,),
            "add",
        ),
        (nn.Flatten(), (4,), "no linear layer and no convolution"),
    ],
)
def test_what_no_sum_over_paths_describes_is_refused(
    model: nn.Module, shape: tuple[int, ...], text: str
) -> None:
    """The error names the layer or operation, and is of the project's own kind."""
    network = sample_network(model, torch.ones(3, *shape), torch.zeros(3).long())
    with pytest.raises(UndefinedMeasureError) as refused:
        path_norm(network)
    assert text in str(refused.value)


# with margin, and the bound's form


@unhurried
@given(seed=seeds, n=st.integers(10, 45))
def test_with_margin_it_is_divided_by_the_squared_margin(seed: int, n: int) -> None:
    """The floor(n / 10)-th smallest margin, sorted by hand."""
    model = perceptron([3, 5, 3])
    randomize(model, seed)
    inputs = torch.from_numpy(np.random.default_rng(seed).normal(size=(n, 3))).float()
    network = sample_network(model, inputs, labelled_by(model, inputs))
    with torch.no_grad():
        logits = np.sort(copy.deepcopy(model).double()(inputs.double()).numpy(), axis=1)
    margin = np.sort(logits[:, -1] - logits[:, -2])[n // 10 - 1]
    expected = sum_over_paths(model) / margin**2
    assert path_norm_over_margin(network) == pytest.approx(expected, rel=1e-9)
    bound_form = path_norm_over_margin.bound_form(network)
    assert bound_form == pytest.approx(math.sqrt(expected / n), rel=1e-9)
