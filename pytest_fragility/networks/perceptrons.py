"""Multilayer perceptrons."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch.nn import Parameter, Sequential

from pytest_fragility._util.seeds import derive_seed
from pytest_fragility.networks.layers import linear
from pytest_fragility.recipes import MLP, ScaleInvariantMLP


def perceptron(architecture: MLP, input_shape: tuple[int, ...], classes: int) -> Sequential:
    """Return linear layers with ReLU between them."""
    widths = [math.prod(input_shape), *architecture.hidden, classes]
    return Sequential(torch.nn.Flatten(), *linear_layers(widths))


def linear_layers(widths: list[int]) -> list[torch.nn.Module]:
    """Return linear layers between these widths, with ReLU between them."""
    layers: list[torch.nn.Module] = []
    for fan_in, fan_out in pairwise(widths):
        layers += [linear(fan_in, fan_out), torch.nn.ReLU()]
    return layers[:-1]


def scale_invariant_perceptron(
    architecture: ScaleInvariantMLP, input_shape: tuple[int, ...], classes: int
) -> Sequential:
    """Return linear layers with normalizations behind them, and a classifier that is fixed."""
    widths = [math.prod(input_shape), *architecture.hidden, classes]
    layers: list[torch.nn.Module] = []
    for fan_in, fan_out in pairwise(widths[:-1]):
        normalization = torch.nn.LayerNorm(
            fan_out, eps=0.0, elementwise_affine=False, device="cpu", dtype=torch.float32
        )
        layers += [linear(fan_in, fan_out, bias=False), normalization, torch.nn.ReLU()]
    classifier = linear(widths[-2], widths[-1], bias=False)
    if not classifier.weight.is_meta:
        fixed = _fixed_classifier(widths[-1], widths[-2])
        classifier.weight = Parameter(fixed, requires_grad=False)
    return Sequential(torch.nn.Flatten(), *layers, classifier)


def _fixed_classifier(classes: int, width: int) -> torch.Tensor:
    """Return a matrix with orthonormal rows or columns, the same for all seeds."""
    generator = torch.Generator(device="cpu")
    generator.manual_seed(derive_seed("fixed classifier", classes, width))
    weight = torch.empty(classes, width, dtype=torch.float32, device="cpu")
    torch.nn.init.orthogonal_(weight, generator=generator)
    return weight
