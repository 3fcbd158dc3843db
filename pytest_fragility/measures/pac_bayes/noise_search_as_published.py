"""The noise search of published code, deviations included; see `published_noise`."""

from __future__ import annotations

from collections.abc import Callable

import torch

from pytest_fragility.errors import UndefinedMeasureError
from pytest_fragility.measures.common.batching import in_parts
from pytest_fragility.measures.common.folding import folded_parameters
from pytest_fragility.measures.common.parameter_vectors import parameter_vectors, split_vectors
from pytest_fragility.measures.pac_bayes.accuracies import (
    Accuracies,
    StackAccuracies,
    accuracies_of,
    can_look_together,
)
from pytest_fragility.measures.pac_bayes.noise_search import (
    MAGNITUDE_EPSILON,
    Search,
    searched,
    searched_together,
)
from pytest_fragility.networks.stacks import NetworkStack
from pytest_fragility.networks.weight_layers import weight_layers

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


def _sigmas(stack: NetworkStack, magnitude_aware: bool) -> list[float]:
    find = _sigmas_together if can_look_together(stack) else _sigmas_one_by_one
    with torch.no_grad():
        return find(stack, magnitude_aware)


def _search(own: float) -> Search[float]:
    """Find sigma of one network, whose accuracy without noise this is, by accuracies with noise."""
    low, high = 0.0, LARGEST
    for _ in range(HALVINGS):
        sigma = (low + high) / 2
        accuracy = yield sigma
        drop = abs(accuracy - own)
        if abs(drop - ACCURACY_DROP) < TOLERANCE:
            break
        low, high = (low, sigma) if drop > ACCURACY_DROP else (sigma, high)
    return sigma


def _sigmas_one_by_one(stack: NetworkStack, magnitude_aware: bool) -> list[float]:
    rows = parameter_vectors(stack).float()
    # memory for the draws of one after the other
    noise = torch.empty(DRAWS, rows.shape[1], device=rows.device)
    sigmas = []
    for place, accuracies in enumerate(accuracies_of(stack)):
        own = float(accuracies.of(split_vectors(stack, rows[place : place + 1])))
        generator = _generator(stack, place, magnitude_aware)
        look = _looking(stack, accuracies, rows[place], noise, generator, magnitude_aware)
        sigmas.append(searched(_search(own), look))
    return sigmas


def _looking(
    stack: NetworkStack,
    accuracies: Accuracies,
    row: torch.Tensor,
    noise: torch.Tensor,
    generator: torch.Generator,
    magnitude_aware: bool,
) -> Callable[[float], float]:
    """Return what gives one network's accuracy with noise, drawn anew each time into `noise`."""

    def look(sigma: float) -> float:
        noise.normal_(generator=generator)
        if magnitude_aware:
            noise.mul_(sigma**2 * row.square() + MAGNITUDE_EPSILON**2).add_(row)
        else:
            torch.add(row, noise, alpha=sigma**2, out=noise)
        return float(accuracies.of(split_vectors(stack, noise)).mean())

    return look


def _sigmas_together(stack: NetworkStack, magnitude_aware: bool) -> list[float]:
    rows, places = parameter_vectors(stack).float(), range(len(stack))
    generators = [_generator(stack, place, magnitude_aware) for place in places]
    accuracies = StackAccuracies(stack)

    def look(looking: list[int], sigmas: list[float]) -> list[float]:
        noise = rows.new_empty(len(looking), DRAWS, rows.shape[1])
        for own, place in zip(noise, looking, strict=True):
            own.normal_(generator=generators[place])
        some = rows[torch.tensor(looking, device=rows.device)].unsqueeze(1)
        variances = rows.new_tensor(sigmas).square().view(-1, 1, 1)
        scale = variances * some.square() + MAGNITUDE_EPSILON**2 if magnitude_aware else variances
        found: list[float] = accuracies.of(looking, noise.mul_(scale).add_(some)).mean(1).tolist()
        return found

    own: list[float] = accuracies.of(list(places), rows.unsqueeze(1)).flatten().tolist()
    return searched_together([_search(each) for each in own], look)


def _generator(stack: NetworkStack, place: int, magnitude_aware: bool) -> torch.Generator:
    purpose = "published magnitude-aware noise" if magnitude_aware else "published noise"
    return stack.generator(place, purpose)


def _folded(stack: NetworkStack) -> NetworkStack:
    """Return the stack with normalization folded, and so turned into the identity."""
    from pytest_fragility.networks.trained_network import replaced

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
