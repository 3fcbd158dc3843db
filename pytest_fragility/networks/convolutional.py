"""Plain convolutional networks."""

from __future__ import annotations

import math

import torch
from torch import nn

from pytest_fragility.networks.layers import as_image, convolution, device_of, image_layers, linear
from pytest_fragility.networks.perceptrons import linear_layers
from pytest_fragility.recipes import CNN, ResNet


def plain_convolutional(
    architecture: CNN, input_shape: tuple[int, ...], classes: int
) -> nn.Sequential:
    """Return convolutions with ReLU and pooling behind each, and linear layers."""
    image = as_image(architecture, input_shape)
    layers = image_layers(input_shape, image)
    width, *sides = image
    for channels in architecture.channels:
        layers += [convolution(width, channels, architecture.kernel_size), nn.ReLU()]
        width = channels
        if min(sides) >= 2:
            layers.append(nn.MaxPool2d(2))
            sides = [side // 2 for side in sides]
    widths = [width * sides[0] * sides[1], *architecture.hidden, classes]
    return nn.Sequential(*layers, nn.Flatten(), *linear_layers(widths))


GROUP = 4


class Block(nn.Module):
    """Two convolutions, added to their input.

    Where the image shrinks and widens, the shortcut is a 1 x 1 convolution of stride 2 with a
    normalization (option B of He et al. 2016).
    """

    def __init__(self, fan_in: int, width: int, normalization: str) -> None:
        super().__init__()
        stride = 1 if fan_in == width else 2
        bias = normalization == "none"
        self.first = convolution(fan_in, width, 3, stride=stride, bias=bias)
        self.first_normalization = _normalization(normalization, width)
        self.relu = nn.ReLU()
        self.second = convolution(width, width, 3, bias=bias)
        self.second_normalization = _normalization(normalization, width)
        self.shortcut: nn.Module = nn.Identity()
        if stride == 2:
            self.shortcut = nn.Sequential(
                convolution(fan_in, width, 1, stride=stride, bias=bias),
                _normalization(normalization, width),
            )
        self.last_relu = nn.ReLU()

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Map images (batch, fan_in, height, width) to images."""
        hidden = self.relu(self.first_normalization(self.first(inputs)))
        hidden = self.second_normalization(self.second(hidden))
        outputs: torch.Tensor = self.last_relu(hidden + self.shortcut(inputs))
        return outputs


def residual(architecture: ResNet, input_shape: tuple[int, ...], classes: int) -> nn.Sequential:
    """Return three stages of blocks."""
    image = as_image(architecture, input_shape)
    kind, width = architecture.normalization, architecture.width
    layers = [
        *image_layers(input_shape, image),
        convolution(image[0], width, 3, bias=kind == "none"),
        _normalization(kind, width),
        nn.ReLU(),
    ]
    fan_in = width
    for stage in range(3):
        for _ in range(architecture.blocks):
            layers.append(Block(fan_in, width * 2**stage, kind))
            fan_in = width * 2**stage
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), linear(fan_in, classes))


def _normalization(kind: str, channels: int) -> nn.Module:
    if kind == "none":
        return nn.Identity()
    device = device_of(2, channels)
    if kind == "batch":
        return nn.BatchNorm2d(channels, device=device, dtype=torch.float32)
    groups = channels // math.gcd(channels, GROUP) if kind == "group" else 1
    return nn.GroupNorm(groups, channels, device=device, dtype=torch.float32)
