"""Norms of weight matrices, and of convolutions as the operators that they are."""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import torch
from torch.nn.modules.conv import _ConvNd

from pytest_fragility.errors import UndefinedMeasureError
from pytest_fragility.measures.common.folding import folded_parameters, run_once, weight_matrices
from pytest_fragility.networks.stacks import NetworkStack
from pytest_fragility.networks.weight_layers import WeightLayer, weight_layers


def largest_singular_values(matrices: torch.Tensor) -> torch.Tensor:
    """Return the spectral norm of each matrix of shape (..., rows, columns).

    Root of the largest eigenvalue of the smaller Gram matrix: for the largest singular value, as
    precise as a singular value decomposition at half of its cost. NaN and infinity stay.
    """
    largest = matrices.abs().amax(dim=(-2, -1), keepdim=True)
    # squares of the entries must neither overflow nor vanish; a diverged network stays NaN
    usable = (largest > 0) & largest.isfinite()
    scaled = (matrices / largest.where(usable, 1.0)).where(usable, 0.0)
    rows, columns = matrices.shape[-2:]
    gram = scaled @ scaled.mH if rows <= columns else scaled.mH @ scaled
    norms = torch.linalg.eigvalsh(gram)[..., -1].clamp_min(0).sqrt()
    scaled_back: torch.Tensor = norms * largest[..., 0, 0]
    return scaled_back


def spectral_norms(stack: NetworkStack) -> torch.Tensor:
    """Return the spectral norm of every layer's weight matrix, shape (K, L), float64."""
    return stack.once(
        "spectral norms",
        lambda: torch.stack([largest_singular_values(w) for w in weight_matrices(stack)], dim=1),
    )


def frobenius_norms(stack: NetworkStack) -> torch.Tensor:
    """Return the Frobenius norm of every layer's weight, shape (K, L), float64."""
    return stack.once("Frobenius norms", lambda: _frobenius(weight_matrices(stack)))


def frobenius_distances(stack: NetworkStack) -> torch.Tensor:
    """Return the Frobenius norm of trained minus initial weight, shape (K, L), float64."""
    return stack.once("Frobenius distances", lambda: _frobenius(weight_changes(stack)))


def spectral_distances(stack: NetworkStack) -> torch.Tensor:
    """Return the spectral norm of trained minus initial weight matrix, shape (K, L), float64."""
    return stack.once(
        "spectral distances",
        lambda: torch.stack([largest_singular_values(w) for w in weight_changes(stack)], dim=1),
    )


def weight_changes(stack: NetworkStack) -> list[torch.Tensor]:
    """Return every layer's trained minus initial weight matrix, shape (K, outputs, inputs)."""
    trained, initial = weight_matrices(stack), weight_matrices(stack, initial=True)
    return [after - before for after, before in zip(trained, initial, strict=True)]


def _frobenius(matrices: list[torch.Tensor]) -> torch.Tensor:
    return torch.stack([torch.linalg.matrix_norm(matrix) for matrix in matrices], dim=1)


def operator_norms(stack: NetworkStack) -> torch.Tensor:
    """Return spectral norms with convolutions taken as operators, shape (K, L), float64.

    A linear layer's is that of its matrix; a convolution's is `circular_convolution_norm` on the
    layer's own input size.
    """
    return stack.once("operator norms", lambda: _operator_norms(stack, change=False))


def operator_distances(stack: NetworkStack) -> torch.Tensor:
    """Return operator norms of trained minus initial weight, shape (K, L), float64."""
    return stack.once("operator distances", lambda: _operator_norms(stack, change=True))


def _operator_norms(stack: NetworkStack, *, change: bool) -> torch.Tensor:
    layers = weight_layers(stack)
    weights = [weight for weight, _ in folded_parameters(stack)]
    if change:
        initial = [weight for weight, _ in folded_parameters(stack, initial=True)]
        weights = [after - before for after, before in zip(weights, initial, strict=True)]
    grids = _input_grids(stack, layers) if any(la.is_convolution for la in layers) else {}
    columns = []
    for layer, weight in zip(layers, weights, strict=True):
        if isinstance(layer.module, _ConvNd):
            kernel, grid = layer.module, grids[layer.name]
            norms = [_layer_norm(layer, one, kernel, grid) for one in weight]
            columns.append(torch.stack(norms))
        else:
            columns.append(largest_singular_values(weight))
    return torch.stack(columns, dim=1)


def _layer_norm(
    layer: WeightLayer, weight: torch.Tensor, module: _ConvNd, grid: tuple[int, ...]
) -> torch.Tensor:
    for size, stride in zip(grid, module.stride, strict=True):
        if size % stride:
            raise UndefinedMeasureError(
                f"layer {layer.name} has stride {stride} on an input of size {size}: the exact "
                "spectral norm by Fourier transform needs a size that the stride divides"
            )
    return circular_convolution_norm(
        weight, grid, stride=module.stride, dilation=module.dilation, groups=module.groups
    )


def circular_convolution_norm(
    kernel: torch.Tensor,
    grid: tuple[int, ...],
    *,
    stride: tuple[int, ...] | None = None,
    dilation: tuple[int, ...] | None = None,
    groups: int = 1,
) -> torch.Tensor:
    """Return the spectral norm of a convolution with circular padding, by Fourier transform.

    Sedghi, Gupta and Long 2019, "The singular values of convolutional layers", theorem 6: the
    operator is block-diagonal over frequencies. With a stride s, which divides the grid, the
    frequencies that the subsampling folds together share a block, and the norm is that of the wider
    block over sqrt(s) per dimension. The kernel has the shape (outputs, inputs / groups, *kernel
    size) and is real; the grid is the size of the input.
    """
    dimensions = len(grid)
    stride = stride or (1,) * dimensions
    dilation = dilation or (1,) * dimensions
    on_grid = _wrapped_kernel(kernel, grid, dilation)
    spectrum = torch.fft.fftn(on_grid, dim=tuple(range(2, 2 + dimensions)))
    for place, (size, step) in enumerate(zip(grid, stride, strict=True)):
        # frequency f = alias * (size / step) + rest
        spectrum = spectrum.unflatten(2 + 2 * place, (step, size // step))
    aliases = [2 + 2 * place for place in range(dimensions)]
    rests = [3 + 2 * place for place in range(dimensions)]
    blocks = spectrum.permute(*rests, 0, 1, *aliases).flatten(dimensions + 1)
    blocks = blocks.flatten(0, dimensions - 1).unflatten(1, (groups, -1))
    return largest_singular_values(blocks).amax() / math.sqrt(math.prod(stride))


def _wrapped_kernel(
    kernel: torch.Tensor, grid: tuple[int, ...], dilation: tuple[int, ...]
) -> torch.Tensor:
    """Lay the kernel on the grid; positions beyond its edge wrap around and add up."""
    laid = kernel.new_zeros(*kernel.shape[:2], *grid)
    for position in product(*map(range, kernel.shape[2:])):
        spread = zip(position, dilation, grid, strict=True)
        place = tuple((index * step) % size for index, step, size in spread)
        at: Any = (..., *place)
        entry: Any = (..., *position)
        laid[at] += kernel[entry]
    return laid


def _input_grids(stack: NetworkStack, layers: list[WeightLayer]) -> dict[str, tuple[int, ...]]:
    """Return the size of the input that each convolution sees, by layer."""
    seen: dict[str, tuple[int, ...]] = {}

    def watch(name: str) -> torch.utils.hooks.RemovableHandle:
        def note(module: torch.nn.Module, args: Any, kwargs: Any) -> None:
            grid = tuple([*args, *kwargs.values()][0].shape[2:])
            if seen.setdefault(name, grid) != grid:
                raise UndefinedMeasureError(
                    f"layer {name} is used on inputs of sizes {seen[name]} and {grid}: its "
                    "operator norm is not one number"
                )

        handle: torch.utils.hooks.RemovableHandle = modules[name].register_forward_pre_hook(
            note, with_kwargs=True
        )
        return handle

    modules = dict(stack.structure.named_modules())
    convolutions = [layer.name for layer in layers if layer.is_convolution]
    run_once(stack, [watch(name) for name in convolutions])
    unused = [name for name in convolutions if name not in seen]
    if unused:
        raise UndefinedMeasureError(
            f"layer {unused[0]} is a convolution that the forward pass does not use: it has no "
            "input size, and so no operator norm"
        )
    return seen
