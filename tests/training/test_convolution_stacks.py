"""Convolutional networks written out in products, against autograd under ``torch.func.vmap``."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pytest_fragility.networks import build_network
from pytest_fragility.recipes import CNN
from pytest_fragility.training.buffers import Carried
from pytest_fragility.training.convolution_stacks import (
    ConvolutionalNetwork,
    convolutional_structure,
)
from pytest_fragility.training.gradients import Sink
from pytest_fragility.training.vmapped import MappedNetwork

NETWORKS, BATCH, CLASSES = 3, 5, 4

SHAPES = {
    "default": (CNN(), (1, 8, 8)),
    "one-convolution": (CNN(channels=(3,)), (2, 4, 6)),
    "last-is-not-pooled": (CNN(channels=(4, 6, 5), kernel_size=5, hidden=(7,)), (3, 8, 2)),
    "flat": (CNN(), (64,)),
    "no-channel": (CNN(channels=(3,)), (4, 6)),
    "pointwise": (CNN(channels=(3, 2), kernel_size=1), (2, 4, 4)),
}


@pytest.mark.parametrize(("architecture", "shape"), SHAPES.values(), ids=SHAPES)
def test_equals_autograd(architecture: CNN, shape: tuple[int, ...]) -> None:
    """Losses, gradients and logits; in part of the images what is pooled is all the same."""
    label_smoothing = 0.1 if len(shape) > 1 else 0.0
    network = build_network(architecture, shape, CLASSES).double()
    structure = convolutional_structure(network, shape)
    assert structure is not None
    generator = torch.Generator().manual_seed(0)

    def normal(*sizes: int) -> torch.Tensor:
        return torch.randn(*sizes, generator=generator, dtype=torch.float64)

    weights = [0.3 * normal(NETWORKS, *each.shape) for each in network.parameters()]
    inputs = normal(NETWORKS, BATCH, *shape)
    inputs[..., : shape[-1] // 2] = 0
    labels = torch.randint(CLASSES, (NETWORKS, BATCH), generator=generator)
    scale = normal(NETWORKS)
    zero = torch.zeros((), dtype=torch.int64)
    carried = Carried({}, zero.expand(NETWORKS), zero)
    found = []
    for stacked in (
        ConvolutionalNetwork(structure, label_smoothing),
        MappedNetwork(network, label_smoothing),
    ):
        gradients = [torch.full_like(weight, torch.nan) for weight in weights]
        losses_of = stacked.bind(weights, [Sink(0, NETWORKS, gradients, keep=0)], scale, carried)
        # the second time in memory that the first has used
        losses_of(-inputs, labels)
        losses = losses_of(inputs, labels)
        with torch.no_grad():
            found.append((losses, gradients, stacked.logits(weights, carried, inputs)))
    torch.testing.assert_close(found[0], found[1], rtol=1e-12, atol=1e-12)


def test_other_networks_are_something_else() -> None:
    """What is not written out is not taken for it."""
    for layers in [
        [nn.Conv2d(1, 2, 3, padding=1), nn.Tanh(), nn.Flatten(), nn.Linear(128, 4)],
        [nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(72, 4)],
        [nn.Conv2d(1, 2, 3, padding=1, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(128, 4)],
        [nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(32, 4)],
        [nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(128, 4), nn.ReLU()],
        [nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), nn.Flatten(2), nn.Linear(64, 4)],
        [nn.Flatten(), nn.Linear(64, 4)],
    ]:
        assert convolutional_structure(nn.Sequential(*layers), (1, 8, 8)) is None


def test_sides_that_are_left_to_torch_are_not_guessed() -> None:
    """An image whose size is not spelled out goes through vmap."""
    layers = [nn.Unflatten(1, (1, -1, 8)), *list(build_network(CNN(), (1, 8, 8), 4))]
    assert convolutional_structure(nn.Sequential(*layers), (64,)) is None


def test_odd_sides_are_not_pooled_here() -> None:
    """Where pooling leaves a row out, torch's own does it."""
    assert convolutional_structure(build_network(CNN(), (1, 7, 8), 4), (1, 7, 8)) is None
