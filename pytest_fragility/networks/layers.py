"""Layers whose weights are drawn later: torch's own draw would move its global generator."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, TypeVar

import torch
from torch import nn

from pytest_fragility.errors import SettingsError
from pytest_fragility.recipes import Architecture

L = TypeVar("L", bound=nn.Module)
LARGEST_NETWORK = 10**9
# how many weights a network has so far that is built to be counted, without memory
_count: ContextVar[int | None] = ContextVar("count", default=None)


def weights_of(build: Callable[[], nn.Module]) -> int:
    """Return how many weights a network would have, before any memory is asked for.

    Parameters
    ----------
    build
        Makes it of the layers below.

    Raises
    ------
    SettingsError
        If it would be too large; what is built may be what a file names.
    """
    token = _count.set(0)
    try:
        build()
        return _count.get() or 0
    finally:
        _count.reset(token)


def device_of(*sizes: int) -> str:
    """Return where weights of these sizes are made; they are counted where that is asked for."""
    count = _count.get()
    if count is None:
        return "cpu"
    count += math.prod(sizes)
    if count > LARGEST_NETWORK:
        raise SettingsError(
            f"a layer of {' x '.join(map(str, sizes))} weights: expected at most "
            f"{LARGEST_NETWORK:,} of them in a network, which take 4 GB; choose a smaller "
            "architecture"
        )
    _count.set(count)
    return "meta"


def linear(fan_in: int, fan_out: int, *, bias: bool = True) -> nn.Linear:
    """Return a linear layer, its parameters zero."""
    return _undrawn(nn.Linear, fan_in, fan_out, bias=bias)


def convolution(
    fan_in: int, fan_out: int, kernel_size: int, *, stride: int = 1, bias: bool = True
) -> nn.Conv2d:
    """Return a convolution of odd kernel that keeps an image's size, but for its stride."""
    return _undrawn(
        nn.Conv2d, fan_in, fan_out, kernel_size, stride=stride, padding=kernel_size // 2, bias=bias
    )


def _undrawn(kind: Callable[..., L], *sizes: int, **settings: Any) -> L:
    # a kernel has two sides
    device = device_of(*sizes, *sizes[2:])
    # on the meta device nothing is drawn; torch's own way from there to the CPU imports SymPy
    layer = kind(*sizes, **settings, device="meta", dtype=torch.float32)
    for name, parameter in list(layer.named_parameters()):
        layer.register_parameter(
            name, nn.Parameter(torch.zeros(parameter.shape, dtype=parameter.dtype, device=device))
        )
    return layer


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
