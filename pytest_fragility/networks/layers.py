"""Layers whose weights are drawn later: torch's own draw would move its global generator."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from pytest_fragility.errors import SettingsError

LARGEST_LAYER = 10**9


def linear(fan_in: int, fan_out: int, *, bias: bool = True) -> nn.Linear:
    """Return a linear layer, its parameters zero."""
    layer = _undrawn(nn.Linear, fan_in, fan_out, bias=bias)
    assert isinstance(layer, nn.Linear)
    return layer


def convolution(
    fan_in: int, fan_out: int, kernel_size: int, *, stride: int = 1, bias: bool = True
) -> nn.Conv2d:
    """Return a convolution of odd kernel that keeps an image's size, but for its stride."""
    layer = _undrawn(
        nn.Conv2d, fan_in, fan_out, kernel_size, stride=stride, padding=kernel_size // 2, bias=bias
    )
    assert isinstance(layer, nn.Conv2d)
    return layer


def _undrawn(kind: Any, *sizes: int, **settings: Any) -> nn.Module:
    if math.prod(sizes) > LARGEST_LAYER:
        raise SettingsError(
            f"a layer of {' x '.join(map(str, sizes))} weights: expected at most "
            f"{LARGEST_LAYER:,} of them, which take 4 GB; choose a smaller architecture"
        )
    # on the meta device nothing is drawn; torch's own way from there to the CPU imports SymPy
    layer: nn.Module = kind(*sizes, **settings, device="meta", dtype=torch.float32)
    for name, parameter in list(layer.named_parameters()):
        layer.register_parameter(
            name, nn.Parameter(torch.zeros(parameter.shape, dtype=parameter.dtype))
        )
    return layer
