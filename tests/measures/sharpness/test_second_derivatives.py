"""Second derivatives that are written out, against torch's own and explicit Hessians."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pytest_fragility.measures.common.outputs import relu_chain_of
from pytest_fragility.measures.sharpness import second_derivatives as second_order
from pytest_fragility.measures.sharpness.loss_surface import LossSurface
from pytest_fragility.networks.stacks import NetworkStack
from pytest_fragility.networks.trained_network import TrainedNetwork
from tests.in_turn import in_turn
from tests.measures.sharpness.test_hessian import hessian_of, normalized, smooth
from tests.sample_networks import perceptron, randomize, sample_network


def network_of(sizes: list[int], *, bias: bool = True, seed: int = 0, n: int = 9) -> TrainedNetwork:
    """Return a perceptron with random weights on random samples."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(n, sizes[0], generator=generator)
    labels = torch.randint(sizes[-1], (n,), generator=generator)
    return sample_network(randomize(perceptron(sizes, bias=bias), seed), inputs, labels, seed=seed)


def directions(stack: NetworkStack, count: int) -> torch.Tensor:
    """Return random directions in the space of all parameters."""
    size = LossSurface(stack).weights.shape[1]
    generator = torch.Generator().manual_seed(5)
    return torch.randn(len(stack), count, size, generator=generator, dtype=torch.float64)


PERCEPTRONS = [
    ([3, 2], True),
    ([3, 2], False),
    ([3, 5, 2], True),
    ([3, 5, 4, 2], False),
    ([3, 5, 4, 3, 4], True),
]


@in_turn(("sizes", "bias"), PERCEPTRONS)
def test_perceptrons_have_the_derivatives_of_the_explicit_hessian(
    sizes: list[int], bias: bool
) -> None:
    """Products and curvatures of networks of any depth, in a stack of two."""
    networks = [network_of(sizes, bias=bias, seed=seed) for seed in range(2)]
    stack = NetworkStack.of_networks(networks)
    assert relu_chain_of(stack) is not None
    surface, vectors = LossSurface(stack), directions(stack, 4)
    hessians = torch.stack([torch.from_numpy(hessian_of(network)) for network in networks])
    products = vectors @ hessians
    torch.testing.assert_close(
        torch.stack([surface.hessian_products(row) for row in vectors.unbind(1)], dim=1),
        products,
        rtol=1e-9,
        atol=1e-12,
    )
    torch.testing.assert_close(
        surface.curvatures(vectors), (products * vectors).sum(dim=2), rtol=1e-9, atol=1e-12
    )


@in_turn("at_a_time", [1, 20, 10_000])
def test_directions_are_taken_in_any_number_at_a_time(
    at_a_time: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One, a few, all of them: how much memory that takes does not show in the result."""
    stack = NetworkStack.of_network(network_of([3, 5, 4, 2]))
    vectors = directions(stack, 7)
    expected = LossSurface(stack).curvatures(vectors)
    monkeypatch.setattr(second_order, "AT_A_TIME", at_a_time)
    torch.testing.assert_close(
        LossSurface(stack).curvatures(vectors), expected, rtol=1e-12, atol=1e-14
    )


def test_nothing_takes_part_in_a_derivative() -> None:
    """Results have no graph, whatever the caller's mode."""
    stack = NetworkStack.of_network(network_of([3, 5, 2]))
    vectors = directions(stack, 2).requires_grad_()
    with torch.enable_grad():
        assert not LossSurface(stack).curvatures(vectors).requires_grad
        assert not LossSurface(stack).hessian_products(vectors[:, 0]).requires_grad


@in_turn("network", [normalized(), smooth()], ids=["normalized", "smooth"])
def test_other_networks_are_differentiated_twice(network: TrainedNetwork) -> None:
    """Curvatures there are products with the Hessian."""
    stack = NetworkStack.of_network(network)
    assert relu_chain_of(stack) is None
    vectors = directions(stack, 3)
    hessian = torch.from_numpy(hessian_of(network))
    torch.testing.assert_close(
        LossSurface(stack).curvatures(vectors),
        (vectors @ hessian * vectors).sum(dim=2),
        rtol=1e-9,
        atol=1e-12,
    )


def test_the_order_of_parameters_is_the_modules() -> None:
    """Layers that are registered in another order than they are called in have their own place."""

    class Backwards(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.last, self.first = nn.Linear(4, 2), nn.Linear(3, 4)

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return self.last(torch.relu(self.first(inputs)))  # type: ignore[no-any-return]

    inputs = torch.randn(8, 3, generator=torch.Generator().manual_seed(1))
    network = sample_network(randomize(Backwards(), 1), inputs, torch.arange(8) % 2)
    stack = NetworkStack.of_network(network)
    assert relu_chain_of(stack) == ["first", "last"]
    vectors = directions(stack, 3)
    hessian = torch.from_numpy(hessian_of(network))
    torch.testing.assert_close(
        LossSurface(stack).hessian_products(vectors[:, 0]),
        vectors[:, 0] @ hessian,
        rtol=1e-9,
        atol=1e-12,
    )


@in_turn("scale", [1.0, 300.0, 1000.0, 2000.0])
def test_rough_products_keep_their_digits_however_sure_a_network_is(scale: float) -> None:
    """Float32 loses no more of a product with the Hessian where the loss is tiny."""
    network = sure_network(scale)
    stack = NetworkStack.of_network(network)
    surface = LossSurface(stack)
    rough = surface.rough_hessian_products()
    assert rough is not None
    for row in directions(stack, 5).unbind(1):
        exact = surface.hessian_products(row)
        error = (rough(row.float()).double() - exact).norm() / exact.norm()
        assert float(error) < 1e-5


def test_rough_products_are_refused_where_float32_ends() -> None:
    """Slopes near the least float32, and networks that are no ReLU perceptrons."""
    for scale, is_rough in ((2000.0, True), (6000.0, False)):
        surface = LossSurface(NetworkStack.of_network(sure_network(scale)))
        assert (surface.rough_hessian_products() is not None) is is_rough
        assert float(surface.losses(surface.weights)) < 1e-12
    for network in (normalized(), smooth()):
        assert LossSurface(NetworkStack.of_network(network)).rough_hessian_products() is None


def sure_network(scale: float) -> TrainedNetwork:
    """Return a perceptron whose logits, and so its certainty, grow with the scale."""
    network = network_of([4, 6, 5, 3], seed=2, n=7)
    last = network.model[-1]
    assert isinstance(last, nn.Linear)
    with torch.no_grad():
        last.weight *= scale
        last.bias *= scale
    labels = network.model(network.inputs).argmax(dim=1)
    return sample_network(network.model, network.inputs, labels)
