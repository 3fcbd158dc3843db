"""The largest rise of the training loss within a ball around the trained weights."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from pytest_fragility.measures.loss_surface import LossSurface
from pytest_fragility.measures.parts import in_parts
from pytest_fragility.network_stacks import NetworkStack

RADIUS = 0.05
ADAPTIVE_RADIUS = 0.5
STEPS = 10
# by how much more, with each step, the place where one is counts: else kinks are crossed for ever
INERTIA = 0.25
# nats: of a smaller loss, float32 has lost too much of the gradient's direction
FLAT = 1e-4


def largest_rise(
    stack: NetworkStack, radius: float, scales_of: Callable[[torch.Tensor], torch.Tensor]
) -> torch.Tensor:
    """Return the largest rise of the loss over ``||e / scale|| <= radius``, shape (K,), float64.

    Ascent in the scaled coordinates, once from the ball's edge along the gradient (SAM's
    solution; a random direction where the gradient is zero) and once from the opposite edge: 10
    steps, each to the edge along the gradient of where one is, as the power method goes for a
    quadratic form (Journee et al. 2010, algorithm 1), each damped more than the
    one before. The largest rise seen counts, at least zero; ascents are in float32 but where the
    loss is tiny, and the rise at their highest place is worked out in float64.

    Parameters
    ----------
    stack
        The networks.
    radius
        Of the ball in scaled coordinates.
    scales_of
        Maps weights of shape (K, P) to the scale of each coordinate.
    """
    return torch.stack(
        in_parts(stack, lambda part: _largest_rise(part, radius, scales_of).unbind())
    )


def _largest_rise(
    stack: NetworkStack, radius: float, scales_of: Callable[[torch.Tensor], torch.Tensor]
) -> torch.Tensor:
    surface = LossSurface(stack)
    scales = scales_of(surface.weights)
    start, gradients = surface.losses_and_gradients(surface.weights)
    slopes = scales * gradients
    generators = [stack.generator(place, "ascent") for place in range(len(stack))]
    fallback = torch.stack([_random_like(scales[0], generator) for generator in generators])
    first = _unit(slopes.where(slopes.norm(dim=1, keepdim=True) > 0, fallback))
    is_flat = start < FLAT
    rises = torch.zeros_like(start)
    for dtype, chosen in ((torch.float32, ~is_flat), (torch.float64, is_flat)):
        if not bool(chosen.any()):
            continue
        search = surface if dtype == surface.weights.dtype else LossSurface(stack, dtype)
        highest = _highest(search, radius, scales.to(dtype), first.to(dtype))
        offsets = radius * _unit(highest.double())
        risen = surface.losses(surface.weights + scales * offsets) - start
        rises = rises.where(~chosen, risen)
    return rises.clamp(min=0)


def _highest(
    surface: LossSurface, radius: float, scales: torch.Tensor, first: torch.Tensor
) -> torch.Tensor:
    """Return the highest place that both ascents come by, in scaled coordinates, shape (K, P)."""
    height = torch.full_like(first[:, 0], -math.inf)
    highest = first
    for edge in (radius * first, -radius * first):
        offsets = edge
        for step in range(STEPS + 1):
            losses, gradients = surface.losses_and_gradients(surface.weights + scales * offsets)
            highest = torch.where((losses > height).unsqueeze(1), offsets, highest)
            height = torch.maximum(height, losses)
            offsets = radius * _unit(_unit(scales * gradients) + step * INERTIA / radius * offsets)
    return highest


def _unit(rows: torch.Tensor) -> torch.Tensor:
    """Return rows of length one; those of zeros stay."""
    lengths = rows.norm(dim=1, keepdim=True)
    unit: torch.Tensor = rows / lengths.where(lengths > 0, 1.0)
    return unit


def _random_like(row: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return torch.randn(row.shape, generator=generator, dtype=row.dtype, device=row.device)
