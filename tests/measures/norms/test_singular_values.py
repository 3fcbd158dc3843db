"""Spectral norms, against dense matrices and NumPy's singular value decomposition."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from pytest_fragility.errors import UndefinedMeasureError
from pytest_fragility.measures import (
    StackMeasure,
    frobenius_over_spectral,
    frobenius_over_spectral_fft,
    product_of_spectral_norms,
    product_of_spectral_norms_fft,
    product_of_spectral_norms_over_margin,
    product_of_spectral_norms_over_margin_fft,
    spectral_bound_initialization,
    spectral_bound_initialization_fft,
    spectral_bound_origin,
    spectral_bound_origin_fft,
    spectral_distance_from_initialization,
    spectral_distance_from_initialization_fft,
    sum_of_spectral_norms,
    sum_of_spectral_norms_fft,
    sum_of_spectral_norms_over_margin,
    sum_of_spectral_norms_over_margin_fft,
)
from pytest_fragility.measures.norms.singular_values import (
    circular_convolution_norm,
    largest_singular_values,
    operator_norms,
)
from pytest_fragility.networks.stacks import NetworkStack
from pytest_fragility.networks.trained_network import TrainedNetwork
from tests.in_turn import in_turn
from tests.sample_networks import labelled_by, perceptron, randomize, sample_network

Floats = npt.NDArray[np.float64]

PLAIN_AND_FFT = {
    product_of_spectral_norms: product_of_spectral_norms_fft,
    product_of_spectral_norms_over_margin: product_of_spectral_norms_over_margin_fft,
    sum_of_spectral_norms: sum_of_spectral_norms_fft,
    sum_of_spectral_norms_over_margin: sum_of_spectral_norms_over_margin_fft,
    frobenius_over_spectral: frobenius_over_spectral_fft,
    spectral_bound_origin: spectral_bound_origin_fft,
    spectral_bound_initialization: spectral_bound_initialization_fft,
    spectral_distance_from_initialization: spectral_distance_from_initialization_fft,
}

unhurried = settings(deadline=None, max_examples=60)
modest = settings(deadline=None, max_examples=40)
brief = settings(deadline=None, max_examples=15)
seeds = st.integers(0, 2**32 - 1)
every_fft_measure = in_turn("measure", PLAIN_AND_FFT.values(), ids=lambda measure: measure.__name__)


def svd_norm(matrix: npt.NDArray[Any]) -> float:
    """Return the largest singular value."""
    return float(np.linalg.svd(matrix, compute_uv=False).max())


@dataclass(frozen=True)
class Convolution:
    """The shape of a convolution and of what it is applied to."""

    outputs: int
    inputs: int
    groups: int
    size: tuple[int, ...]
    grid: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]

    def kernel(self, seed: int) -> torch.Tensor:
        """Return random entries."""
        shape = (self.outputs, self.inputs // self.groups, *self.size)
        return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))

    def norm(self, kernel: torch.Tensor) -> float:
        """Return the norm by Fourier transform."""
        return float(
            circular_convolution_norm(
                kernel, self.grid, stride=self.stride, dilation=self.dilation, groups=self.groups
            )
        )


@st.composite
def convolutions(
    draw: st.DrawFn, *, largest_kernel: int = 4, largest_dilation: int = 3
) -> Convolution:
    """Return convolutions of one or two dimensions whose strides divide the grid."""
    dimensions = draw(st.integers(1, 2))
    largest_step = 4 if dimensions == 1 else 2
    groups = draw(st.integers(1, 2))
    stride = tuple(draw(st.integers(1, 3)) for _ in range(dimensions))
    return Convolution(
        outputs=groups * draw(st.integers(1, 3)),
        inputs=groups * draw(st.integers(1, 3)),
        groups=groups,
        size=tuple(draw(st.integers(1, largest_kernel)) for _ in range(dimensions)),
        grid=tuple(step * draw(st.integers(1, largest_step)) for step in stride),
        stride=stride,
        dilation=tuple(draw(st.integers(1, largest_dilation)) for _ in range(dimensions)),
    )


def dense_by_index(kernel: torch.Tensor, shape: Convolution) -> Floats:
    """Return the matrix of a circular convolution, entry by entry, modulo the grid."""
    weights = kernel.detach().numpy().astype(np.float64)
    outputs_each = shape.outputs // shape.groups
    inputs_each = shape.inputs // shape.groups
    small = [size // step for size, step in zip(shape.grid, shape.stride, strict=True)]
    matrix = np.zeros((shape.outputs, *small, shape.inputs, *shape.grid))
    for output, channel in product(range(shape.outputs), range(inputs_each)):
        source = output // outputs_each * inputs_each + channel
        for place in product(*map(range, small)):
            for position in product(*map(range, shape.size)):
                read = tuple(
                    (at * step + index * dilation) % size
                    for at, step, index, dilation, size in zip(
                        place, shape.stride, position, shape.dilation, shape.grid, strict=True
                    )
                )
                matrix[(output, *place, source, *read)] += weights[(output, channel, *position)]
    return matrix.reshape(shape.outputs * math.prod(small), -1)


def matrices(
    rows: int, columns: int, *, seed: int, scale: float = 1.0, is_complex: bool = False
) -> npt.NDArray[Any]:
    """Return three random matrices."""
    generator = np.random.default_rng(seed)
    found: npt.NDArray[Any] = scale * generator.normal(size=(3, rows, columns))
    if is_complex:
        found = found + 1j * scale * generator.normal(size=(3, rows, columns))
    return found


@unhurried
@given(
    rows=st.integers(1, 7),
    columns=st.integers(1, 7),
    seed=seeds,
    scale=st.sampled_from([1.0, 1e-3, 1e200, 1e-200, 1e-300]),
    is_complex=st.booleans(),
)
def test_largest_singular_values_are_those_of_numpy(
    rows: int, columns: int, seed: int, scale: float, is_complex: bool
) -> None:
    """Real or complex, wide or tall, with entries whose squares overflow or vanish."""
    batch = matrices(rows, columns, seed=seed, scale=scale, is_complex=is_complex)
    norms = largest_singular_values(torch.from_numpy(batch))
    # NumPy gets matrices of moderate size, of which it is certain to be right
    expected = [svd_norm(matrix / scale) * scale for matrix in batch]
    np.testing.assert_allclose(norms.numpy(), expected, rtol=1e-12)


def test_matrices_of_different_scale_do_not_disturb_each_other() -> None:
    """Each is scaled by its own largest entry."""
    scales = (1e200, 1.0, 1e-200)
    batch = np.stack([matrices(4, 3, seed=0, scale=scale)[0] for scale in scales])
    norms = largest_singular_values(torch.from_numpy(batch)).numpy()
    expected = svd_norm(matrices(4, 3, seed=0)[0])
    np.testing.assert_allclose(norms / np.array(scales), expected, rtol=1e-12)


@in_turn("rank", [1, 2, 3])
def test_the_largest_singular_value_of_a_matrix_of_low_rank(rank: int) -> None:
    """With repeated and vanishing singular values beside it."""
    for seed in range(10):
        generator = np.random.default_rng(seed)
        left = np.linalg.qr(generator.normal(size=(8, rank)))[0]
        right = np.linalg.qr(generator.normal(size=(5, rank)))[0]
        found = largest_singular_values(torch.from_numpy(left @ right.T * 7))
        assert float(found) == pytest.approx(7, rel=1e-12)


@in_turn("shape", [(1, 1), (3, 5), (5, 3), (2, 4, 3, 3)])
def test_a_matrix_of_zeros_has_norm_zero(shape: tuple[int, ...]) -> None:
    """Exactly, and no other matrix of the batch minds."""
    zeros = torch.zeros(shape, dtype=torch.float64)
    assert torch.equal(largest_singular_values(zeros), torch.zeros(shape[:-2], dtype=torch.float64))
    both = torch.stack([zeros, torch.ones_like(zeros)])
    norms = largest_singular_values(both)
    assert norms[0].eq(0).all()
    assert norms[1].numpy() == pytest.approx(math.sqrt(shape[-1] * shape[-2]), rel=1e-14)


@modest
@given(shape=convolutions(), seed=seeds)
def test_the_convolutions_norm_is_that_of_its_matrix(shape: Convolution, seed: int) -> None:
    """With strides, dilations, groups, and kernels that wrap around the grid more than once."""
    kernel = shape.kernel(seed)
    expected = svd_norm(dense_by_index(kernel, shape))
    assert shape.norm(kernel) == pytest.approx(expected, rel=1e-10, abs=1e-12)


@modest
@given(shape=convolutions(largest_kernel=3, largest_dilation=2), seed=seeds)
def test_the_convolutions_norm_is_that_of_what_torch_computes(
    shape: Convolution, seed: int
) -> None:
    """Torch's own convolution behind its own circular padding, where that pads at most once.

    Without any padding it is no larger: the positions where the kernel does not wrap around are
    some of the circular ones.
    """
    reach = [(k - 1) * d for k, d in zip(shape.size, shape.dilation, strict=True)]
    grid = tuple(
        step * math.ceil(max(size, extent + 1) / step)
        for size, extent, step in zip(shape.grid, reach, shape.stride, strict=True)
    )
    shape = dataclasses.replace(shape, grid=grid)
    kernel = shape.kernel(seed)
    padding = [part for extent in reversed(reach) for part in (extent // 2, extent - extent // 2)]
    convolve: Any = functional.conv1d if len(grid) == 1 else functional.conv2d
    basis = torch.eye(shape.inputs * math.prod(grid), dtype=torch.float64)
    images = basis.reshape(-1, shape.inputs, *grid)
    circular, bare = (
        svd_norm(
            convolve(
                inputs, kernel, stride=shape.stride, dilation=shape.dilation, groups=shape.groups
            )
            .flatten(1)
            .numpy()
        )
        for inputs in (functional.pad(images, padding, mode="circular"), images)
    )
    assert shape.norm(kernel) == pytest.approx(circular, rel=1e-10)
    assert bare <= shape.norm(kernel) * (1 + 1e-12)


def test_kernels_may_be_huge_or_tiny() -> None:
    """Their squares overflow or vanish, their norms do not."""
    shape = Convolution(3, 2, 1, (3, 3), (4, 6), (2, 1), (1, 1))
    kernel = shape.kernel(0)
    for scale in (1e-200, 1e200):
        assert shape.norm(kernel * scale) == pytest.approx(shape.norm(kernel) * scale, rel=1e-12)


def test_a_convolution_in_three_dimensions() -> None:
    """Nothing depends on the number of dimensions."""
    shape = Convolution(2, 2, 1, (2, 3, 1), (4, 3, 2), (2, 1, 2), (1, 2, 1))
    kernel = shape.kernel(0)
    expected = svd_norm(dense_by_index(kernel, shape))
    assert shape.norm(kernel) == pytest.approx(expected, rel=1e-12)


def test_norms_of_some_convolutions_can_be_done_by_hand() -> None:
    """The mean of three has gain one; a difference, two; a kernel of one place, its matrix's."""
    ones = torch.ones(1, 1, 3, dtype=torch.float64)
    assert float(circular_convolution_norm(ones / 3, (7,))) == pytest.approx(1)
    difference = torch.tensor([[[1.0, -1.0]]], dtype=torch.float64)
    assert float(circular_convolution_norm(difference, (6,))) == pytest.approx(2)
    # both entries fall on the only place
    assert float(circular_convolution_norm(difference, (1,))) == pytest.approx(0)
    matrix = np.random.default_rng(0).normal(size=(4, 3))
    kernel = torch.from_numpy(matrix)[..., None, None]
    assert float(circular_convolution_norm(kernel, (5, 5))) == pytest.approx(svd_norm(matrix))
    # every other place of a shift is kept, so that no input counts twice
    assert float(circular_convolution_norm(ones[:, :, :1], (6,), stride=(3,))) == pytest.approx(1)
    # with stride 3 no inputs overlap: the norm of (1, 1, 1)
    assert float(circular_convolution_norm(ones, (6,), stride=(3,))) == pytest.approx(math.sqrt(3))


def small_cnn(seed: int) -> nn.Module:
    """Return a network whose layers see sizes 8 x 6, 4 x 6 and 4 x 6."""
    return randomize(
        nn.Sequential(
            nn.Conv2d(2, 4, 3, stride=(2, 1), padding=1),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Conv2d(4, 2, (3, 1), padding=(2, 0), dilation=(2, 1), groups=2, bias=False),
            nn.ReLU(),
            nn.Conv2d(2, 2, 1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(2 * 4 * 6, 3),
        ),
        seed,
        scale=0.5,
    ).double()


SMALL_CNN = (
    Convolution(4, 2, 1, (3, 3), (8, 6), (2, 1), (1, 1)),
    Convolution(2, 4, 2, (3, 1), (4, 6), (1, 1), (2, 1)),
    Convolution(2, 2, 1, (1, 1), (4, 6), (1, 1), (1, 1)),
)


def cnn_network(seed: int) -> TrainedNetwork:
    """Return a small CNN that labels its own samples; its beginning has other statistics."""
    model, initial = small_cnn(seed), small_cnn(seed + 1000)
    inputs = torch.from_numpy(np.random.default_rng(seed).normal(size=(20, 2, 8, 6)))
    return sample_network(
        model, inputs, labelled_by(model, inputs), initial_model=initial, seed=seed
    )


def folded_kernels(model: nn.Module) -> list[torch.Tensor]:
    """Return the weights of a small CNN, the first with its normalization folded in."""
    state = model.state_dict()
    scale = state["1.weight"] / torch.sqrt(state["1.running_var"] + 1e-5)
    first = torch.stack([k * s for k, s in zip(state["0.weight"], scale, strict=True)])
    return [first, *(state[f"{place}.weight"] for place in (3, 5, 8))]


def dense_layers(kernels: Sequence[torch.Tensor]) -> list[Floats]:
    """Return the matrix of every layer of a small CNN on its own input size."""
    dense = [dense_by_index(k, shape) for k, shape in zip(kernels, SMALL_CNN, strict=False)]
    return [*dense, kernels[-1].numpy()]


def expected_of_cnn(network: TrainedNetwork) -> dict[StackMeasure, float]:
    """Return what each measure should be, from dense matrices."""
    trained = folded_kernels(network.model)
    changes = [
        after - before
        for after, before in zip(trained, folded_kernels(network.initial_model), strict=True)
    ]
    norms = [svd_norm(matrix) for matrix in dense_layers(trained)]
    moved = [svd_norm(matrix) for matrix in dense_layers(changes)]
    sizes = [float(np.linalg.norm(kernel.numpy().ravel())) for kernel in trained]
    distances = [float(np.linalg.norm(kernel.numpy().ravel())) for kernel in changes]
    logits = network.model(network.inputs).detach().numpy().tolist()
    margins = []
    for row, label in zip(logits, network.labels.tolist(), strict=True):
        own = row.pop(label)
        margins.append(own - max(row))
    margin = sorted(margins)[network.n // 10 - 1]
    squared = math.prod(norm**2 for norm in norms)
    ranks = [(size / norm) ** 2 for size, norm in zip(sizes, norms, strict=True)]
    gone = [(distance / norm) ** 2 for distance, norm in zip(distances, norms, strict=True)]
    return {
        product_of_spectral_norms_fft: squared,
        product_of_spectral_norms_over_margin_fft: squared / margin**2,
        sum_of_spectral_norms_fft: 4 * squared ** (1 / 4),
        sum_of_spectral_norms_over_margin_fft: 4 * (squared / margin**2) ** (1 / 4),
        frobenius_over_spectral_fft: sum(ranks),
        spectral_bound_origin_fft: squared / margin**2 * sum(ranks),
        spectral_bound_initialization_fft: squared / margin**2 * sum(gone),
        spectral_distance_from_initialization_fft: sum(norm**2 for norm in moved),
    }


@in_turn("seed", [0, 1])
def test_fft_measures_follow_the_convolutions_as_operators(seed: int) -> None:
    """Each layer on its own input size, normalization folded in, against dense matrices."""
    network = cnn_network(seed)
    expected = expected_of_cnn(network)
    assert set(expected) == set(PLAIN_AND_FFT.values())
    for measure, value in expected.items():
        assert measure(network) == pytest.approx(value, rel=1e-9), measure
        assert measure.bound_form(network) == pytest.approx(math.sqrt(value / 20), rel=1e-9)
        assert measure.logarithm(network) == pytest.approx(math.log(value), abs=1e-9)


def test_a_stack_of_cnns_gives_what_each_gives_alone() -> None:
    """Each with kernels, statistics and samples of its own."""
    networks = [cnn_network(seed) for seed in range(3)]
    stack = NetworkStack.of_networks(networks)
    for measure in PLAIN_AND_FFT.values():
        alone = [measure(network) for network in networks]
        assert len(set(alone)) == 3
        assert measure.over_stack(stack).tolist() == pytest.approx(alone, rel=1e-10), measure


@pytest.mark.parametrize("fft", PLAIN_AND_FFT.values(), ids=lambda measure: measure.__name__)
@brief
@given(
    sizes=st.lists(st.integers(2, 5), min_size=2, max_size=4),
    seed=seeds,
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_without_convolutions_both_variants_are_the_same(
    fft: StackMeasure, sizes: list[int], seed: int, dtype: torch.dtype
) -> None:
    """A perceptron's layers are matrices either way."""
    plain = next(measure for measure, other in PLAIN_AND_FFT.items() if other is fft)
    model = randomize(perceptron(sizes), seed).to(dtype)
    initial = randomize(perceptron(sizes), seed + 1).to(dtype)
    inputs = torch.from_numpy(np.random.default_rng(seed).normal(size=(12, sizes[0]))).to(dtype)
    labels = labelled_by(model, inputs)
    network = sample_network(model, inputs, labels, initial_model=initial)
    try:
        value = plain(network)
    except UndefinedMeasureError:
        with pytest.raises(UndefinedMeasureError):
            fft(network)
    else:
        assert fft(network) == pytest.approx(value, rel=1e-12)


def images(*shape: int) -> torch.Tensor:
    """Return random images."""
    return torch.from_numpy(np.random.default_rng(0).normal(size=shape))


def untrained(model: nn.Module, inputs: torch.Tensor) -> TrainedNetwork:
    """Return a network with random weights."""
    model = randomize(model, 0).double()
    return sample_network(model, inputs, labelled_by(model, inputs))


def test_a_convolution_over_sequences_is_followed_too() -> None:
    """One dimension, with a stride: the next layer sees half the length."""
    model = nn.Sequential(
        nn.Conv1d(2, 3, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv1d(3, 2, 5, padding=2),
        nn.Flatten(),
        nn.Linear(8, 2),
    )
    network = untrained(model, images(10, 2, 8))
    first, second, last = [p.detach() for p in model.parameters() if p.dim() > 1]
    norms = (
        svd_norm(dense_by_index(first, Convolution(3, 2, 1, (3,), (8,), (2,), (1,)))),
        # longer than its input of length four: it wraps around
        svd_norm(dense_by_index(second, Convolution(2, 3, 1, (5,), (4,), (1,), (1,)))),
        svd_norm(last.numpy()),
    )
    found = operator_norms(NetworkStack.of_network(network))
    assert found[0].tolist() == pytest.approx(norms, rel=1e-10)


@every_fft_measure
def test_a_stride_that_does_not_divide_the_size_is_refused(measure: StackMeasure) -> None:
    """The reason names the layer, its stride and the size it sees."""
    model = nn.Sequential(
        nn.Conv2d(1, 2, 3, padding=1),
        nn.Conv2d(2, 1, 1, stride=(1, 2)),
        nn.Flatten(),
        nn.Linear(4 * 3, 2),
    )
    with pytest.raises(UndefinedMeasureError) as error:
        measure(untrained(model, images(10, 1, 4, 5)))
    text = str(error.value)
    assert "layer 1 has stride 2 on an input of size 5" in text
    assert "needs a size that the stride divides" in text


class UsedTwice(nn.Module):
    """The same convolution before and behind an optional pooling."""

    def __init__(self, *, pooled: bool) -> None:
        super().__init__()
        self.shared = nn.Conv2d(2, 2, 3, padding=1)
        self.between = nn.AvgPool2d(2) if pooled else nn.ReLU()
        self.last = nn.LazyLinear(2)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Apply the same layer twice."""
        hidden: torch.Tensor = self.shared(self.between(self.shared(inputs)))
        outputs: torch.Tensor = self.last(hidden.flatten(1))
        return outputs


def made(model: nn.Module, inputs: torch.Tensor) -> nn.Module:
    """Let lazy layers see their input's size."""
    model.double()(inputs)
    return model


@every_fft_measure
def test_a_layer_used_on_two_sizes_is_refused(measure: StackMeasure) -> None:
    """It is two operators; the reason names the layer and both sizes."""
    inputs = images(10, 2, 4, 4)
    with pytest.raises(UndefinedMeasureError) as error:
        measure(untrained(made(UsedTwice(pooled=True), inputs), inputs))
    text = str(error.value)
    assert "layer shared is used on inputs of sizes (4, 4) and (2, 2)" in text
    assert "not one number" in text


def test_a_layer_used_twice_on_one_size_has_one_norm() -> None:
    """It is one operator."""
    inputs = images(10, 2, 4, 4)
    model = made(UsedTwice(pooled=False), inputs)
    found = operator_norms(NetworkStack.of_network(untrained(model, inputs)))
    kernel = dict(model.named_parameters())["shared.weight"]
    shape = Convolution(2, 2, 1, (3, 3), (4, 4), (1, 1), (1, 1))
    assert float(found[0, 0]) == pytest.approx(svd_norm(dense_by_index(kernel, shape)), rel=1e-10)


def test_looking_up_sizes_leaves_no_trace_in_the_network() -> None:
    """No hook stays behind, be it after a refusal, and gradients stay as they are."""
    inputs = images(10, 2, 4, 4)
    for pooled in (False, True):
        network = untrained(made(UsedTwice(pooled=pooled), inputs), inputs)
        try:
            product_of_spectral_norms_fft(network)
        except UndefinedMeasureError:
            assert pooled
        assert not any(module._forward_pre_hooks for module in network.model.modules())
        assert all(parameter.grad is None for parameter in network.model.parameters())


class CalledByKeyword(nn.Module):
    """A convolution that is handed its input by name."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(2, 2, 3, padding=1)
        self.last = nn.Linear(32, 2)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Apply both layers."""
        outputs: torch.Tensor = self.last(self.convolution(input=inputs).flatten(1))
        return outputs


def test_a_convolution_may_be_called_by_keyword() -> None:
    """Its input's size is found there too."""
    model = CalledByKeyword()
    found = operator_norms(NetworkStack.of_network(untrained(model, images(10, 2, 4, 4))))
    shape = Convolution(2, 2, 1, (3, 3), (4, 4), (1, 1), (1, 1))
    expected = svd_norm(dense_by_index(model.convolution.weight, shape))
    assert float(found[0, 0]) == pytest.approx(expected, rel=1e-10)


class WithASpare(nn.Module):
    """A network with a convolution that it never uses."""

    def __init__(self) -> None:
        super().__init__()
        self.spare = nn.Conv2d(2, 2, 3)
        self.last = nn.Linear(32, 2)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Leave the spare layer out."""
        outputs: torch.Tensor = self.last(inputs.flatten(1))
        return outputs


def test_a_convolution_that_is_never_used_is_refused() -> None:
    """It sees no input, so that it has no norm as an operator; the reason names it."""
    with pytest.raises(UndefinedMeasureError, match="spare"):
        product_of_spectral_norms_fft(untrained(WithASpare(), images(10, 2, 4, 4)))
