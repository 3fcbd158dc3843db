"""The zoo evaluated as published reference code does it: one network after the other.

Deep copies of the module for every draw of noise, samples through a `DataLoader`, a singular value
decomposition per layer. Written for comparison of speed, from the formulas; nothing in the package
uses it.
"""

from __future__ import annotations

import math
from copy import deepcopy

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from pytest_fragility.networks.trained_network import TrainedNetwork

EVALUATION_BATCH = 5000
DRAWS = 10
HALVINGS = 15
EPSILON = 1e-3


def published_values(network: TrainedNetwork) -> dict[str, float]:
    """Return every measure that published code has, for one network."""
    samples = TensorDataset(network.inputs, network.labels)
    loader = DataLoader(samples, batch_size=EVALUATION_BATCH)
    with torch.no_grad():
        margin = margin_of(network.model, loader)
        values = {"inverse_margin": margin**-2}
        values |= norm_values(network, margin)
        values |= path_values(network, margin)
        values |= noise_values(network, loader, variance_as_deviation=False)
        values |= noise_values(network, loader, variance_as_deviation=True)
    return values


def accuracy_of(model: nn.Module, loader: DataLoader[tuple[torch.Tensor, ...]]) -> float:
    """Return the fraction of samples classified as labelled."""
    right = 0
    for inputs, labels in loader:
        right += int((model(inputs).argmax(dim=1) == labels).sum())
    return right / len(loader.dataset)  # type: ignore[arg-type]


def margin_of(model: nn.Module, loader: DataLoader[tuple[torch.Tensor, ...]]) -> float:
    """Return the 10th percentile of the margins."""
    margins = []
    for inputs, labels in loader:
        logits = model(inputs)
        rows = torch.arange(len(labels))
        own = logits[rows, labels].clone()
        logits[rows, labels] = -math.inf
        margins.append(own - logits.max(dim=1).values)
    everything = torch.cat(margins)
    return float(everything.kthvalue(len(everything) // 10).values)


def weights_of(model: nn.Module) -> list[torch.Tensor]:
    """Return the weight matrices."""
    return [parameter for parameter in model.parameters() if parameter.dim() > 1]


def norm_values(network: TrainedNetwork, margin: float) -> dict[str, float]:
    """Return norms, distances and spectral bounds."""
    weights = weights_of(network.model)
    changes = [a - b for a, b in zip(weights, weights_of(network.initial_model), strict=True)]
    depth, inverse = len(weights), -2 * math.log(margin)
    values = {"parameter_count": float(sum(p.numel() for p in network.model.parameters()))}
    frobenius = np.array([float(w.norm() ** 2) for w in weights])
    moved = np.array([float(c.norm() ** 2) for c in changes])
    values["parameter_norm"] = frobenius.sum()
    values["frobenius_distance_from_initialization"] = moved.sum()
    log_product = float(np.log(frobenius).sum())
    values["product_of_frobenius_norms"] = math.exp(log_product)
    values["product_of_frobenius_norms_over_margin"] = math.exp(log_product + inverse)
    values["sum_of_frobenius_norms"] = depth * math.exp(log_product / depth)
    values["sum_of_frobenius_norms_over_margin"] = depth * math.exp((log_product + inverse) / depth)
    for suffix in ("", "_fft"):
        # for linear layers, the exact spectral norm is that of the matrix once more
        spectral = np.array([float(torch.linalg.svd(w).S.max() ** 2) for w in weights])
        far = np.array([float(torch.linalg.svd(c).S.max() ** 2) for c in changes])
        log_product = float(np.log(spectral).sum())
        values |= {
            f"product_of_spectral_norms{suffix}": math.exp(log_product),
            f"product_of_spectral_norms_over_margin{suffix}": math.exp(log_product + inverse),
            f"sum_of_spectral_norms{suffix}": depth * math.exp(log_product / depth),
            f"sum_of_spectral_norms_over_margin{suffix}": depth
            * math.exp((log_product + inverse) / depth),
            f"frobenius_over_spectral{suffix}": (frobenius / spectral).sum(),
            f"spectral_bound_origin{suffix}": math.exp(log_product + inverse)
            * (frobenius / spectral).sum(),
            f"spectral_bound_initialization{suffix}": math.exp(log_product + inverse)
            * (moved / spectral).sum(),
            f"spectral_distance_from_initialization{suffix}": far.sum(),
        }
    return values


def path_values(network: TrainedNetwork, margin: float) -> dict[str, float]:
    """Return the path norm, with and without margin."""
    squared = deepcopy(network.model)
    for parameter in squared.parameters():
        parameter.data.pow_(2)
    path_norm = float(squared(torch.ones_like(network.inputs[:1])).sum())
    return {"path_norm": path_norm, "path_norm_over_margin": path_norm / margin**2}


def noise_values(
    network: TrainedNetwork,
    loader: DataLoader[tuple[torch.Tensor, ...]],
    *,
    variance_as_deviation: bool,
) -> dict[str, float]:
    """Return the PAC-Bayes measures, each noise search with new draws at every step."""
    suffix = "_as_published" if variance_as_deviation else ""
    sigma = search(network, loader, variance_as_deviation, magnitude_aware=False)
    scale = search(network, loader, variance_as_deviation, magnitude_aware=True)
    trained = torch.cat([p.flatten() for p in network.model.parameters()])
    change = trained - torch.cat([p.flatten() for p in network.initial_model.parameters()])
    values = {
        f"pac_bayes_flatness{suffix}": sigma**-2,
        f"pac_bayes_magnitude_flatness{suffix}": scale**-2,
    }
    for name, reference in (("origin", trained), ("initialization", change)):
        squared = float(reference.norm() ** 2)
        values[f"pac_bayes_{name}{suffix}"] = (
            squared / (4 * sigma**2) + math.log(network.n / sigma) + 10
        )
        numerator = EPSILON**2 + (scale**2 + 1) * squared / len(change)
        denominator = EPSILON**2 + scale**2 * change**2
        values[f"pac_bayes_magnitude_{name}{suffix}"] = (
            float((numerator / denominator).log().sum()) / 4 + math.log(network.n / scale) + 10
        )
    return values


def search(
    network: TrainedNetwork,
    loader: DataLoader[tuple[torch.Tensor, ...]],
    variance_as_deviation: bool,
    magnitude_aware: bool,
) -> float:
    """Return the tolerated noise by linear bisection over (0, 2]."""
    accuracy = accuracy_of(network.model, loader)
    low, high = 0.0, 2.0
    for _ in range(HALVINGS):
        sigma = (low + high) / 2
        drops = []
        for _ in range(DRAWS):
            noisy = deepcopy(network.model)
            for parameter in noisy.parameters():
                variance = sigma**2 * parameter.abs() ** 2 + EPSILON**2
                if not magnitude_aware:
                    variance = torch.full_like(parameter, sigma**2)
                deviation = variance if variance_as_deviation else variance.sqrt()
                parameter.add_(torch.normal(0.0, deviation, generator=network.rng))
            drops.append(accuracy - accuracy_of(noisy, loader))
        drop = abs(float(np.mean(drops)))
        if abs(drop - 0.1) < 0.01:
            break
        low, high = (low, sigma) if drop > 0.1 else (sigma, high)
    return sigma
