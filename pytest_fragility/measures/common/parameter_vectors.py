"""All parameters of a network as one row."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch

from pytest_fragility.networks.stacks import NetworkStack, Tensors


def parameter_vectors(stack: NetworkStack, *, initial: bool = False) -> torch.Tensor:
    """Return all parameters of each network as one row, shape (K, P), float64.

    Everything that was trained, as it stands: biases and normalization included, nothing folded.
    """
    weights = stack.initial_weights if initial else stack.weights
    return stack.once(
        ("parameter vectors", initial),
        lambda: join_vectors(weights).double(),
    )


def layer_keys(layers: Iterable[str]) -> list[tuple[str, str]]:
    """Return the names of each layer's weight and bias, among those of all parameters."""
    prefixes = [f"{layer}." if layer else "" for layer in layers]
    return [(f"{prefix}weight", f"{prefix}bias") for prefix in prefixes]


def join_vectors(parts: Tensors) -> torch.Tensor:
    """Return parameters by name, each of shape (K, *shape), as rows of shape (K, P)."""
    # a parameter may be a single number
    return torch.cat([part.unsqueeze(1).flatten(1) for part in parts.values()], dim=1)


def split_vectors(stack: NetworkStack, vectors: torch.Tensor) -> Tensors:
    """Cut rows of shape (S, P) into parameters by name, each of shape (S, *shape)."""
    shapes = {name: weight.shape[1:] for name, weight in stack.weights.items()}
    sizes = [math.prod(shape) for shape in shapes.values()]
    parts = torch.split(vectors, sizes, dim=1)
    return {
        name: part.view(len(vectors), *shape)
        for (name, shape), part in zip(shapes.items(), parts, strict=True)
    }


def unit(rows: torch.Tensor, length: float = 1.0) -> torch.Tensor:
    """Return rows of length one, or of another length; those of zeros stay."""
    lengths = rows.norm(dim=1, keepdim=True)
    scaled: torch.Tensor = rows / (lengths.where(lengths > 0, 1.0) / length)
    return scaled


def random_like(row: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Return normals in the shape of a row, in its dtype and on its device."""
    return torch.randn(row.shape, generator=generator, dtype=row.dtype, device=row.device)
