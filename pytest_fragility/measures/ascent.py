"""The largest rise of the training loss within a ball around the trained weights."""

from __future__ import annotations

from collections.abc import Callable

import torch

from pytest_fragility.measures.loss_surface import LossSurface
from pytest_fragility.network_stacks import NetworkStack

RADIUS = 0.05
ADAPTIVE_RADIUS = 0.5
STEPS = 20
STEP = 0.25


def largest_rise(
    stack: NetworkStack, radius: float, scales_of: Callable[[torch.Tensor], torch.Tensor]
) -> torch.Tensor:
    """Return the largest rise of the loss over ``||e / scale|| <= radius``, shape (K,), float64.

    Ascent in the scaled coordinates: the first step goes to the ball's edge along the gradient
    (SAM's solution), 20 more go a quarter of the radius along it and back into the ball; the
    largest rise seen counts, at least zero.

    Parameters
    ----------
    stack
        The networks.
    radius
        Of the ball in scaled coordinates.
    scales_of
        Maps weights of shape (K, P) to the scale of each coordinate.
    """
    surface = LossSurface(stack)
    scales = scales_of(surface.weights)
    with torch.no_grad():
        start = surface.losses(surface.weights)
    offsets = torch.zeros_like(scales)
    best = torch.zeros_like(start)
    for step in range(STEPS + 1):
        slopes = scales * surface.gradients(surface.weights + scales * offsets)
        norms = slopes.norm(dim=1, keepdim=True)
        direction = slopes / norms.where(norms > 0, 1.0)
        offsets = offsets + radius * (STEP if step else 1.0) * direction
        lengths = offsets.norm(dim=1, keepdim=True)
        offsets = offsets * (radius / lengths.clamp_min(radius))
        with torch.no_grad():
            rise = surface.losses(surface.weights + scales * offsets) - start
        best = torch.maximum(best, rise)
    return best
