"""Forward and backward passes of a whole stack of networks at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import nn
from torch.func import functional_call, vmap
from torch.nn import functional

Tensors = list[torch.Tensor]
Losses = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class StackedNetwork(Protocol):
    """K copies of one network, each with weights and inputs of its own.

    Weights are lists in the order of ``network.parameters()``, each of shape (K, *shape); without
    parameters that do not require a gradient, which all copies share.
    """

    def logits(self, weights: Tensors, inputs: torch.Tensor) -> torch.Tensor:
        """Map inputs of shape (K, batch, *input shape) to logits (K, batch, classes)."""

    def bind(self, weights: Tensors, gradients: Tensors) -> Losses:
        """Return what is called for each batch, for weights that are updated in place.

        Called as ``losses(inputs, labels)`` with inputs of shape (K, batch, *input shape) and
        labels of shape (K, batch), int64, it returns each network's mean cross-entropy, shape
        (K,), and writes to `gradients`, of the shapes of `weights`. These are the gradients of
        the cross-entropy with smoothed labels, where that is asked for.
        """


def stack_network(network: nn.Module, *, label_smoothing: float = 0.0) -> StackedNetwork:
    """Return the stacked form of `network`, which gives the structure; its weights are not used.

    A perceptron (linear layers with or without ReLU behind them) is written out in batched matrix
    products, backward pass included, at half the cost; anything else goes through
    `torch.func.vmap` and autograd.
    """
    layers = _perceptron_layers(network)
    if layers is None:
        return MappedNetwork(network, label_smoothing)
    return Perceptron(layers, label_smoothing)


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

    def logits(self, weights: Tensors, inputs: torch.Tensor) -> torch.Tensor:
        """See `StackedNetwork.logits`."""
        return _activations(self._bound(weights, weights), inputs)[-1]

    def bind(self, weights: Tensors, gradients: Tensors) -> Losses:
        """See `StackedNetwork.bind`."""
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


class MappedNetwork:
    """A stack of networks of any structure that `torch.func.vmap` takes.

    Parameters
    ----------
    network
        Gives the structure.
    label_smoothing
        Share of the target that is spread evenly over all classes.
    """

    def __init__(self, network: nn.Module, label_smoothing: float = 0.0) -> None:
        self._names = [name for name, each in network.named_parameters() if each.requires_grad]
        self._label_smoothing = label_smoothing

        def forward_one(weights: dict[str, torch.Tensor], inputs: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = functional_call(network, weights, (inputs,))
            return logits

        self._forward: Callable[..., torch.Tensor] = vmap(forward_one)

    def logits(self, weights: Tensors, inputs: torch.Tensor) -> torch.Tensor:
        """See `StackedNetwork.logits`."""
        return self._forward(dict(zip(self._names, weights, strict=True)), inputs)

    def bind(self, weights: Tensors, gradients: Tensors) -> Losses:
        """See `StackedNetwork.bind`."""
        leaves = [weight.detach().requires_grad_() for weight in weights]

        def losses(inputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
            with torch.enable_grad():
                logs = functional.log_softmax(self.logits(leaves, inputs), dim=2)
                found = -logs.gather(2, labels.unsqueeze(2)).mean(dim=(1, 2))
                smoothing = self._label_smoothing
                objective = (1 - smoothing) * found - smoothing * logs.mean(dim=(1, 2))
                slopes = torch.autograd.grad(objective.sum(), leaves)
            for gradient, value in zip(gradients, slopes, strict=True):
                gradient.copy_(value)
            return found.detach()

        return losses
