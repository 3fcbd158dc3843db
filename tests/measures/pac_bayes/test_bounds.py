"""PAC-Bayes and flatness measures, against NumPy loops written from Jiang et al. 2020."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from pytest_fragility.measures import (
    StackMeasure,
    pac_bayes_flatness,
    pac_bayes_initialization,
    pac_bayes_magnitude_flatness,
    pac_bayes_magnitude_initialization,
    pac_bayes_magnitude_origin,
    pac_bayes_origin,
)
from pytest_fragility.measures.pac_bayes.noise_search import sigma_search
from pytest_fragility.networks.trained_network import TrainedNetwork
from tests.in_turn import in_turn
from tests.measures.pac_bayes.networks import EPSILON, MODELS, bound_by_loop, network_of, normalized
from tests.sample_networks import perceptron, randomize, sample_network

Formula = Callable[[TrainedNetwork], float]


def parameters_of(model: nn.Module) -> list[float]:
    """Return every parameter as a number: weights, biases and normalization."""
    return [entry for parameter in model.parameters() for entry in parameter.flatten().tolist()]


def squared_norm(network: TrainedNetwork) -> float:
    """Return the sum of squares over all parameters."""
    return sum(entry**2 for entry in parameters_of(network.model))


def changes_of(network: TrainedNetwork) -> list[float]:
    """Return every parameter's distance from its initial value."""
    pairs = zip(parameters_of(network.model), parameters_of(network.initial_model), strict=True)
    return [trained - initial for trained, initial in pairs]


def plain(network: TrainedNetwork, squared: float) -> float:
    """Return the bound of eqs. 48 and 49, given the squared distance from the prior's mean."""
    return bound_by_loop(squared, sigma_search(network).sigma, len(network.labels))


def magnitude_aware(network: TrainedNetwork, squared: float) -> float:
    """Return the bound of eqs. 56 and 57, one parameter at a time."""
    sigma = sigma_search(network, magnitude_aware=True).sigma
    return bound_by_loop(squared, sigma, len(network.labels), changes=changes_of(network))


def moved(network: TrainedNetwork) -> float:
    """Return the squared distance from the initial parameters."""
    return sum(change**2 for change in changes_of(network))


def inverse_square(*, magnitude_aware: bool) -> Formula:
    """Return the flatness of eqs. 53 and 61."""
    return lambda network: sigma_search(network, magnitude_aware=magnitude_aware).sigma ** -2


FORMULAS: dict[StackMeasure, Formula] = {
    pac_bayes_origin: lambda network: plain(network, squared_norm(network)),
    pac_bayes_initialization: lambda network: plain(network, moved(network)),
    pac_bayes_flatness: inverse_square(magnitude_aware=False),
    pac_bayes_magnitude_origin: lambda network: magnitude_aware(network, squared_norm(network)),
    pac_bayes_magnitude_initialization: lambda network: magnitude_aware(network, moved(network)),
    pac_bayes_magnitude_flatness: inverse_square(magnitude_aware=True),
}
NAMES = [measure.__name__ for measure in FORMULAS]

every_measure = in_turn("measure", FORMULAS, ids=NAMES)


every_model = in_turn("name", MODELS)


@every_measure
@every_model
def test_measures_are_their_formulas(measure: StackMeasure, name: str) -> None:
    """In loops over all parameters, biases and normalization included, nothing folded."""
    network = network_of(name)
    assert measure(network) == pytest.approx(FORMULAS[measure](network), rel=1e-9)


@every_measure
def test_only_measures_that_say_so_read_the_initial_weights(measure: StackMeasure) -> None:
    """Another initialization changes those, and leaves the rest as they are to the last digit."""
    network = network_of("normalized")
    other = replace(network, initial_model=randomize(normalized(), 7).eval())
    assert (measure(other) != measure(network)) == ("initial weights" in measure.reads)
    is_expected = measure not in (
        pac_bayes_origin,
        pac_bayes_flatness,
        pac_bayes_magnitude_flatness,
    )
    assert ("initial weights" in measure.reads) == is_expected


def test_an_untrained_network_costs_nothing_but_its_noise() -> None:
    """At the prior's mean, the plain bound is ln(n / sigma) + 10."""
    network = network_of("perceptron")
    untrained = replace(network, initial_model=network.model)
    sigma = sigma_search(network).sigma
    assert pac_bayes_initialization(untrained) == pytest.approx(math.log(network.n / sigma) + 10)
    # no change in the numerator nor the denominator: the logarithm of one
    scale = sigma_search(network, magnitude_aware=True).sigma
    assert pac_bayes_magnitude_initialization(untrained) == pytest.approx(
        math.log(network.n / scale) + 10
    )


# a second implementation of the search


def toy_network() -> TrainedNetwork:
    """Return a small perceptron trained on two moons of noise, most of which it gets right."""
    generator = np.random.default_rng(2)
    angles = generator.uniform(0, math.pi, size=120)
    labels = np.arange(120) % 2
    signs = 1 - 2 * labels
    points = np.stack([signs * np.cos(angles) + labels, signs * np.sin(angles) + labels / 2], 1)
    inputs = torch.from_numpy(points + 0.15 * generator.normal(size=points.shape)).float()
    model = randomize(perceptron([2, 12, 2]), 3, scale=0.7)
    initial = copy.deepcopy(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    targets = torch.from_numpy(labels)
    for _ in range(200):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs), targets).backward()
        optimizer.step()
    optimizer.zero_grad()
    return sample_network(model, inputs, targets, initial_model=initial)


def accuracy_under_noise(
    network: TrainedNetwork,
    sigma: float,
    generator: np.random.Generator,
    *,
    magnitude: bool,
    draws: int,
) -> float:
    """Return the mean accuracy of copies of the module with new noise for each."""
    total = 0
    for _ in range(draws):
        noisy = copy.deepcopy(network.model)
        for parameter in noisy.parameters():
            variance = np.full(tuple(parameter.shape), sigma**2)
            if magnitude:
                variance = sigma**2 * parameter.detach().numpy() ** 2 + EPSILON**2
            noise = generator.normal(size=variance.shape) * np.sqrt(variance)
            parameter.data += torch.from_numpy(noise).float()
        with torch.no_grad():
            predictions = np.argmax(noisy(network.inputs).numpy(), axis=1)
        total += sum(
            int(prediction == label)
            for prediction, label in zip(predictions, network.labels.tolist(), strict=True)
        )
    return total / (draws * len(network.labels))


def sigma_by_loop(network: TrainedNetwork, *, magnitude: bool, draws: int) -> float:
    """Return the tolerated noise by bisection on a grid of logarithms, new draws at each step."""
    generator = np.random.default_rng(11)
    with torch.no_grad():
        right = np.argmax(network.model(network.inputs).numpy(), 1) == network.labels.numpy()
    target = float(right.mean()) - 0.1
    low, high = -8.0, 4.0
    for _ in range(9):
        middle = (low + high) / 2
        accuracy = accuracy_under_noise(
            network, math.exp(middle), generator, magnitude=magnitude, draws=draws
        )
        low, high = (middle, high) if accuracy > target else (low, middle)
    # interpolate in what is left, of which both ends are seen with many draws
    falls = [
        target
        - accuracy_under_noise(
            network, math.exp(end), generator, magnitude=magnitude, draws=4 * draws
        )
        for end in (low - 0.15, high + 0.15)
    ]
    share = -falls[0] / (falls[1] - falls[0])
    return math.exp(low - 0.15 + share * (high - low + 0.3))


@in_turn("magnitude", [False, True], ids=["plain", "magnitude"])
def test_a_second_implementation_finds_the_same_sigma(magnitude: bool) -> None:
    """Noise of its own, parameter by parameter, copy by copy, sample by sample."""
    network = toy_network()
    expected = sigma_by_loop(network, magnitude=magnitude, draws=200)
    found = sigma_search(network, magnitude_aware=magnitude, draws=2000)
    assert 0 < network.train_error < 0.1
    assert found.sigma == pytest.approx(expected, rel=0.05)
    few = sigma_search(network, magnitude_aware=magnitude)
    assert few.sigma == pytest.approx(expected, rel=0.5)
