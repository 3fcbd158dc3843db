"""The search for the tolerated noise, against linear classifiers whose answer is known."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy.optimize import brentq
from scipy.stats import norm
from torch import nn

from pytest_fragility.errors import SettingsError, UndefinedMeasureError
from pytest_fragility.measures import (
    StackMeasure,
    pac_bayes_flatness,
    pac_bayes_initialization,
    pac_bayes_magnitude_flatness,
    pac_bayes_magnitude_initialization,
    pac_bayes_magnitude_origin,
    pac_bayes_origin,
)
from pytest_fragility.measures.pac_bayes.noise_search import sigma_search, tolerated_noise
from pytest_fragility.networks.stacks import NetworkStack
from pytest_fragility.networks.trained_network import TrainedNetwork
from tests.in_turn import in_turn
from tests.sample_networks import labelled_by, perceptron, randomize, sample_network

Floats = npt.NDArray[np.float64]

EPSILON = 1e-3
SMALLEST, LARGEST = 2.0**-30, 2.0**15
PURPOSES = {False: "noise", True: "magnitude-aware noise"}

either_noise = in_turn("magnitude_aware", [False, True], ids=["plain", "magnitude"])


def random_inputs(*shape: int, seed: int = 0) -> torch.Tensor:
    """Return random inputs in float32."""
    values = np.random.default_rng(seed).normal(size=shape)
    return torch.from_numpy(values).float()


def labelling_itself(model: nn.Module, inputs: torch.Tensor, *, seed: int = 0) -> TrainedNetwork:
    """Return a network that classifies all of its training samples as labelled."""
    return sample_network(model, inputs, labelled_by(model, inputs), seed=seed)


def linear_classifier(
    seed: int, *, bias: bool = False, scale: float = 0.3, samples: int = 240, width: int = 12
) -> TrainedNetwork:
    """Return a random linear network for two classes that is right about all of its samples."""
    model = randomize(nn.Linear(width, 2, bias=bias), seed, scale=scale)
    return labelling_itself(model, random_inputs(samples, width, seed=seed + 1), seed=seed)


def with_randomness(network: TrainedNetwork, seed: int) -> TrainedNetwork:
    """Return the same network with noise of another seed."""
    return replace(network, rng=torch.Generator().manual_seed(seed))


def rows_of(network: TrainedNetwork) -> tuple[Floats, Floats]:
    """Return a linear classifier's two rows of weights, and the samples they multiply.

    A bias counts as the weight of an input that is always one.
    """
    linear = network.model
    assert isinstance(linear, nn.Linear)
    rows = linear.weight.detach().double().numpy()
    samples = network.inputs.double().numpy()
    if linear.bias is not None:
        rows = np.concatenate([rows, linear.bias.detach().double().numpy()[:, None]], axis=1)
        samples = np.concatenate([samples, np.ones((len(samples), 1))], axis=1)
    return rows, samples


def known_drop(network: TrainedNetwork, sigma: float, magnitude_aware: bool) -> float:
    """Return the expected share of flipped samples: Gaussian noise on the logits' difference."""
    rows, samples = rows_of(network)
    variances = np.full_like(rows, sigma**2)
    if magnitude_aware:
        variances = sigma**2 * rows**2 + EPSILON**2
    deviations = np.sqrt(samples**2 @ variances.sum(axis=0))
    differences = np.abs(samples @ (rows[1] - rows[0]))
    return float(norm.cdf(-differences / deviations).mean())


def known_sigma(network: TrainedNetwork, *, drop: float = 0.1, magnitude: bool = False) -> float:
    """Return the sigma at which the expected drop of a linear classifier is the target."""
    return float(brentq(lambda s: known_drop(network, s, magnitude) - drop, 1e-6, 1e3, xtol=1e-12))


def accuracy_of(model: nn.Module, network: TrainedNetwork) -> float:
    """Return the fraction of samples whose largest logit, the first of equals, is the label's."""
    logits = model(network.inputs).detach().numpy()
    return float((np.argmax(logits, axis=1) == network.labels.numpy()).mean())


def looped_drops(
    network: TrainedNetwork, sigma: float, *, magnitude_aware: bool = False, draws: int = 10
) -> Floats:
    """Return the fall of accuracy under each of the search's noise vectors, one at a time.

    Noise goes to the parameters in the order of registration, as one long row per draw.
    """
    generator = NetworkStack.of_network(network).generator(0, PURPOSES[magnitude_aware])
    length = sum(parameter.numel() for parameter in network.model.parameters())
    rows = torch.randn(draws, length, generator=generator)
    falls = []
    for row in rows:
        noisy, start = copy.deepcopy(network.model), 0
        for parameter in noisy.parameters():
            noise = row[start : start + parameter.numel()].view_as(parameter)
            start += parameter.numel()
            deviation = torch.full_like(parameter, sigma)
            if magnitude_aware:
                deviation = (sigma**2 * parameter.detach() ** 2 + EPSILON**2) ** 0.5
            parameter.data += deviation * noise
        falls.append(accuracy_of(network.model, network) - accuracy_of(noisy, network))
    return np.array(falls)


def normalized_model(seed: int) -> nn.Module:
    """Return a perceptron with batch normalization."""
    layers = [nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3)]
    return randomize(nn.Sequential(*layers), seed)


def convolutional_model(seed: int) -> nn.Module:
    """Return a convolutional network with batch normalization."""
    layers = [nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(27, 3)]
    return randomize(nn.Sequential(*layers), seed)


class Residual(nn.Module):
    """A perceptron with a shortcut, written as a forward pass of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.last = nn.Linear(4, 3)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the logits."""
        outputs: torch.Tensor = self.last(inputs + torch.relu(self.first(inputs)))
        return outputs


class Tied(nn.Module):
    """A ReLU perceptron whose two hidden layers share their biases, or all they have."""

    def __init__(self, *, biases_alone: bool) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2)
        self.second.bias = self.first.bias
        if not biases_alone:
            self.second.weight = self.first.weight

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the logits."""
        hidden = torch.relu(self.second(torch.relu(self.first(inputs))))
        outputs: torch.Tensor = self.last(hidden)
        return outputs


NETWORKS: dict[str, Callable[[], TrainedNetwork]] = {
    "linear": lambda: linear_classifier(5, bias=True, samples=60),
    "perceptron": lambda: labelling_itself(
        randomize(perceptron([4, 6, 5, 3]), 1), random_inputs(50, 4)
    ),
    "normalized": lambda: labelling_itself(normalized_model(2), random_inputs(50, 4)),
    "convolutional": lambda: labelling_itself(convolutional_model(3), random_inputs(40, 1, 5, 5)),
    "residual": lambda: labelling_itself(randomize(Residual(), 4), random_inputs(50, 4)),
    "tied biases": lambda: labelling_itself(
        randomize(Tied(biases_alone=True), 1), random_inputs(60, 4)
    ),
    "tied layers": lambda: labelling_itself(
        randomize(Tied(biases_alone=False), 1), random_inputs(60, 4)
    ),
    # samples for which no hidden unit is active have the same logit for each class
    "without biases": lambda: labelling_itself(
        randomize(perceptron([3, 2, 3], bias=False), 2), random_inputs(60, 3)
    ),
}

every_network = in_turn("network_of", NETWORKS.values(), ids=NETWORKS)


# known answers


@in_turn("seed", range(3))
@in_turn("bias", [False, True], ids=["without bias", "with bias"])
@either_noise
def test_sigma_of_a_linear_classifier_is_the_known_one(
    seed: int, bias: bool, magnitude_aware: bool
) -> None:
    """With many draws, within a few standard errors, and within 5 percent."""
    network = linear_classifier(seed, bias=bias)
    expected = known_sigma(network, magnitude=magnitude_aware)
    found = sigma_search(network, magnitude_aware=magnitude_aware, draws=400)
    assert found.saturated is None
    assert abs(math.log(found.sigma / expected)) < min(4 * found.relative_error + 0.01, 0.05)


@in_turn("seed", range(6))
@either_noise
def test_sigma_from_few_draws_lies_within_its_error(seed: int, magnitude_aware: bool) -> None:
    """The default number of draws costs accuracy, which the search admits to."""
    network = linear_classifier(seed, bias=True)
    expected = known_sigma(network, magnitude=magnitude_aware)
    found = sigma_search(network, magnitude_aware=magnitude_aware)
    assert found.draws == 10
    assert abs(math.log(found.sigma / expected)) < min(5 * found.relative_error + 0.01, 0.4)


def test_another_drop_has_its_own_known_sigma() -> None:
    """The fall of accuracy to search for can be chosen."""
    network = linear_classifier(0)
    sigmas = []
    for drop in (0.02, 0.2, 0.35):
        found = sigma_search(network, accuracy_drop=drop, draws=400)
        assert found.accuracy_drop == drop
        assert found.sigma == pytest.approx(known_sigma(network, drop=drop), rel=0.1)
        sigmas.append(found.sigma)
    assert sigmas == sorted(sigmas)


def test_the_drop_is_from_the_networks_own_accuracy() -> None:
    """A quarter of the samples is labelled wrong: noise puts some of those right."""
    network = linear_classifier(1)
    labels = network.labels.clone()
    labels[::4] = 1 - labels[::4]
    mislabelled = replace(network, labels=labels)
    signs = np.where(np.arange(len(labels)) % 4 == 0, -1, 1)
    rows, samples = rows_of(network)
    ratios = np.abs(samples @ (rows[1] - rows[0])) / np.linalg.norm(samples, axis=1)

    def surplus(sigma: float) -> float:
        return float((signs * norm.cdf(-ratios / (sigma * math.sqrt(2)))).mean()) - 0.1

    expected = float(brentq(surplus, 1e-3, 10))
    assert expected > 1.3 * known_sigma(network)
    found = sigma_search(mislabelled, draws=400)
    assert found.sigma == pytest.approx(expected, rel=0.08)


@in_turn("factor", [0.01, 0.5, 8.0, 200.0])
def test_sigma_scales_with_the_weights(factor: float) -> None:
    """Plain noise is absolute and magnitude-aware noise relative, but for its epsilon."""
    network = linear_classifier(2, scale=10.0)
    scaled = copy.deepcopy(network.model)
    for parameter in scaled.parameters():
        parameter.data *= factor
    other = replace(network, model=scaled)
    ratio = sigma_search(other).sigma / sigma_search(network).sigma
    assert ratio == pytest.approx(factor, rel=0.041)
    relative = [sigma_search(of, magnitude_aware=True).sigma for of in (network, other)]
    assert relative[1] == pytest.approx(relative[0], rel=0.041)


@in_turn(
    "model",
    [
        nn.Linear(3, 2),
        perceptron([3, 2]),
        nn.Sequential(nn.Linear(3, 2, bias=False), nn.BatchNorm1d(2)),
    ],
)
@either_noise
def test_noise_reaches_biases_and_normalization(model: nn.Module, magnitude_aware: bool) -> None:
    """Where inputs are zero, only the last shift decides, and all samples flip together."""
    model = copy.deepcopy(model)
    list(model.parameters())[-1].data = torch.tensor([-0.4, 0.6])
    network = sample_network(model, torch.zeros(20, 3), torch.ones(20, dtype=torch.int64))
    found = sigma_search(network, magnitude_aware=magnitude_aware, draws=4000)
    deviation = -1.0 / float(norm.ppf(0.1))
    expected = deviation / math.sqrt(2)
    if magnitude_aware:
        expected = math.sqrt((deviation**2 - 2 * EPSILON**2) / (0.4**2 + 0.6**2))
    assert found.sigma == pytest.approx(expected, rel=0.05)


def test_networks_in_double_precision_are_searched_like_others() -> None:
    """The noisy passes are in float32, whatever the network is in."""
    for model in (randomize(perceptron([4, 6, 3]), 1), normalized_model(2)):
        network = labelling_itself(model, random_inputs(50, 4))
        double = replace(
            network, model=copy.deepcopy(model).double(), inputs=network.inputs.double()
        )
        assert sigma_search(double).sigma == sigma_search(network).sigma


# the bracket


@every_network
@either_noise
def test_the_bracket_encloses_the_target(
    network_of: Callable[[], TrainedNetwork], magnitude_aware: bool
) -> None:
    """Computed again in a loop over modules: noise at its ends costs less and more."""
    network = network_of()
    found = sigma_search(network, magnitude_aware=magnitude_aware)
    assert found.saturated is None
    assert 1 < found.high / found.low <= 1.02
    assert found.sigma == pytest.approx(math.sqrt(found.low * found.high), rel=1e-12)
    at_low = looped_drops(network, found.low, magnitude_aware=magnitude_aware)
    at_high = looped_drops(network, found.high, magnitude_aware=magnitude_aware)
    # one flip of one sample: the order of float32 sums may decide it
    slack = 1.01 / (10 * network.n)
    assert at_low.mean() < 0.1 + slack
    assert at_high.mean() >= 0.1 - slack
    assert at_low.mean() <= at_high.mean() + slack
    nearer = min((at_low, at_high), key=lambda drops: abs(drops.mean() - 0.1))
    assert found.drop == pytest.approx(nearer.mean(), abs=slack)


def test_the_standard_error_is_that_over_the_draws() -> None:
    """Standard deviation of the draws' falls of accuracy over the root of their number."""
    network = linear_classifier(3)
    found = sigma_search(network, draws=25)
    expected = {
        round(float(drops.mean()), 9): drops.std(ddof=1) / math.sqrt(25)
        for drops in (looped_drops(network, end, draws=25) for end in (found.low, found.high))
    }
    assert found.drop_error == pytest.approx(expected[round(found.drop, 9)], rel=1e-6)


def test_one_draw_has_no_standard_error_but_a_sigma() -> None:
    """A single noise vector is enough for a number."""
    network = linear_classifier(4)
    found = sigma_search(network, draws=1)
    assert found.draws == 1
    # not certain, as zero would say
    assert found.drop_error == found.relative_error == math.inf
    assert found.sigma == pytest.approx(known_sigma(network), rel=0.5)
    assert looped_drops(network, found.low, draws=1).mean() < 0.1


# Monte Carlo error


@either_noise
def test_the_relative_error_is_the_spread_over_seeds(magnitude_aware: bool) -> None:
    """Over 40 seeds of the noise, within a factor of 2 of what each search says of itself."""
    network = linear_classifier(7, bias=True)
    found = [
        sigma_search(with_randomness(network, seed), magnitude_aware=magnitude_aware)
        for seed in range(40)
    ]
    spread = np.std([math.log(one.sigma) for one in found], ddof=1)
    stated = np.mean([one.relative_error for one in found])
    assert spread / 2 < stated < 2 * spread
    expected = known_sigma(network, magnitude=magnitude_aware)
    centre = np.mean([math.log(one.sigma / expected) for one in found])
    assert abs(centre) < 4 * spread / math.sqrt(40) + 0.01


def test_more_draws_lower_the_relative_error_by_their_root() -> None:
    """Sixteen times as many draws, a quarter of the error."""
    network = linear_classifier(7)
    few, many = (
        np.mean(
            [
                sigma_search(with_randomness(network, seed), draws=draws).relative_error
                for seed in range(8)
            ]
        )
        for draws in (20, 320)
    )
    assert 2.7 < few / many < 6


@in_turn("share", np.geomspace(0.4, 2.5, 9).tolist())
@either_noise
def test_the_relative_error_is_known_wherever_sigma_lies(
    share: float, magnitude_aware: bool
) -> None:
    """Also right beside the sigmas that the search looks at first."""
    network = linear_classifier(8, bias=True)
    model = copy.deepcopy(network.model)
    assert isinstance(model, nn.Linear)
    if magnitude_aware:
        # a common part in both rows takes noise without changing the difference
        model.weight.data += 0.3 * share
    else:
        scale = share * 2.0**-4 / known_sigma(network)
        for parameter in model.parameters():
            parameter.data *= scale
    moved = replace(network, model=model)
    found = sigma_search(moved, magnitude_aware=magnitude_aware, draws=50)
    assert 0.003 < found.relative_error < 0.25
    expected = known_sigma(moved, magnitude=magnitude_aware)
    assert abs(math.log(found.sigma / expected)) < 5 * found.relative_error + 0.01


def test_the_relative_error_is_infinite_where_the_drop_is_flat() -> None:
    """Noise so large that the weights no longer count costs the same, however large it is."""
    found = sigma_search(saturated_high())
    assert found.relative_error == math.inf


# common random numbers


@every_network
@either_noise
def test_a_network_tolerates_the_same_noise_alone_and_in_a_stack(
    network_of: Callable[[], TrainedNetwork], magnitude_aware: bool
) -> None:
    """Whatever place it has, and whoever is beside it."""
    networks = []
    for place in range(3):
        network = network_of()
        for parameter in network.model.parameters():
            parameter.data *= 1 + place / 3
        networks.append(with_randomness(network, place))
    alone = [sigma_search(network, magnitude_aware=magnitude_aware).sigma for network in networks]
    for order in ([0, 1, 2], [2, 0], [1]):
        stack = NetworkStack.of_networks([networks[place] for place in order])
        together = tolerated_noise(stack, magnitude_aware=magnitude_aware)
        assert together.dtype == torch.float64
        assert together.tolist() == [alone[place] for place in order]


# saturation


def saturated_high() -> TrainedNetwork:
    """Return a network that is wrong about every sample, so that no noise makes it worse."""
    network = linear_classifier(0)
    return replace(network, labels=1 - network.labels)


def saturated_low(scale: float) -> TrainedNetwork:
    """Return a network with weights so small that the least noise drowns them."""
    return linear_classifier(0, scale=scale)


@either_noise
def test_a_network_that_noise_cannot_worsen_saturates_high(magnitude_aware: bool) -> None:
    """The search stops at the end of its range and says so."""
    found = sigma_search(saturated_high(), magnitude_aware=magnitude_aware)
    assert found.saturated == "high"
    assert found.sigma == LARGEST
    assert found.drop < 0.1


def test_a_network_at_chance_saturates_high() -> None:
    """With balanced labels that its inputs say nothing about, half right is as bad as it gets."""
    half = random_inputs(100, 12)
    model = randomize(nn.Linear(12, 2), 0)
    labels = torch.arange(2).repeat_interleave(100)
    found = sigma_search(sample_network(model, torch.cat([half, half]), labels))
    assert found.saturated == "high"
    assert found.drop == pytest.approx(0, abs=1e-12)


def test_plain_noise_saturates_only_for_weights_beyond_its_range() -> None:
    """At weights of 1e-12, even noise of 2^-30 is too much; large ones may tolerate 2^15."""
    assert sigma_search(saturated_low(1e-12)).saturated == "low"
    assert sigma_search(saturated_low(1e-7)).sigma == pytest.approx(
        known_sigma(saturated_low(1.0)) * 1e-7, rel=0.2
    )
    assert sigma_search(linear_classifier(0, scale=1e4)).saturated is None
    assert sigma_search(linear_classifier(0, scale=1e6)).saturated == "high"


@in_turn(
    "measure",
    [
        pac_bayes_magnitude_origin,
        pac_bayes_magnitude_initialization,
        pac_bayes_magnitude_flatness,
    ],
    ids=lambda measure: measure.__name__,
)
def test_magnitude_measures_are_undefined_where_epsilon_costs_too_much(
    measure: StackMeasure,
) -> None:
    """The message names the least noise in the range and what it costs."""
    weightless = saturated_low(1e-5)
    with pytest.raises(UndefinedMeasureError, match=r"costs more than 0\.1 of train acc") as error:
        measure.over_stack(NetworkStack.of_networks([linear_classifier(0), weightless]))
    assert error.value.place == 1
    assert "9.31323e-10" in str(error.value)
    cost = sigma_search(weightless, magnitude_aware=True).drop
    assert f"({cost:.3f})" in str(error.value)
    assert math.isfinite(pac_bayes_flatness(weightless))


def test_a_weightless_network_saturates_low_where_epsilon_is_enough() -> None:
    """Magnitude-aware noise has a floor, which drowns weights of a hundredth of it."""
    network = saturated_low(1e-5)
    assert known_drop(network, 0.0, magnitude_aware=True) > 0.3
    found = sigma_search(network, magnitude_aware=True)
    assert found.saturated == "low"
    assert found.sigma == SMALLEST
    assert found.drop == pytest.approx(looped_drops(network, 0.0, magnitude_aware=True).mean())
    assert sigma_search(network).saturated is None


@in_turn(
    "measure",
    [
        pac_bayes_origin,
        pac_bayes_initialization,
        pac_bayes_flatness,
        pac_bayes_magnitude_origin,
        pac_bayes_magnitude_initialization,
        pac_bayes_magnitude_flatness,
    ],
    ids=lambda measure: measure.__name__,
)
def test_measures_are_undefined_where_the_search_saturates(measure: StackMeasure) -> None:
    """The message says what happened and what to look at; the place is the network's."""
    right = linear_classifier(0)
    assert math.isfinite(measure(right))
    with pytest.raises(UndefinedMeasureError, match="near chance") as error:
        measure(saturated_high())
    assert "32768" in str(error.value)
    assert "costs less than 0.1 of train accuracy" in str(error.value)
    assert error.value.place == 0
    with pytest.raises(UndefinedMeasureError) as error:
        measure.over_stack(
            NetworkStack.of_networks([right, with_randomness(right, 9), saturated_high()])
        )
    assert error.value.place == 2


@in_turn("options", [{"draws": 0}, {"accuracy_drop": 0.0}, {"accuracy_drop": 1.0}], ids=repr)
def test_searches_that_mean_nothing_are_refused(options: dict[str, Any]) -> None:
    """The error names the values."""
    with pytest.raises(SettingsError, match=next(iter(options))):
        sigma_search(linear_classifier(0), **options)
