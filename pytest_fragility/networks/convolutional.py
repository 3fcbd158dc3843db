"""Plain convolutional networks."""

from __future__ import annotations

from torch import nn

from pytest_fragility.networks.images import as_image, image_layers
from pytest_fragility.networks.layers import convolution
from pytest_fragility.networks.perceptrons import linear_layers
from pytest_fragility.recipes import CNN


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
