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
    loss is tiny or more than that holds, and the rise at their highest place is in float64.

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
    single = LossSurface(stack, torch.float32)
    highest, height = _highest(single, radius, scales.float(), first.float())
    highest = highest.double()
    is_rough = (start < FLAT) | ~height.isfinite()
    if bool(is_rough.any()):
        exact, _ = _highest(surface, radius, scales, first)
        highest = exact.where(is_rough.unsqueeze(1), highest)
    offsets = radius * _unit(highest)
    return (surface.losses(surface.weights + scales * offsets) - start).clamp(min=0)


def _highest(
    surface: LossSurface, radius: float, scales: torch.Tensor, first: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the highest place that both ascents come by, and the loss there.

    The place is in scaled coordinates, shape (K, P); a loss that is NaN is the highest.
    """
    height = torch.full_like(first[:, 0], -math.inf)
    highest = first
    for edge in (radius * first, -radius * first):
        offsets = edge
        for step in range(STEPS + 1):
            losses, gradients = surface.losses_and_gradients(surface.weights + scales * offsets)
            is_higher = (losses > height) | (losses.isnan() & ~height.isnan())
            highest = offsets.where(is_higher.unsqueeze(1), highest)
            height = losses.where(is_higher, height)
            offsets = radius * _unit(_unit(scales * gradients) + step * INERTIA / radius * offsets)
    return highest, height


def _unit(rows: torch.Tensor) -> torch.Tensor:
    """Return rows of length one; those of zeros stay."""
    lengths = rows.norm(dim=1, keepdim=True)
    unit: torch.Tensor = rows / lengths.where(lengths > 0, 1.0)
    return unit


def _random_like(row: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return torch.randn(row.shape, generator=generator, dtype=row.dtype, device=row.device)
