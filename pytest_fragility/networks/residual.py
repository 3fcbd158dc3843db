"""Residual networks."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

from pytest_fragility.networks.images import as_image, image_layers
from pytest_fragility.networks.layers import convolution, linear
from pytest_fragility.recipes import ResNet

GROUP = 4


class Block(nn.Module):
    """Two convolutions, added to their input.

    Where the image shrinks and widens, the shortcut takes every second pixel and pads with
    channels of zeros (option A of He et al. 2016).
    """

    def __init__(self, fan_in: int, width: int, normalization: str) -> None:
        super().__init__()
        self.stride = 1 if fan_in == width else 2
        self.padding = width - fan_in
        has_bias = normalization == "none"
        self.first = convolution(fan_in, width, 3, stride=self.stride, bias=has_bias)
        self.first_normalization = _normalization(normalization, width)
        self.second = convolution(width, width, 3, bias=has_bias)
        self.second_normalization = _normalization(normalization, width)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Map images (batch, fan_in, height, width) to images."""
        hidden = functional.relu(self.first_normalization(self.first(inputs)))
        hidden = self.second_normalization(self.second(hidden))
        shortcut = inputs
        if self.padding:
            shortcut = inputs[:, :, :: self.stride, :: self.stride]
            shortcut = functional.pad(shortcut, (0, 0, 0, 0, 0, self.padding))
        return functional.relu(hidden + shortcut)


class MeanOverImage(nn.Module):
    """The mean of each channel."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map (batch, channels, height, width) to (batch, channels)."""
        return images.mean(dim=(2, 3))


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
    return nn.Sequential(*layers, MeanOverImage(), linear(fan_in, classes))


def _normalization(kind: str, channels: int) -> nn.Module:
    if kind == "batch":
        return nn.BatchNorm2d(channels, device="cpu", dtype=torch.float32)
    if kind == "none":
        return nn.Identity()
    groups = channels // math.gcd(channels, GROUP) if kind == "group" else 1
    return nn.GroupNorm(groups, channels, device="cpu", dtype=torch.float32)
