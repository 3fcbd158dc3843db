"""Stacked losses and gradients against autograd on single networks."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional

from pytest_fragility.networks import build_network
from pytest_fragility.recipes import MLP
from pytest_fragility.training.buffers import Carried
from pytest_fragility.training.gradients import Sink
from pytest_fragility.training.one_by_one import OneAtATime
from pytest_fragility.training.perceptron_stacks import (
    Perceptron,
    StackedNetwork,
    Tensors,
    as_perceptron,
)
from pytest_fragility.training.vmapped import MappedNetwork

NETWORKS, BATCH, CLASSES = 3, 7, 4
NOTHING = Carried({}, torch.arange(NETWORKS), torch.zeros((), dtype=torch.int64))

PERCEPTRONS: dict[str, nn.Module] = {
    "built-in": build_network(MLP(hidden=(8, 6)), (5,), CLASSES),
    "linear": build_network(MLP(hidden=()), (5,), CLASSES),
    "no-bias": nn.Sequential(
        nn.Linear(5, 8, bias=False), nn.ReLU(), nn.Linear(8, CLASSES, bias=False)
    ),
    "one-bias": nn.Sequential(nn.Linear(5, 8, bias=False), nn.ReLU(), nn.Linear(8, CLASSES)),
    "trailing-relu": nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, CLASSES), nn.ReLU()),
    "no-relu": nn.Sequential(nn.Flatten(), nn.Linear(5, 8), nn.Linear(8, CLASSES)),
    "two-relus": nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.ReLU(), nn.Linear(8, CLASSES)),
}


class Doubled(nn.Linear):
    """A layer that computes something else than a linear one."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Map inputs to outputs."""
        return 2 * super().forward(inputs)


OTHERS: dict[str, nn.Module] = {
    "subclass": nn.Sequential(Doubled(5, CLASSES)),
    "tanh": nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, CLASSES)),
    "layer-norm": nn.Sequential(nn.Linear(5, 8), nn.LayerNorm(8), nn.Linear(8, CLASSES)),
    "relu-first": nn.Sequential(nn.ReLU(), nn.Linear(5, CLASSES)),
    "nested": nn.Sequential(nn.Sequential(nn.Linear(5, 8), nn.ReLU()), nn.Linear(8, CLASSES)),
    "unlike-flatten": nn.Sequential(nn.Flatten(start_dim=-1), nn.Linear(5, CLASSES)),
    "late-flatten": nn.Sequential(nn.Linear(5, CLASSES), nn.Flatten()),
    "no-sequential": nn.Linear(5, CLASSES),
}


def stack_network(network: nn.Module, label_smoothing: float = 0.0) -> StackedNetwork:
    """Return the perceptron's own form where there is one, else the mapped one."""
    perceptron = as_perceptron(network, label_smoothing=label_smoothing)
    return perceptron or MappedNetwork(network, label_smoothing)


def carried_by(network: nn.Module) -> Carried:
    """Return what a stack carries: each network the same fixed parameters and buffers."""
    fixed = {n: each.detach() for n, each in network.named_parameters() if not each.requires_grad}
    fixed |= dict(network.named_buffers())
    tensors = {n: torch.stack([each.clone()] * NETWORKS) for n, each in fixed.items()}
    seeds = torch.arange(NETWORKS)
    return Carried(tensors, seeds, torch.zeros((), dtype=torch.int64))


def draw(network: nn.Module, scale: float = 1.0) -> tuple[Tensors, torch.Tensor, torch.Tensor]:
    """Return float64 weights of a stack, inputs and labels."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    weights = [scale * normal(NETWORKS, *part.shape) for part in network.parameters()]
    labels = torch.randint(CLASSES, (NETWORKS, BATCH), generator=generator)
    return weights, normal(NETWORKS, BATCH, 5), labels


def autograd_losses(
    network: nn.Module,
    weights: Tensors,
    inputs: torch.Tensor,
    labels: torch.Tensor,
    label_smoothing: float = 0.0,
) -> tuple[torch.Tensor, Tensors]:
    """Return losses and gradients of one network after the other, by torch's autograd.

    Losses are without label smoothing, gradients with it.
    """
    names = [name for name, _ in network.named_parameters()]
    losses, gradients = [], []
    for place in range(NETWORKS):
        leaves = [weight[place].clone().requires_grad_() for weight in weights]
        logits = functional_call(
            network, dict(zip(names, leaves, strict=True)), (inputs[place].clone(),)
        )
        losses.append(functional.cross_entropy(logits.detach(), labels[place]))
        loss = functional.cross_entropy(logits, labels[place], label_smoothing=label_smoothing)
        gradients.append(torch.autograd.grad(loss, leaves))
    return torch.stack(losses), [torch.stack(parts) for parts in zip(*gradients, strict=True)]


def stacked_losses(
    stacked: StackedNetwork,
    weights: Tensors,
    inputs: torch.Tensor,
    labels: torch.Tensor,
    carried: Carried = NOTHING,
) -> tuple[torch.Tensor, Tensors]:
    """Return losses and gradients of the stack."""
    gradients = [torch.full_like(weight, torch.nan) for weight in weights]
    return stacked.bind(
        weights,
        [Sink(0, len(inputs), gradients, keep=0)],
        torch.ones(len(inputs), dtype=inputs.dtype),
        carried,
    )(inputs, labels), gradients


@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_every_form_equals_autograd(scale: float) -> None:
    """Losses are plain, gradients those of smoothed labels, also where the softmax saturates.

    What is no plain perceptron is mapped.
    """
    for name, network in {**PERCEPTRONS, **OTHERS}.items():
        weights, inputs, labels = draw(network, scale)
        for label_smoothing in (0.0, 0.1, 0.75):
            expected = autograd_losses(network, weights, inputs, labels, label_smoothing)
            own = stack_network(network, label_smoothing=label_smoothing)
            assert isinstance(own, Perceptron if name in PERCEPTRONS else MappedNetwork)
            forms = (
                own,
                MappedNetwork(network, label_smoothing),
                OneAtATime(network, label_smoothing),
            )
            logits = [form.logits(weights, NOTHING, inputs) for form in forms]
            for place, form in enumerate(forms):
                found = stacked_losses(form, weights, inputs, labels)
                torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-12 * scale)
                torch.testing.assert_close(logits[place], logits[0], rtol=1e-11, atol=1e-11)


def test_what_is_not_trained_is_no_weight() -> None:
    """A layer that needs no gradient is shared, and has none in the lists of weights."""
    network = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, CLASSES, bias=False)).double()
    fixed = network.get_parameter("2.weight").requires_grad_(False)
    generator = torch.Generator().manual_seed(0)
    weights = [
        torch.randn(NETWORKS, *shape, generator=generator, dtype=torch.float64)
        for shape in ((8, 5), (8,))
    ]
    inputs = torch.randn(NETWORKS, BATCH, 5, generator=generator, dtype=torch.float64)
    logits = stack_network(network).logits(weights, carried_by(network), inputs)
    for place in range(NETWORKS):
        hidden = functional.linear(inputs[place], weights[0][place], weights[1][place]).relu()
        expected = hidden @ fixed.mT
        torch.testing.assert_close(logits[place], expected, rtol=1e-12, atol=1e-12)


def test_weights_and_inputs_are_left_alone() -> None:
    """A pass writes gradients and nothing else."""
    for network in [PERCEPTRONS["built-in"], OTHERS["tanh"]]:
        weights, inputs, labels = draw(network)
        before = [weight.clone() for weight in weights], inputs.clone(), labels.clone()
        stacked_losses(stack_network(network), weights, inputs, labels)
        torch.testing.assert_close((weights, inputs, labels), before, rtol=0, atol=0)


def test_inputs_of_several_axes_are_flattened() -> None:
    """Images are flattened as ``nn.Flatten`` does."""
    network = build_network(MLP(hidden=(8,)), (5, 1, 2), CLASSES)
    weights, _, _ = draw(network)
    generator = torch.Generator().manual_seed(1)
    shape = (NETWORKS, BATCH, 5, 1, 2)
    inputs = torch.randn(shape, generator=generator, dtype=torch.float64)
    logits = stack_network(network).logits(weights, NOTHING, inputs)
    names = [name for name, _ in network.named_parameters()]
    for place in range(NETWORKS):
        single = {name: weight[place] for name, weight in zip(names, weights, strict=True)}
        expected = functional_call(network, single, (inputs[place],))
        torch.testing.assert_close(logits[place], expected, rtol=1e-12, atol=1e-12)
