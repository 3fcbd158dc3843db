"""Stacks of plain convolutional networks, written out in batched matrix products.

Samples stand last in every tensor, where rows are long: a patch is copied a whole batch at a time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from torch import nn

from pytest_fragility.networks.attachments import plain_layers
from pytest_fragility.training.buffers import Carried
from pytest_fragility.training.gradients import Sink, Tensors
from pytest_fragility.training.perceptron_stacks import (
    Losses,
    cross_entropies_and_slopes,
    flattens_each_sample,
    has_no_tensors_but,
)

# of a network's samples that are evaluated together
EVALUATED = 16


@dataclass(frozen=True)
class Convolution:
    """A convolution that keeps the image's size, a ReLU and, with `pools`, a max-pooling by 2."""

    kernel: int
    pools: bool


@dataclass(frozen=True)
class Structure:
    """Convolutions of an image, and how many linear layers with ReLU between them follow.

    Inputs of another shape are images all the same, such as flat ones.
    """

    image: tuple[int, ...]
    convolutions: Sequence[Convolution]
    linear_layers: int


def convolutional_structure(network: nn.Module, input_shape: tuple[int, ...]) -> Structure | None:
    """Return the structure of a plain convolutional network, or None for anything else.

    Its layers are convolutions, each with a ReLU and perhaps a pooling by 2 of an image with even
    sides, a flattening, and linear layers with ReLU between them; all with bias and trained. In
    front there may be what gives inputs the shape of an image.
    """
    children = plain_layers(network)
    if children is None or not all(each.requires_grad for each in network.parameters()):
        return None
    modules = list(children.values())
    image = tuple(input_shape)
    if modules and type(modules[0]) is nn.Unflatten and modules[0].dim == 1:
        inner: Any = modules.pop(0)
        image = (*inner.unflattened_size, *input_shape[1:])
    if len(image) != 3 or not all(isinstance(side, int) and side > 0 for side in image):
        return None
    sides = list(image[1:])
    convolutions: list[Convolution] = []
    while len(modules) >= 2 and _keeps_size(modules[0]) and type(modules[1]) is nn.ReLU:
        pools = len(modules) > 2 and _halves(modules[2])
        if pools and any(side % 2 for side in sides):
            return None
        sides = [side // 2 for side in sides] if pools else sides
        assert isinstance(modules[0], nn.Conv2d)
        convolutions.append(Convolution(modules[0].kernel_size[0], pools))
        modules = modules[3 if pools else 2 :]
    if not convolutions or not modules or not flattens_each_sample(modules[0]):
        return None
    kinds = [type(module) for module in modules[1:]]
    linear = kinds[::2]
    if not kinds or kinds[-1] is not nn.Linear or kinds[1::2] != [nn.ReLU] * (len(linear) - 1):
        return None
    if any(kind is not nn.Linear for kind in linear):
        return None
    biased = [name for name, each in children.items() if type(each) in (nn.Linear, nn.Conv2d)]
    own = [f"{name}.{kind}" for name in biased for kind in ("weight", "bias")]
    if not has_no_tensors_but(network, own):
        return None
    return Structure(image, convolutions, len(linear))


def _keeps_size(module: nn.Module) -> bool:
    if type(module) is not nn.Conv2d or module.bias is None or module.padding_mode != "zeros":
        return False
    kernel = module.kernel_size
    plain = (module.stride, module.dilation, module.groups) == ((1, 1), (1, 1), 1)
    plain = plain and kernel[0] == kernel[1] and kernel[0] % 2 == 1
    return plain and module.padding == (kernel[0] // 2, kernel[0] // 2)


def _halves(module: nn.Module) -> bool:
    if type(module) is not nn.MaxPool2d or module.ceil_mode or module.return_indices:
        return False
    settings = (module.kernel_size, module.stride, module.padding, module.dilation)
    return settings == (2, 2, 0, 1)


class ConvolutionalNetwork:
    """A stack of plain convolutional networks with the backward pass written out.

    Parameters
    ----------
    structure
        The layers.
    label_smoothing
        Share of the target that is spread evenly over all classes.
    """

    def __init__(self, structure: Structure, label_smoothing: float = 0.0) -> None:
        self._structure = structure
        self._label_smoothing = label_smoothing

    def logits(self, weights: Tensors, carried: Carried, inputs: torch.Tensor) -> torch.Tensor:
        """See `StackedNetwork.logits`; nothing is carried."""
        passes: dict[int, _Pass] = {}
        logits = []
        for part in torch.split(self._images(inputs), EVALUATED, dim=1):
            samples = part.shape[1]
            if samples not in passes:
                passes[samples] = _Pass(self._structure, weights, part)
            logits.append(passes[samples].forward(part).mT)
        return torch.cat(logits, dim=1)

    def bind(
        self, weights: Tensors, sinks: Sequence[Sink], scale: torch.Tensor, carried: Carried
    ) -> Losses:
        """See `StackedNetwork.bind`; nothing is carried."""
        passes: list[_Pass] = []

        def losses(inputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
            images = self._images(inputs)
            if not passes:
                passes.append(_Pass(self._structure, weights, images))
            logits = passes[0].forward(images)
            found, upstream = cross_entropies_and_slopes(
                logits, labels, scale, self._label_smoothing
            )
            passes[0].backward(upstream, sinks)
            return found

        return losses

    def _images(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs.reshape(*inputs.shape[:2], *self._structure.image)


class _Pass:
    """Forward and backward pass for one shape of inputs, in memory that each step writes anew."""

    def __init__(self, structure: Structure, weights: Tensors, inputs: torch.Tensor) -> None:
        networks, samples, channels, *sides = inputs.shape
        self._layers: list[_ConvolutionPass] = []
        for index, convolution in enumerate(structure.convolutions):
            matrix, bias = weights[2 * index : 2 * index + 2]
            shape = (networks, channels, *sides, samples)
            self._layers.append(
                _ConvolutionPass(convolution, matrix, bias, inputs.new_empty(0), shape, 2 * index)
            )
            channels = matrix.shape[1]
            sides = [side // 2 for side in sides] if convolution.pools else sides
        begin = 2 * len(structure.convolutions)
        self._linear = [
            (place, weights[place], weights[place + 1].unsqueeze(2))
            for place in range(begin, begin + 2 * structure.linear_layers, 2)
        ]
        self._kept: Tensors = []

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return logits, shape (K, classes, samples)."""
        values = inputs.permute(0, 2, 3, 4, 1)
        for layer in self._layers:
            values = layer.forward(values)
        self._kept = [values.flatten(1, 3)]
        for place, matrix, bias in self._linear:
            output = torch.baddbmm(bias, matrix, self._kept[-1])
            is_last = place == self._linear[-1][0]
            self._kept.append(output if is_last else output.relu_())
        return self._kept[-1]

    def backward(self, upstream: torch.Tensor, sinks: Sequence[Sink]) -> None:
        """Pass on the gradients, given the loss's with respect to the logits."""
        for index in range(len(self._linear) - 1, -1, -1):
            place, matrix, _ = self._linear[index]
            below = torch.bmm(matrix.mT, upstream)
            _give(sinks, place, upstream, self._kept[index].mT)
            upstream = _behind_relu(below, self._kept[index])
        for layer in reversed(self._layers):
            upstream = layer.backward(upstream, sinks)


def _give(sinks: Sequence[Sink], place: int, upstream: torch.Tensor, below: torch.Tensor) -> None:
    bias_gradient = upstream.sum(dim=2)
    for sink in sinks:
        sink.add(place + 1, bias_gradient)
        sink.add_product(place, upstream, below)


def _behind_relu(upstream: torch.Tensor, activation: torch.Tensor) -> torch.Tensor:
    torch.ops.aten.threshold_backward.grad_input(upstream, activation, 0, grad_input=upstream)
    return upstream


class _ConvolutionPass:
    """One convolution as a product with patches."""

    def __init__(
        self,
        convolution: Convolution,
        matrix: torch.Tensor,
        bias: torch.Tensor,
        like: torch.Tensor,
        shape: tuple[int, ...],
        place: int,
    ) -> None:
        networks, channels, height, width, samples = shape
        kernel, self._margin = convolution.kernel, convolution.kernel // 2
        self._convolution, self._place, self._shape = convolution, place, shape
        self._matrix, self._bias = matrix.flatten(2), bias.unsqueeze(2)
        sides = (height + 2 * self._margin, width + 2 * self._margin)
        self._padded = like.new_zeros(networks, channels, *sides, samples)
        self._interior = _interior(self._padded, self._margin)
        whole, plane, row, column, _ = self._padded.stride()
        self._windows = self._padded.as_strided(
            (networks, channels, kernel, kernel, height, width, samples),
            (whole, plane, row, column, row, column, 1),
        )
        self._patches = like.new_empty(networks, channels * kernel**2, height * width * samples)
        outputs = (networks, matrix.shape[1], height * width * samples)
        self._outputs, self._upstream = like.new_empty(outputs), like.new_empty(outputs)
        self._pooling = _Pooling(like, outputs, shape, is_first=place == 0)
        if place:
            self._below = torch.empty_like(self._patches)
            self._total = torch.empty_like(self._padded)
        if convolution.pools and not place:
            # nothing is added up behind the first layer: patches may stand as pooling likes them
            self._windows = blocks(self._windows, 4)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Map (K, channels, height, width, samples) to the same for the next layer."""
        self._interior.copy_(values)
        self._patches.view(self._windows.shape).copy_(self._windows)
        torch.baddbmm(self._bias, self._matrix, self._patches, out=self._outputs)
        if self._convolution.pools:
            return self._pooling.forward(self._outputs).relu_()
        networks, _, height, width, samples = self._shape
        return self._outputs.relu_().view(networks, -1, height, width, samples)

    def backward(self, upstream: torch.Tensor, sinks: Sequence[Sink]) -> torch.Tensor:
        """Return the gradient with respect to the layer below's output; the first has none."""
        if self._convolution.pools:
            self._pooling.backward(upstream, self._upstream)
            upstream = self._upstream
        upstream = upstream.reshape(self._outputs.shape)
        if self._place:
            torch.bmm(self._matrix.mT, upstream, out=self._below)
        _give(sinks, self._place, upstream, self._patches.mT)
        return self._add_up() if self._place else upstream

    def _add_up(self) -> torch.Tensor:
        """Add up the gradients of patches where these overlap."""
        _, _, height, width, _ = self._shape
        self._total.zero_()
        parts = self._below.view(self._windows.shape)
        for i, j in product(range(self._convolution.kernel), repeat=2):
            self._total[:, :, i : i + height, j : j + width].add_(parts[:, :, i, j])
        found = _interior(self._total, self._margin).contiguous()
        return _behind_relu(found, self._interior.contiguous())


def blocks(images: torch.Tensor, place: int) -> torch.Tensor:
    """Return a view with axes height and width, from `place` on, as (2, 2, height/2, width/2)."""
    shape = list(images.shape)
    height, width = shape[place : place + 2]
    shape[place : place + 2] = [height // 2, 2, width // 2, 2]
    halved = images.view(shape)
    axes = list(range(halved.dim()))
    axes[place : place + 4] = [place + 1, place + 3, place, place + 2]
    return halved.permute(axes)


class _Pooling:
    """Max-pooling by 2, over four planes that hold what stands at each of the four places."""

    def __init__(
        self,
        like: torch.Tensor,
        outputs: tuple[int, int, int],
        shape: tuple[int, ...],
        *,
        is_first: bool,
    ) -> None:
        networks, _, height, width, samples = shape
        self._is_first = is_first
        self._images = (networks, outputs[1], height, width, samples)
        self._pooled = (networks, outputs[1], height // 2, width // 2, samples)
        self._planes = like.new_empty(networks, outputs[1], 4, outputs[2] // 4)
        self._upstream = torch.empty_like(self._planes)
        self._activation = like.new_empty(networks, outputs[1], outputs[2] // 4)
        self._distance = torch.empty_like(self._activation)

    def forward(self, outputs: torch.Tensor) -> torch.Tensor:
        """Return the largest of each two by two."""
        if self._is_first:
            self._planes = outputs.view(self._planes.shape)
        else:
            images = blocks(outputs.view(self._images), 2)
            self._planes.view(images.shape).copy_(images)
        torch.amax(self._planes, dim=2, out=self._activation)
        return self._activation.view(self._pooled)

    def backward(self, upstream: torch.Tensor, into: torch.Tensor) -> None:
        """Give each gradient to the first of the largest, as torch's pooling does."""
        upstream = upstream.reshape(self._activation.shape)
        closest = -torch.finfo(upstream.dtype).tiny
        planes = into.view(self._planes.shape) if self._is_first else self._upstream
        for index in range(4):
            # where a ReLU has made the activation zero, so is the gradient
            torch.sub(self._planes[:, :, index], self._activation, out=self._distance)
            torch.ops.aten.threshold_backward.grad_input(
                upstream, self._distance, closest, grad_input=planes[:, :, index]
            )
            if index < 3:
                upstream.sub_(planes[:, :, index])
        if not self._is_first:
            images = blocks(into.view(self._images), 2)
            images.copy_(planes.view(images.shape))


def _interior(padded: torch.Tensor, margin: int) -> torch.Tensor:
    if not margin:
        return padded
    return padded[:, :, margin:-margin, margin:-margin]


def convolutional_bytes(structure: Structure, network: nn.Module) -> int:
    """Return what a network keeps of each sample: patches and their gradients, and outputs."""
    layers = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    sides, values = list(structure.image[1:]), 0
    for layer, convolution in zip(layers, structure.convolutions, strict=True):
        patch = layer.in_channels * convolution.kernel**2
        values += math.prod(sides) * (2 * patch + 2 * layer.out_channels)
        sides = [side // 2 for side in sides] if convolution.pools else sides
    return 2 * values * next(network.parameters()).element_size()
