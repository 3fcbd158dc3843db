"""Inputs that are taken for images."""

from __future__ import annotations

import math

from torch import nn

from pytest_fragility.errors import SettingsError
from pytest_fragility.recipes import Architecture

Image = tuple[int, int, int]


def as_image(architecture: Architecture, input_shape: tuple[int, ...]) -> Image:
    """Return channels, height and width of inputs of some shape.

    Raises
    ------
    SettingsError
        If they are no images.
    """
    if len(input_shape) == 3:
        return input_shape[0], input_shape[1], input_shape[2]
    if len(input_shape) == 2:
        return 1, input_shape[0], input_shape[1]
    side = math.isqrt(math.prod(input_shape))
    if len(input_shape) == 1 and side * side == input_shape[0]:
        return 1, side, side
    raise SettingsError(
        f"architecture {architecture}: inputs of shape {input_shape} are no images; expected "
        "(channels, height, width), (height, width) or a square number of pixels"
    )


def image_layers(input_shape: tuple[int, ...], image: Image) -> list[nn.Module]:
    """Return the layer that gives inputs the shape of an image, where they have another."""
    if input_shape == image:
        return []
    if len(input_shape) == 2:
        return [nn.Unflatten(1, (1, input_shape[0]))]
    return [nn.Unflatten(1, image)]
