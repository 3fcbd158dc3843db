"""Networks that noise is added to, and bounds worked out one weight at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import nn

from pytest_fragility.networks.trained_network import TrainedNetwork
from tests.sample_networks import labelled_by, perceptron, randomize, sample_network

EPSILON = 1e-3


def normalized() -> nn.Module:
    """Return a perceptron with batch normalization."""
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))


def layer_normalized() -> nn.Module:
    """Return a perceptron with normalization that no weight matrix could hold."""
    return nn.Sequential(nn.Linear(4, 6), nn.LayerNorm(6), nn.ReLU(), nn.Linear(6, 3))


def convolutional(*, bias: bool = True) -> nn.Module:
    """Return a convolutional network with batch normalization."""
    first = [nn.Conv2d(1, 4, 3, bias=bias), nn.BatchNorm2d(4), nn.ReLU()]
    return nn.Sequential(*first, nn.Flatten(), nn.Linear(36, 3))


MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "perceptron": (lambda: perceptron([4, 8, 6, 3]), (4,)),
    "without biases": (lambda: perceptron([3, 2, 3], bias=False), (3,)),
    "linear": (lambda: nn.Linear(5, 2), (5,)),
    "normalized": (normalized, (4,)),
    "convolutional": (convolutional, (1, 5, 5)),
    "layer normalized": (layer_normalized, (4,)),
}


def network_of(name: str, *, seed: int = 0, scale: float = 1.0) -> TrainedNetwork:
    """Return a network with random trained and random initial parameters and statistics.

    Ten times its 59 samples cannot cost 0.09 or 0.11 exactly, which rounding would decide.
    """
    build, shape = MODELS[name]
    values = np.random.default_rng(seed).normal(size=(59, *shape))
    model = randomize(build(), seed, scale=scale)
    initial = randomize(build(), seed + 100, scale=0.6)
    inputs = torch.from_numpy(values).float()
    labels = labelled_by(model, inputs)
    return sample_network(model, inputs, labels, initial_model=initial, seed=seed)


def bound_by_loop(
    squared: float, sigma: float, n: int, *, changes: Sequence[float] | None = None
) -> float:
    """Return the bound for a squared distance from the prior's mean (eqs. 48 and 49).

    With the changes of the weights, it is the magnitude-aware one (eqs. 56 and 57).
    """
    rest = math.log(n / sigma) + 10
    if changes is None:
        return squared / (4 * sigma**2) + rest
    numerator = EPSILON**2 + (sigma**2 + 1) * squared / len(changes)
    ratios = [numerator / (EPSILON**2 + sigma**2 * change**2) for change in changes]
    return sum(math.log(ratio) for ratio in ratios) / 4 + rest
