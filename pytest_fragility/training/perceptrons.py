"""Forward and backward passes of a whole stack of networks at once, and of perceptrons."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import nn

from pytest_fragility.training.carried import Carried

Tensors = list[torch.Tensor]
Losses = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class StackedNetwork(Protocol):
    """K copies of one network, each with weights and inputs of its own.

    Weights are lists in the order of ``network.parameters()``, each of shape (K, *shape); without
    parameters that do not require a gradient, which are among what is carried.
    """

    def logits(self, weights: Tensors, carried: Carried, inputs: torch.Tensor) -> torch.Tensor:
        """Map inputs (K, batch, *input shape) to logits (K, batch, classes), in eval mode."""

    def bind(self, weights: Tensors, gradients: Tensors, carried: Carried) -> Losses:
        """Return what is called for each batch, for weights that are updated in place.

        Called as ``losses(inputs, labels)`` with inputs of shape (K, batch, *input shape) and
        labels of shape (K, batch), int64, it returns each network's mean cross-entropy, shape
        (K,), in training mode, and writes to `gradients`, of the shapes of `weights`; what is
        carried moves on by a step. Gradients are those of the cross-entropy with smoothed labels,
        where that is asked for.
        """


def as_perceptron(network: nn.Module, *, label_smoothing: float = 0.0) -> Perceptron | None:
    """Return the stacked form of a perceptron, or None where `network` is something else.

    A perceptron is linear layers with or without ReLU behind them. It is written out in batched
    matrix products, backward pass included, at half the cost of `torch.func.vmap` and autograd.
    """
    layers = _perceptron_layers(network)
    return None if layers is None else Perceptron(layers, label_smoothing)


@dataclass(frozen=True)
class Layer:
    """A linear layer, with or without bias and a ReLU behind it."""

    has_bias: bool
    has_relu: bool


def _perceptron_layers(network: nn.Module) -> list[Layer] | None:
    """Return the layers of a perceptron, or None where the network is something else."""
    has_frozen = not all(each.requires_grad for each in network.parameters())
    if has_frozen or not isinstance(network, nn.Sequential):
        return None
    layers: list[Layer] = []
    for place, module in enumerate(network):
        if type(module) is nn.Linear:
            layers.append(Layer(module.bias is not None, has_relu=False))
        elif type(module) is nn.ReLU and layers:
            layers[-1] = Layer(layers[-1].has_bias, has_relu=True)
        elif not (place == 0 and _flattens_each_sample(module)):
            return None
    own = sum(1 + layer.has_bias for layer in layers)
    # layers that share a parameter are something else
    return layers if layers and own == len(list(network.parameters())) else None


def _flattens_each_sample(module: nn.Module) -> bool:
    return type(module) is nn.Flatten and (module.start_dim, module.end_dim) == (1, -1)


class Perceptron:
    """A stack of perceptrons with the backward pass written out.

    Parameters
    ----------
    layers
        First to last.
    label_smoothing
        Share of the target that is spread evenly over all classes.
    """

    def __init__(self, layers: Sequence[Layer], label_smoothing: float = 0.0) -> None:
        self._layers = layers
        self._label_smoothing = label_smoothing

    def logits(self, weights: Tensors, carried: Carried, inputs: torch.Tensor) -> torch.Tensor:
        """See `StackedNetwork.logits`; nothing is carried."""
        return self.outputs(weights, inputs)

    def outputs(self, weights: Tensors, inputs: torch.Tensor) -> torch.Tensor:
        """Map inputs (K, batch, *input shape) to logits (K, batch, classes)."""
        return _activations(self._bound(weights, weights), inputs)[-1]

    def bind(self, weights: Tensors, gradients: Tensors, carried: Carried) -> Losses:
        """See `StackedNetwork.bind`; nothing is carried."""
        return self.losses(weights, gradients)

    def losses(self, weights: Tensors, gradients: Tensors) -> PerceptronLosses:
        """Return what gives each network's loss on a batch and writes its gradients."""
        return PerceptronLosses(self._bound(weights, gradients), self._label_smoothing)

    def _bound(self, weights: Tensors, gradients: Tensors) -> list[BoundLayer]:
        bound = []
        place = 0
        for layer in self._layers:
            bias = weights[place + 1].unsqueeze(1) if layer.has_bias else None
            bias_gradient = gradients[place + 1] if layer.has_bias else None
            bound.append(
                BoundLayer(
                    weights[place],
                    weights[place].mT,
                    bias,
                    gradients[place],
                    bias_gradient,
                    layer.has_relu,
                )
            )
            place += 1 + layer.has_bias
        return bound


@dataclass(frozen=True, slots=True)
class BoundLayer:
    """A linear layer's weights and gradients: views that are made once for many steps."""

    matrix: torch.Tensor
    transposed: torch.Tensor
    bias: torch.Tensor | None
    gradient: torch.Tensor
    bias_gradient: torch.Tensor | None
    has_relu: bool


class PerceptronLosses:
    """Forward and backward pass of a stack of perceptrons; see `StackedNetwork.bind`."""

    def __init__(self, layers: Sequence[BoundLayer], label_smoothing: float) -> None:
        self._layers = layers
        self._label_smoothing = label_smoothing

    def __call__(self, inputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return each network's loss and write its gradients."""
        activations = _activations(self._layers, inputs)
        chosen = labels.unsqueeze(2)
        # torch's own log_softmax is three times slower over so few classes
        shifted = activations[-1] - activations[-1].amax(dim=2, keepdim=True)
        chosen_logits = shifted.gather(2, chosen)
        upstream = shifted.exp_()
        total = upstream.sum(dim=2, keepdim=True)
        share = 1 / labels.shape[1]
        losses = (total.log() - chosen_logits).sum(dim=(1, 2)).mul_(share)
        upstream.div_(total.mul_(labels.shape[1]))
        spread = share * self._label_smoothing
        taken = upstream.new_full((1, 1, 1), spread - share)
        upstream.scatter_add_(2, chosen, taken.expand_as(chosen))
        if spread:
            upstream.sub_(spread / upstream.shape[2])
        self._backward(activations, upstream)
        return losses

    def _backward(self, activations: Tensors, upstream: torch.Tensor) -> None:
        """Write the gradients, given the loss's gradient with respect to the last output."""
        for index in range(len(self._layers) - 1, -1, -1):
            layer = self._layers[index]
            if layer.has_relu:
                upstream = torch.ops.aten.threshold_backward(upstream, activations[index + 1], 0)
            if layer.bias_gradient is not None:
                torch.sum(upstream, dim=1, out=layer.bias_gradient)
            # with out= a part of a row, torch would multiply one matrix after the other
            layer.gradient.copy_(torch.bmm(upstream.mT, activations[index]))
            if index:
                upstream = torch.bmm(upstream, layer.matrix)


def _activations(layers: Sequence[BoundLayer], inputs: torch.Tensor) -> Tensors:
    """Return the input and the output of every layer, behind its ReLU."""
    activations = [inputs.flatten(2)]
    for layer in layers:
        if layer.bias is None:
            output = torch.bmm(activations[-1], layer.transposed)
        else:
            output = torch.baddbmm(layer.bias, activations[-1], layer.transposed)
        activations.append(output.relu_() if layer.has_relu else output)
    return activations
