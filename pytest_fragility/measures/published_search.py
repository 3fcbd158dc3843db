"""The noise search of published code, deviations included; see `published_noise`."""

from __future__ import annotations

import torch

from pytest_fragility.errors import UndefinedMeasureError
from pytest_fragility.measures.accuracies import Accuracies, accuracies_of
from pytest_fragility.measures.folding import folded_parameters
from pytest_fragility.measures.layers import weight_layers
from pytest_fragility.measures.noise_search import MAGNITUDE_EPSILON
from pytest_fragility.measures.parts import in_parts
from pytest_fragility.measures.vectors import parameter_vectors, split_vectors
from pytest_fragility.network_stacks import NetworkStack

ACCURACY_DROP = 0.1
TOLERANCE = 0.01
HALVINGS = 15
DRAWS = 10
LARGEST = 2.0


def published_sigma(stack: NetworkStack, *, magnitude_aware: bool = False) -> torch.Tensor:
    """Return sigma of each network as published code finds it, shape (K,), float64."""

    def compute() -> torch.Tensor:
        folded = _folded(stack)
        sigmas = in_parts(folded, lambda part: _sigmas(part, magnitude_aware))
        return torch.tensor(sigmas, dtype=torch.float64, device=stack.device)

    return stack.once(("published sigma", magnitude_aware), compute)


@torch.no_grad()
def _sigmas(stack: NetworkStack, magnitude_aware: bool) -> list[float]:
    rows = parameter_vectors(stack).float()
    noise = torch.empty(DRAWS, rows.shape[1], device=rows.device)
    return [
        _search(stack, place, accuracies, rows[place], noise, magnitude_aware)
        for place, accuracies in enumerate(accuracies_of(stack))
    ]


def _search(
    stack: NetworkStack,
    place: int,
    accuracies: Accuracies,
    row: torch.Tensor,
    noise: torch.Tensor,
    magnitude_aware: bool,
) -> float:
    """Return sigma of one network with parameters `row`; `noise` is memory for its draws."""
    purpose = "published magnitude-aware noise" if magnitude_aware else "published noise"
    generator = stack.generator(place, purpose)
    own = float(accuracies.of(split_vectors(stack, row[None])))
    low, high = 0.0, LARGEST
    for _ in range(HALVINGS):
        sigma = (low + high) / 2
        noise.normal_(generator=generator)
        if magnitude_aware:
            noise.mul_(sigma**2 * row.square() + MAGNITUDE_EPSILON**2).add_(row)
        else:
            torch.add(row, noise, alpha=sigma**2, out=noise)
        drop = abs(float(accuracies.of(split_vectors(stack, noise)).mean()) - own)
        if abs(drop - ACCURACY_DROP) < TOLERANCE:
            break
        low, high = (low, sigma) if drop > ACCURACY_DROP else (sigma, high)
    return sigma


def _folded(stack: NetworkStack) -> NetworkStack:
    """Return the stack with normalization folded, and so turned into the identity."""
    from pytest_fragility.unknown_parts import replaced

    layers = weight_layers(stack)
    if all(layer.normalization is None for layer in layers):
        return stack
    weights, buffers = dict(stack.weights), dict(stack.buffers)
    for layer, (weight, bias) in zip(layers, folded_parameters(stack), strict=True):
        if layer.normalization is None:
            continue
        shared = [name for name in ("weight", "bias") if _is_shared(stack, layer.name, name)]
        if shared:
            raise UndefinedMeasureError(
                f"layer {layer.name} shares its {shared[0]} with another layer, and cannot take "
                "the normalization behind it by itself; the measure without _as_published needs "
                "no folding"
            )
        if f"{layer.name}.bias" not in weights:
            raise UndefinedMeasureError(
                f"published code folds normalization into the bias of layer {layer.name}, which "
                "has none; the measure without _as_published needs no folding"
            )
        assert bias is not None
        weights[f"{layer.name}.weight"] = weight.float()
        weights[f"{layer.name}.bias"] = bias.float()
        name, _ = layer.normalization
        for key, value in ((f"{name}.weight", 1.0), (f"{name}.bias", 0.0)):
            if key in weights:
                weights[key] = torch.full_like(weights[key], value)
        buffers[f"{name}.running_mean"] = torch.zeros_like(buffers[f"{name}.running_mean"])
        buffers[f"{name}.running_var"] = torch.ones_like(buffers[f"{name}.running_var"])
    return replaced(stack, weights=weights, buffers=buffers, _results={})


def _is_shared(stack: NetworkStack, layer: str, kind: str) -> bool:
    """Return whether a layer's parameter goes by other names too."""
    everything = dict(stack.structure.named_parameters(remove_duplicate=False))
    own = everything.get(f"{layer}.{kind}")
    return own is not None and sum(each is own for each in everything.values()) > 1
