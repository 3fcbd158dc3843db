"""Curvature of the training loss: the Hessian's largest eigenvalue and its trace."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from pytest_fragility.errors import UndefinedMeasureError
from pytest_fragility.measures.loss_surface import LossSurface
from pytest_fragility.network_stacks import NetworkStack

if TYPE_CHECKING:
    from pytest_fragility.trained_networks import TrainedNetwork

STEPS = 200
TOLERANCE = 1e-6
PROBES = 50


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


def trace_samples(stack: NetworkStack, probes: int) -> torch.Tensor:
    """Return ``v^T H v`` for random signs v, shape (K, probes), float64."""
    surface = LossSurface(stack)
    generators = [stack.generator(place, "Hessian trace") for place in range(len(stack))]
    samples = []
    for _ in range(probes):
        signs = torch.stack([_signs(surface.weights[0], generator) for generator in generators])
        samples.append((signs * surface.hessian_products(signs)).sum(dim=1))
    return torch.stack(samples, dim=1)


def _signs(like: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    bits = torch.randint(2, like.shape, generator=generator, device=like.device)
    return 2 * bits.to(like.dtype) - 1


def largest_eigenvalues(stack: NetworkStack) -> torch.Tensor:
    """Return the algebraically largest eigenvalue of each network's Hessian, shape (K,).

    Lanczos iteration with full reorthogonalization, until the residual of the Ritz pair is below
    1e-6 of the eigenvalue of largest magnitude, which bounds the error.

    Raises
    ------
    UndefinedMeasureError
        If 200 steps do not get there.
    """
    return torch.stack([_largest_eigenvalue(stack, place) for place in range(len(stack))])


def _largest_eigenvalue(stack: NetworkStack, place: int) -> torch.Tensor:
    surface = LossSurface(single(stack, place))
    start = torch.randn(
        surface.weights.shape,
        generator=stack.generator(place, "Lanczos"),
        dtype=torch.float64,
        device=stack.device,
    )
    basis = [start / start.norm()]
    diagonal: list[torch.Tensor] = []
    beside: list[torch.Tensor] = []
    limit = min(STEPS, start.numel())
    for step in range(1, limit + 1):
        product = surface.hessian_products(basis[-1])
        diagonal.append((product * basis[-1]).sum())
        for _ in range(2):
            # once is not enough for orthogonality to rounding
            rows = torch.cat(basis)
            product = product - (rows @ product.T).T @ rows
        rest = product.norm()
        values, vectors = torch.linalg.eigh(_tridiagonal(diagonal, beside))
        residual = rest * vectors[-1, -1].abs()
        scale = values.abs().amax()
        if residual <= TOLERANCE * scale or rest <= 1e-14 * scale or step == start.numel():
            largest: torch.Tensor = values[-1]
            return largest
        beside.append(rest)
        basis.append(product / rest)
    raise UndefinedMeasureError(
        f"the Hessian's largest eigenvalue was not found in {limit} Lanczos steps: it is near "
        f"{float(values[-1]):.4g}, with a residual of {float(residual):.2g}",
        place,
    )


def _tridiagonal(diagonal: list[torch.Tensor], beside: list[torch.Tensor]) -> torch.Tensor:
    matrix = torch.diag(torch.stack(diagonal))
    if beside:
        off = torch.diag(torch.stack(beside), 1)
        matrix = matrix + off + off.T
    return matrix


def single(stack: NetworkStack, place: int) -> NetworkStack:
    """Return the stack of one of a stack's networks."""
    from dataclasses import replace

    inputs, labels = stack.load_samples()

    def pick(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {name: tensor[place : place + 1] for name, tensor in tensors.items()}

    here = slice(place, place + 1)
    return replace(
        stack,
        weights=pick(stack.weights),
        initial_weights=pick(stack.initial_weights),
        buffers=pick(stack.buffers),
        initial_buffers=pick(stack.initial_buffers),
        seeds=stack.seeds[here],
        train_losses=stack.train_losses[here],
        rng_seeds=stack.rng_seeds[here],
        sample_ids=stack.sample_ids[here],
        load_samples=lambda: (inputs[here], labels[here]),
        _results={},
    )
