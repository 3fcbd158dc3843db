"""The largest rise of the training loss within a ball around the trained weights."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from pytest_fragility.measures.common.batching import tensor_in_parts
from pytest_fragility.measures.common.parameter_vectors import random_like, unit
from pytest_fragility.measures.sharpness.loss_surface import LossSurface
from pytest_fragility.networks.stacks import NetworkStack

RADIUS = 0.05
ADAPTIVE_RADIUS = 0.5
# for each step of both ascents, and then of the higher one, how much the place where one is counts:
# where the gradient alone would lead across a kink for ever
INERTIAS = (0.0, 0.0, 0.0, 0.0, 1.0)
FURTHER_INERTIAS = (0.0, 1.0, 3.0)
# nats: of a smaller loss, float32 has lost too much of the gradient's direction
FLAT = 1e-4


def largest_rise(
    stack: NetworkStack, radius: float, scales_of: Callable[[torch.Tensor], torch.Tensor]
) -> torch.Tensor:
    """Return the largest rise of the loss over ``||e / scale|| <= radius``, shape (K,), float64.

    Ascent in the scaled coordinates, once from the ball's edge along the gradient (SAM's
    solution; a random direction where the gradient is zero) and once from the opposite edge: 5
    steps, each to the edge along the gradient of where one is, as the power method goes for a
    quadratic form (Journee et al. 2010, algorithm 1), and 3 more from where the higher of both
    stands; the last ones are damped. The largest rise seen counts, at least zero; ascents are in
    float32 but where the loss is tiny or more than that holds, and the rise at their highest place
    is in float64. `scales_of` maps weights of shape (K, P) to the scale of each coordinate.
    """
    return tensor_in_parts(stack, lambda part: _largest_rise(part, radius, scales_of))


def _largest_rise(
    stack: NetworkStack, radius: float, scales_of: Callable[[torch.Tensor], torch.Tensor]
) -> torch.Tensor:
    surface = LossSurface(stack)
    scales = scales_of(surface.weights)
    start, gradients = surface.own_losses_and_gradients()
    slopes = scales * gradients
    for place in (slopes.norm(dim=1) == 0).nonzero().flatten().tolist():
        slopes[place] = random_like(slopes[place], stack.generator(place, "ascent"))
    first = unit(slopes)
    single = LossSurface(stack, torch.float32)
    highest, height = _highest(single, radius, scales.float(), first.float())
    highest = highest.double()
    is_rough = (start < FLAT) | ~height.isfinite()
    if bool(is_rough.any()):
        exact, _ = _highest(surface, radius, scales, first)
        highest = exact.where(is_rough.unsqueeze(1), highest)
    weights = torch.addcmul(surface.weights, scales, unit(highest, radius))
    return (surface.losses(weights) - start).clamp(min=0)


def _highest(
    surface: LossSurface, radius: float, scales: torch.Tensor, first: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the highest place that both ascents come by, and the loss there.

    The place is in scaled coordinates, shape (K, P); a loss that is NaN is the highest.
    """
    one = _Ascent(surface, radius, scales, radius * first)
    other = _Ascent(surface, radius, scales, -radius * first)
    for ascent in (one, other):
        for inertia in INERTIAS:
            ascent.step(inertia)
    one.take_over(other)
    for inertia in FURTHER_INERTIAS:
        one.step(inertia)
    return one.highest, one.height


class _Ascent:
    """An ascent of K networks along the edge of a ball in scaled coordinates."""

    def __init__(
        self, surface: LossSurface, radius: float, scales: torch.Tensor, start: torch.Tensor
    ) -> None:
        self._surface = surface
        self._radius = radius
        self._scales = scales
        self.highest = start
        self.height = torch.full_like(start[:, 0], -math.inf)
        self._offsets, self._gradients = self._look(start)

    def step(self, inertia: float) -> None:
        """Step to the edge along the gradient, and `inertia` times along where one is."""
        direction = self._scales * self._gradients
        if inertia:
            direction = unit(direction).add_(self._offsets, alpha=inertia / self._radius)
        self._offsets, self._gradients = self._look(unit(direction, self._radius))

    def take_over(self, other: _Ascent) -> None:
        """Go on where the other one is, for each network for which that has seen a higher place."""
        is_higher = self._remember(other.highest, other.height).unsqueeze(1)
        self._offsets = other._offsets.where(is_higher, self._offsets)
        self._gradients = other._gradients.where(is_higher, self._gradients)

    def _look(self, offsets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the place and the gradient there."""
        weights = torch.addcmul(self._surface.weights, self._scales, offsets)
        losses, gradients = self._surface.losses_and_gradients(weights)
        self._remember(offsets, losses)
        return offsets, gradients

    def _remember(self, offsets: torch.Tensor, losses: torch.Tensor) -> torch.Tensor:
        """Remember the highest places; return which are, shape (K,)."""
        is_higher = (losses > self.height) | (losses.isnan() & ~self.height.isnan())
        self.highest = offsets.where(is_higher.unsqueeze(1), self.highest)
        self.height = losses.where(is_higher, self.height)
        return is_higher
