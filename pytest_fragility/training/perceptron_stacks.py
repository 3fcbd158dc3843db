"""Forward and backward passes of a whole stack of networks at once, and of perceptrons."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import nn

from pytest_fragility.networks.attachments import plain_layers
from pytest_fragility.training.buffers import Carried
from pytest_fragility.training.gradients import Sink, Tensors


def cross_entropies_and_slopes(
    logits: torch.Tensor, labels: torch.Tensor, scale: torch.Tensor, label_smoothing: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return mean cross-entropies, and the gradients of the smoothed ones with respect to logits.

    Parameters
    ----------
    logits
        Shape (K, classes, samples): reductions over few classes are five times faster so.
    labels
        Shape (K, samples), int64.
    scale
        By what each network's gradients are multiplied, shape (K,).
    label_smoothing
        Share of the target that is spread evenly over all classes.

    Returns
    -------
    tuple
        Losses, shape (K,), without smoothing; gradients in the shape of the logits.
    """
    classes, samples = logits.shape[1:]
    chosen = labels.unsqueeze(1)
    logs = logits.log_softmax(dim=1)
    losses = logs.gather(1, chosen).sum(dim=(1, 2)).mul_(-1 / samples)
    share = scale.view(-1, 1, 1) / samples
    slopes = logs.exp_().mul_(share)
    of_chosen = share * (label_smoothing - 1)
    if slopes.is_cuda:
        # to scatter it, CUDA would sort first
        is_chosen = chosen == torch.arange(classes, device=labels.device).view(1, -1, 1)
        slopes.add_(is_chosen * of_chosen)
    else:
        slopes.scatter_add_(1, chosen, of_chosen.expand(chosen.shape))
    if label_smoothing:
        slopes.sub_(share * (label_smoothing / classes))
    return losses, slopes


Losses = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class StackedNetwork(Protocol):
    """K copies of one network, each with weights and inputs of its own.

    Weights are lists in the order of ``network.parameters()``, each of shape (K, *shape); without
    parameters that do not require a gradient, which are among what is carried.
    """

    def logits(self, weights: Tensors, carried: Carried, inputs: torch.Tensor) -> torch.Tensor:
        """Map inputs (K, batch, *input shape) to logits (K, batch, classes), in eval mode."""

    def bind(
        self, weights: Tensors, sinks: Sequence[Sink], scale: torch.Tensor, carried: Carried
    ) -> Losses:
        """Return what is called for each batch, for weights that are updated in place.

        Called as ``losses(inputs, labels)`` with inputs of shape (K, batch, *input shape) and
        labels of shape (K, batch), int64, it returns each network's mean cross-entropy, shape
        (K,), in training mode, and gives gradients, each network's times its `scale`, shape (K,),
        to the sinks; what is carried moves on by a step. Gradients are those of the cross-entropy
        with smoothed labels, where that is asked for.
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
    children = plain_layers(network)
    if children is None or not all(each.requires_grad for each in network.parameters()):
        return None
    layers: list[Layer] = []
    own: list[str] = []
    for place, (name, module) in enumerate(children.items()):
        if type(module) is nn.Linear:
            layers.append(Layer(module.bias is not None, has_relu=False))
            own += [f"{name}.{kind}" for kind in ("weight", "bias")[: 1 + layers[-1].has_bias]]
        elif type(module) is nn.ReLU and layers:
            layers[-1] = Layer(layers[-1].has_bias, has_relu=True)
        elif not (place == 0 and flattens_each_sample(module)):
            return None
    return layers if layers and has_no_tensors_but(network, own) else None


def has_no_tensors_but(network: nn.Module, parameters: list[str]) -> bool:
    """Return whether a network has these parameters, each once, and no buffer."""
    return [n for n, _ in network.named_parameters()] == parameters and not [*network.buffers()]


def flattens_each_sample(module: nn.Module) -> bool:
    """Return whether a module maps (samples, *shape) to (samples, values)."""
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
        return _activations(self._bound(weights), inputs)[-1]

    def bind(
        self, weights: Tensors, sinks: Sequence[Sink], scale: torch.Tensor, carried: Carried
    ) -> Losses:
        """See `StackedNetwork.bind`; nothing is carried."""
        return PerceptronLosses(self._bound(weights), sinks, scale, self._label_smoothing)

    def losses(self, weights: Tensors, gradients: Tensors) -> PerceptronLosses:
        """Return what gives each network's loss on a batch and writes its gradients."""
        sink = Sink(0, len(weights[0]), gradients, keep=0)
        scale = weights[0].new_ones(len(weights[0]))
        return PerceptronLosses(self._bound(weights), [sink], scale, self._label_smoothing)

    def _bound(self, weights: Tensors) -> list[BoundLayer]:
        bound = []
        place = 0
        for layer in self._layers:
            bias = weights[place + 1].unsqueeze(1) if layer.has_bias else None
            bound.append(BoundLayer(place, weights[place], weights[place].mT, bias, layer.has_relu))
            place += 1 + layer.has_bias
        return bound


@dataclass(frozen=True, slots=True)
class BoundLayer:
    """A linear layer's weights: views that are made once for many steps.

    Its matrix is the parameter at `place`, its bias the one behind.
    """

    place: int
    matrix: torch.Tensor
    transposed: torch.Tensor
    bias: torch.Tensor | None
    has_relu: bool

    @property
    def bias_column(self) -> torch.Tensor | None:
        """The bias for outputs with samples last."""
        return None if self.bias is None else self.bias.mT


class PerceptronLosses:
    """Forward and backward pass of a stack of perceptrons; see `StackedNetwork.bind`."""

    def __init__(
        self,
        layers: Sequence[BoundLayer],
        sinks: Sequence[Sink],
        scale: torch.Tensor,
        label_smoothing: float,
    ) -> None:
        self._layers = layers
        self._sinks = sinks
        self._scale = scale
        self._label_smoothing = label_smoothing
        # memory that every step writes to anew
        self._outputs: Tensors = []
        self._upstreams: Tensors = []

    def __call__(self, inputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return each network's loss and pass on its gradients."""
        inputs = inputs.flatten(2)
        if not self._outputs or self._outputs[0].shape[1] != inputs.shape[1]:
            self._allocate(inputs)
        activations = self._forward(inputs)
        losses, upstream = cross_entropies_and_slopes(
            activations[-1].mT, labels, self._scale, self._label_smoothing
        )
        self._backward(activations, upstream.mT)
        return losses

    def _allocate(self, inputs: torch.Tensor) -> None:
        networks, samples = inputs.shape[:2]
        *hidden, last = self._layers
        shapes = [(networks, samples, layer.matrix.shape[1]) for layer in hidden]
        self._outputs = [
            *(inputs.new_empty(shape) for shape in shapes),
            inputs.new_empty(networks, last.matrix.shape[1], samples).mT,
        ]
        self._upstreams = [inputs.new_empty(shape) for shape in shapes]

    def _forward(self, inputs: torch.Tensor) -> Tensors:
        """Return the input and the output of every layer, behind its ReLU."""
        activations = [inputs]
        last = len(self._layers) - 1
        for index, layer in enumerate(self._layers):
            output = self._outputs[index]
            if index == last:
                _product(layer.bias_column, layer.matrix, activations[-1].mT, output.mT)
            else:
                _product(layer.bias, activations[-1], layer.transposed, output)
            activations.append(output.relu_() if layer.has_relu else output)
        return activations

    def _backward(self, activations: Tensors, upstream: torch.Tensor) -> None:
        """Pass on the gradients, given the loss's gradient with respect to the last output."""
        for index in range(len(self._layers) - 1, -1, -1):
            layer = self._layers[index]
            if layer.has_relu:
                torch.ops.aten.threshold_backward.grad_input(
                    upstream, activations[index + 1], 0, grad_input=upstream
                )
            # before a sink may change the weights
            below = self._upstreams[index - 1] if index else None
            if below is not None:
                torch.bmm(upstream, layer.matrix, out=below)
            bias_gradient = None if layer.bias is None else upstream.sum(dim=1)
            for sink in self._sinks:
                if bias_gradient is not None:
                    sink.add(layer.place + 1, bias_gradient)
                sink.add_product(layer.place, upstream.mT, activations[index])
            if below is not None:
                upstream = below


def _product(
    bias: torch.Tensor | None, left: torch.Tensor, right: torch.Tensor, out: torch.Tensor
) -> None:
    if bias is None:
        torch.bmm(left, right, out=out)
    else:
        torch.baddbmm(bias, left, right, out=out)


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
