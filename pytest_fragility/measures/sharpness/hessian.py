"""Curvature of the training loss: the Hessian's largest eigenvalue and its trace."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from pytest_fragility.errors import UndefinedMeasureError
from pytest_fragility.measures.common.batching import in_parts, tensor_in_parts
from pytest_fragility.measures.common.parameter_vectors import random_like, unit
from pytest_fragility.measures.sharpness.loss_surface import HessianProducts, LossSurface
from pytest_fragility.networks.stacks import NetworkStack

if TYPE_CHECKING:
    from pytest_fragility.networks.trained_network import TrainedNetwork


STEPS = 200
TOLERANCE = 1e-7
PROBES = 50
# multiple of rounding below which nothing is left of a product but the vectors known
REST = 50.0


@dataclass(frozen=True)
class TraceEstimate:
    """A Hessian's trace as Hutchinson's method estimates it.

    Parameters
    ----------
    trace
        The mean over the probes.
    standard_error
        Its standard error.
    probes
        Number of random vectors.
    """

    trace: float
    standard_error: float
    probes: int


def hessian_trace_estimate(network: TrainedNetwork, *, probes: int = PROBES) -> TraceEstimate:
    """Estimate the trace of the Hessian of the training loss, with its error.

    Hutchinson 1990: the mean of ``v^T H v`` over vectors v of random signs.

    Parameters
    ----------
    network
        A trained network.
    probes
        Number of random vectors, at least 2.
    """
    samples = trace_samples(NetworkStack.of_network(network), probes)[0]
    error = float(samples.std()) / math.sqrt(probes)
    return TraceEstimate(float(samples.mean()), error, probes)


def traces(stack: NetworkStack) -> torch.Tensor:
    """Return the trace of each network's Hessian, shape (K,), float64.

    Exact for ReLU perceptrons; of others, the mean over 50 probes.
    """
    return tensor_in_parts(stack, _traces)


def _traces(stack: NetworkStack) -> torch.Tensor:
    exact = LossSurface(stack).traces()
    return _trace_samples(stack, PROBES).mean(dim=1) if exact is None else exact


def trace_samples(stack: NetworkStack, probes: int) -> torch.Tensor:
    """Return ``v^T H v`` for random signs v, shape (K, probes), float64."""
    return tensor_in_parts(stack, lambda part: _trace_samples(part, probes))


def _trace_samples(stack: NetworkStack, probes: int) -> torch.Tensor:
    surface = LossSurface(stack)
    shape = (probes, surface.weights.shape[1])
    signs = torch.stack(
        [_signs(shape, stack.generator(place, "Hessian trace")) for place in range(len(stack))]
    )
    return surface.curvatures(signs)


def _signs(shape: tuple[int, int], generator: torch.Generator) -> torch.Tensor:
    bits = torch.randint(
        2, shape, generator=generator, device=generator.device, dtype=torch.float64
    )
    return bits.mul_(2).sub_(1)


def largest_eigenvalues(stack: NetworkStack) -> torch.Tensor:
    """Return the algebraically largest eigenvalue of each network's Hessian, shape (K,), float64.

    Lanczos iteration with full reorthogonalization, of all networks together, each until the error
    of its Ritz value is below 1e-7 of the eigenvalue of largest magnitude. The error is at most the
    residual, and its square over the gap to the next eigenvalue (Parlett 1998, section 11.7), in
    place of which stands the next Ritz value less the residual. Of ReLU perceptrons the iteration
    is in float32: what that adds to the Ritz vector's error, the curvature along it, in float64,
    has squared.

    Raises
    ------
    UndefinedMeasureError
        If 200 steps do not get there.
    """
    return torch.stack(in_parts(stack, _largest_eigenvalues))


def _largest_eigenvalues(stack: NetworkStack) -> list[torch.Tensor]:
    surface = LossSurface(stack)
    size = surface.weights.shape[1]
    start = _starts(stack, surface)
    rough_products = surface.rough_hessian_products()
    if rough_products is not None:
        rough = _lanczos(rough_products, start.float())
        if all(pair.is_found for pair in rough):
            vectors = torch.stack([pair.vector for pair in rough]).double()
            along = surface.curvatures(vectors.unsqueeze(1)).squeeze(1)
            return list((along / vectors.square().sum(dim=1)).unbind())
    pairs = _lanczos(surface.hessian_products, start)
    for place, pair in enumerate(pairs):
        if not pair.is_found:
            raise UndefinedMeasureError(
                f"the Hessian's largest eigenvalue was not found in {min(STEPS, size)} Lanczos "
                f"steps: it is near {float(pair.value):.4g}, with a residual of "
                f"{float(pair.residual):.2g}",
                place,
            )
    return [pair.value for pair in pairs]


@dataclass(frozen=True)
class _RitzPair:
    """An approximation of the largest eigenvalue and its eigenvector of length one, shape (P,)."""

    value: torch.Tensor
    vector: torch.Tensor
    residual: torch.Tensor
    is_found: bool


def _lanczos(products: HessianProducts, start: torch.Tensor) -> list[_RitzPair]:
    """Return the largest Ritz pair of each network, from start vectors of shape (K, P).

    None is found where a product overflows, as one in float32 may.
    """
    networks, size = start.shape
    limit = min(STEPS, size)
    least = REST * torch.finfo(start.dtype).eps
    # once is not enough for orthogonality to rounding, which rough vectors do without
    passes = 1 if start.dtype == torch.float32 else 2
    basis = start.new_empty(networks, limit, size)
    basis[:, 0] = start / start.norm(dim=1, keepdim=True)
    tridiagonal = start.new_zeros(networks, limit, limit)
    found: dict[int, _RitzPair] = {}
    for step in range(limit):
        last, known = basis[:, step], basis[:, : step + 1]
        product = products(last)
        tridiagonal[:, step, step] = (product * last).sum(dim=1)
        for _ in range(passes):
            inner = torch.bmm(known, product.unsqueeze(2))
            product = torch.baddbmm(product.unsqueeze(1), inner.mT, known, alpha=-1).squeeze(1)
        rest = product.norm(dim=1)
        if not bool(rest.isfinite().all()):
            missing = _RitzPair(rest.new_tensor(math.nan), start[0], rest[0], is_found=False)
            return [found.get(place, missing) for place in range(networks)]
        values, vectors = torch.linalg.eigh(tridiagonal[:, : step + 1, : step + 1])
        residuals = rest * vectors[:, -1, -1].abs()
        scales = values.abs().amax(dim=1)
        is_done = (_errors(values, residuals) <= TOLERANCE * scales) | (rest <= least * scales)
        for place in range(networks):
            is_found = bool(is_done[place]) or step + 1 == size
            if place not in found and (is_found or step + 1 == limit):
                vector = vectors[place, :, -1] @ known[place]
                found[place] = _RitzPair(values[place, -1], vector, residuals[place], is_found)
        if len(found) == networks:
            break
        tridiagonal[:, step, step + 1] = tridiagonal[:, step + 1, step] = rest
        # of what is found already, nothing need be left
        basis[:, step + 1] = product / rest.where(rest > 0, 1.0).unsqueeze(1)
    return [found[place] for place in range(networks)]


def _errors(values: torch.Tensor, residuals: torch.Tensor) -> torch.Tensor:
    """Return by how much the largest Ritz values may be wrong, shape (K,).

    Ritz values are in ascending order, shape (K, steps); residuals are those of the largest.
    """
    if values.shape[1] == 1:
        return residuals
    gaps = values[:, -1] - values[:, -2] - residuals
    return torch.where(gaps > residuals, residuals.square() / gaps, residuals)


def _starts(stack: NetworkStack, surface: LossSurface) -> torch.Tensor:
    """Return a start vector for each network, shape (K, P).

    Gradients lie for the most part in the directions of the largest eigenvalues (Gur-Ari et al.
    2018): from them, fewer steps are needed, and none of these directions is hard to come by. A
    random vector of the same length adds all others.
    """
    _, gradients = surface.own_losses_and_gradients()
    generators = [stack.generator(place, "Lanczos") for place in range(len(stack))]
    random = torch.stack([random_like(gradients[0], generator) for generator in generators])
    return unit(gradients) + unit(random)
