"""The tolerated noise against a known answer, against loops over modules, and where it ends."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy.optimize import brentq
from scipy.stats import norm
from torch import nn

from pytest_fragility.errors import UndefinedMeasureError
from pytest_fragility.families import Family
from pytest_fragility.measures import (
    StackMeasure,
    pac_bayes_flatness,
    pac_bayes_magnitude_flatness,
    pac_bayes_origin,
)
from pytest_fragility.measures.accuracies import accuracies_of
from pytest_fragility.measures.noise_search import NoiseSearch, sigma_search, tolerated_noise
from pytest_fragility.measures.tracing import relu_chain
from pytest_fragility.measures.vectors import parameter_vectors, split_vectors
from pytest_fragility.network_stacks import NetworkStack
from pytest_fragility.trained_networks import TrainedNetwork
from tests.sample_networks import labelled_by, perceptron, randomize, sample_network

Floats = npt.NDArray[np.float64]

FLOOR = 1e-3
LEAST, MOST = 2.0**-30, 2.0**15
STREAMS = {False: "noise", True: "magnitude-aware noise"}

either_noise = pytest.mark.parametrize("magnitude_aware", [False, True], ids=["plain", "magnitude"])


def normal_inputs(n: int, shape: tuple[int, ...], seed: int) -> torch.Tensor:
    """Return normal inputs in float32."""
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(n, *shape))).float()


def self_labelled(model: nn.Module, inputs: torch.Tensor, *, seed: int = 0) -> TrainedNetwork:
    """Return a network that is right about all of its samples."""
    return sample_network(model, inputs, labelled_by(model, inputs), seed=seed)


def linear_network(seed: int, *, bias: bool = False, d: int = 20, n: int = 400) -> TrainedNetwork:
    """Return a linear classifier of two classes that is right about all of its samples."""
    model = randomize(nn.Sequential(nn.Linear(d, 2, bias=bias)), seed)
    return self_labelled(model, normal_inputs(n, (d,), 1000 + seed), seed=seed)


def expected_flips(network: TrainedNetwork, sigma: float, *, magnitude_aware: bool) -> float:
    """Return the mean probability that noise turns the sign of a linear classifier's margin."""
    tensors = [parameter.detach().double().numpy() for parameter in network.model.parameters()]
    total = 0.0
    for x in network.inputs.double().numpy():
        margin, variance = float((tensors[0][1] - tensors[0][0]) @ x), 0.0
        for row in tensors[0]:
            spread = sigma**2 * row**2 + FLOOR**2 if magnitude_aware else sigma**2 + 0 * row
            variance += float(spread @ x**2)
        if len(tensors) == 2:
            margin += float(tensors[1][1] - tensors[1][0])
            for bias in tensors[1]:
                variance += float(sigma**2 * bias**2 + FLOOR**2 if magnitude_aware else sigma**2)
        total += float(norm.cdf(-abs(margin) / math.sqrt(variance)))
    return total / network.n


def expected_sigma(network: TrainedNetwork, *, magnitude_aware: bool) -> float:
    """Return the sigma at which a tenth of the samples flips on average."""

    def surplus(log_sigma: float) -> float:
        flips = expected_flips(network, math.exp(log_sigma), magnitude_aware=magnitude_aware)
        return flips - 0.1

    return math.exp(float(brentq(surplus, -8.0, 5.0, xtol=1e-6)))


def accuracy(model: nn.Module, network: TrainedNetwork) -> float:
    """Return the fraction of samples that a module classifies as labelled."""
    with torch.no_grad():
        return float((model(network.inputs).argmax(dim=1) == network.labels).double().mean())


def noise_vectors(network: TrainedNetwork, *, magnitude_aware: bool, draws: int) -> torch.Tensor:
    """Return the noise that the search draws: one row over all parameters per draw."""
    generator = NetworkStack.of_network(network).generator(0, STREAMS[magnitude_aware])
    length = sum(parameter.numel() for parameter in network.model.parameters())
    return torch.randn(draws, length, generator=generator)


def drops_by_loop(
    network: TrainedNetwork, sigma: float, *, magnitude_aware: bool = False, draws: int = 10
) -> Floats:
    """Return the drop of train accuracy under each draw, from noisy copies of the module."""
    drops = []
    for row in noise_vectors(network, magnitude_aware=magnitude_aware, draws=draws):
        noisy, start = copy.deepcopy(network.model), 0
        with torch.no_grad():
            for parameter in noisy.parameters():
                noise = row[start : start + parameter.numel()].reshape(parameter.shape)
                start += parameter.numel()
                if magnitude_aware:
                    noise = noise * torch.sqrt(sigma**2 * parameter**2 + FLOOR**2)
                else:
                    noise = noise * sigma
                parameter.add_(noise)
        drops.append(accuracy(network.model, network) - accuracy(noisy, network))
    return np.array(drops)


def one_flip(network: TrainedNetwork, draws: int = 10) -> float:
    """Return what one sample under one draw changes: rounding may tip it."""
    return 1 / (network.n * draws) + 1e-12


def perceptron_network(seed: int = 0, *, bias: bool = True) -> TrainedNetwork:
    """Return a ReLU perceptron that is right about its samples."""
    model = randomize(perceptron([5, 8, 6, 3], bias=bias), seed)
    return self_labelled(model, normal_inputs(70, (5,), seed), seed=seed)


def imperfect_network() -> TrainedNetwork:
    """Return a ReLU perceptron that is wrong about some of its samples."""
    network = perceptron_network(4)
    labels = network.labels.clone()
    labels[:7] = (labels[:7] + 1) % 3
    return sample_network(network.model, network.inputs, labels)


def normalized_network(seed: int = 0) -> TrainedNetwork:
    """Return a perceptron with batch normalization and random statistics."""
    layers = [nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3)]
    return self_labelled(randomize(nn.Sequential(*layers), seed), normal_inputs(70, (5,), seed))


def convolutional_network(seed: int = 0) -> TrainedNetwork:
    """Return a convolutional network with pooling."""
    layers = [nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16, 3)]
    model = randomize(nn.Sequential(*layers), seed)
    return self_labelled(model, normal_inputs(60, (1, 6, 6), seed))


PERCEPTRONS: dict[str, Callable[[], TrainedNetwork]] = {
    "linear": lambda: linear_network(3, bias=True, d=6, n=70),
    "perceptron": perceptron_network,
    "without biases": lambda: perceptron_network(2, bias=False),
    "imperfect": imperfect_network,
}
OTHERS: dict[str, Callable[[], TrainedNetwork]] = {
    "normalized": normalized_network,
    "convolutional": convolutional_network,
}
NETWORKS = {**PERCEPTRONS, **OTHERS}

every_perceptron = pytest.mark.parametrize("network_of", PERCEPTRONS.values(), ids=PERCEPTRONS)
every_network = pytest.mark.parametrize("network_of", NETWORKS.values(), ids=NETWORKS)


# a known answer


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("bias", [False, True], ids=["without bias", "with bias"])
@either_noise
def test_a_linear_classifier_tolerates_the_known_noise(
    seed: int, bias: bool, magnitude_aware: bool
) -> None:
    """The sigma at which samples flip with probability 0.1 on average."""
    network = linear_network(seed, bias=bias)
    expected = expected_sigma(network, magnitude_aware=magnitude_aware)
    found = sigma_search(network, magnitude_aware=magnitude_aware, draws=400)
    distance = abs(math.log(found.sigma / expected))
    assert found.saturated is None and found.draws == 400
    assert distance < 0.05
    assert distance < 5 * found.relative_error


def test_plain_noise_on_a_linear_classifier_has_a_closed_form() -> None:
    """With one sample size of margin over norm, Phi(-r / (sigma sqrt 2)) = 0.1 gives sigma."""
    model = nn.Sequential(nn.Linear(50, 2, bias=False))
    model[0].weight.data = torch.stack([torch.full((50,), -0.5), torch.full((50,), 0.5)])
    # unit vectors: each margin is 1, as is each norm
    inputs = torch.eye(50)
    network = self_labelled(model, inputs)
    expected = -1 / (math.sqrt(2) * float(norm.ppf(0.1)))
    assert expected_sigma(network, magnitude_aware=False) == pytest.approx(expected, rel=1e-4)
    assert sigma_search(network, draws=400).sigma == pytest.approx(expected, rel=0.05)


@either_noise
def test_a_bias_gets_noise_too(magnitude_aware: bool) -> None:
    """Inputs are so small that noise on the matrix alone would have to be far larger."""
    model = randomize(nn.Sequential(nn.Linear(6, 2)), 0)
    model[0].bias.data = torch.tensor([0.5, 1.0])
    network = self_labelled(model, 0.01 * normal_inputs(200, (6,), 0))
    found = sigma_search(network, magnitude_aware=magnitude_aware, draws=2000)
    expected = expected_sigma(network, magnitude_aware=magnitude_aware)
    assert found.sigma == pytest.approx(expected, rel=0.08)


# bracket and noise vectors


@every_network
@either_noise
def test_noise_at_low_costs_less_than_the_target_and_noise_at_high_more(
    network_of: Callable[[], TrainedNetwork], magnitude_aware: bool
) -> None:
    """As seen by noisy copies of the module, with the noise vectors of the search."""
    network = network_of()
    found = sigma_search(network, magnitude_aware=magnitude_aware)
    assert found.saturated is None
    assert 1 < found.high / found.low <= 1.02
    assert found.low < found.sigma < found.high
    means = [
        drops_by_loop(network, end, magnitude_aware=magnitude_aware).mean()
        for end in (found.low, found.high)
    ]
    slack = one_flip(network)
    assert means[0] < 0.1 + slack
    assert means[1] >= 0.1 - slack
    assert min(abs(mean - found.drop) for mean in means) <= slack


@every_network
def test_the_drop_error_is_the_standard_error_over_the_draws(
    network_of: Callable[[], TrainedNetwork],
) -> None:
    """Of the drops at the end that is nearer to the target."""
    network = network_of()
    found = sigma_search(network, draws=25)
    errors = {}
    for end in (found.low, found.high):
        drops = drops_by_loop(network, end, draws=25)
        errors[abs(float(drops.mean()) - found.drop)] = float(drops.std(ddof=1)) / 5
    assert found.drop_error == pytest.approx(errors[min(errors)], rel=0.02)


@every_perceptron
def test_the_fast_path_of_perceptrons_counts_as_their_modules_do(
    network_of: Callable[[], TrainedNetwork],
) -> None:
    """Under each of the noise vectors, at both ends of the bracket and far beyond."""
    network = network_of()
    assert relu_chain(network.model) is not None
    found = sigma_search(network)
    stack = NetworkStack.of_network(network)
    (counter,) = accuracies_of(stack)
    row = parameter_vectors(stack).float()
    noise = noise_vectors(network, magnitude_aware=False, draws=10)
    own = accuracy(network.model, network)
    with torch.no_grad():
        assert counter.of(split_vectors(stack, row)).tolist() == [pytest.approx(own, abs=1e-12)]
        for sigma in (found.low, found.high, found.high * 8, found.low / 8, found.low):
            expected = drops_by_loop(network, sigma)
            noisy = split_vectors(stack, row + sigma * noise)
            weights, noise_parts = split_vectors(stack, row), split_vectors(stack, noise)
            for accuracies in (
                counter.along(weights, noise_parts, sigma, noisy),
                counter.of(noisy),
            ):
                differences = own - accuracies.numpy() - expected
                assert np.abs(differences).sum() <= 1 / network.n + 1e-12


@pytest.mark.parametrize("network_of", OTHERS.values(), ids=OTHERS)
def test_networks_of_any_structure_are_counted_as_their_modules_do(
    network_of: Callable[[], TrainedNetwork],
) -> None:
    """They are no ReLU chain, and take the general path."""
    network = network_of()
    assert relu_chain(network.model) is None
    found = sigma_search(network)
    stack = NetworkStack.of_network(network)
    (counter,) = accuracies_of(stack)
    noise = noise_vectors(network, magnitude_aware=False, draws=10)
    own = accuracy(network.model, network)
    for sigma in (found.low, found.high, found.high * 8):
        with torch.no_grad():
            noisy = split_vectors(stack, parameter_vectors(stack).float() + sigma * noise)
            accuracies = counter.of(noisy)
        differences = own - accuracies.numpy() - drops_by_loop(network, sigma)
        assert np.abs(differences).sum() <= 1 / network.n + 1e-12


def test_the_drop_counts_from_the_accuracy_that_the_network_has() -> None:
    """A network that is right about nine in ten is not asked to fall to 0.9."""
    network = imperfect_network()
    assert network.train_error == pytest.approx(0.1)
    found = sigma_search(network)
    assert accuracy(network.model, network) - drops_by_loop(network, found.low).mean() > 0.75


# determinism and stacks


@every_network
@either_noise
def test_the_search_is_deterministic(
    network_of: Callable[[], TrainedNetwork], magnitude_aware: bool
) -> None:
    """The same network gives the same result, whatever the global generator's state."""
    results: list[NoiseSearch] = []
    for state in (0, 1):
        torch.manual_seed(state)
        results.append(sigma_search(network_of(), magnitude_aware=magnitude_aware))
    assert results[0] == results[1]


@every_network
@either_noise
def test_the_global_generator_is_left_alone(
    network_of: Callable[[], TrainedNetwork], magnitude_aware: bool
) -> None:
    """As are the network's own generator and its parameters."""
    network = network_of()
    parameters = [parameter.detach().clone() for parameter in network.model.parameters()]
    state, own_state = torch.random.get_rng_state(), network.rng.get_state()
    sigma_search(network, magnitude_aware=magnitude_aware)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(network.rng.get_state(), own_state)
    for before, after in zip(parameters, network.model.parameters(), strict=True):
        assert torch.equal(before, after)


@either_noise
def test_networks_of_a_family_tolerate_the_same_in_a_stack_as_alone(
    small_family: Family, magnitude_aware: bool
) -> None:
    """Each with noise of its own, and as `sigma_search` says."""
    stack = small_family.stack("baseline", 32)
    networks = list(small_family.select(recipe="baseline", n=32))
    together = tolerated_noise(stack, magnitude_aware=magnitude_aware).tolist()
    alone = [
        float(tolerated_noise(NetworkStack.of_network(one), magnitude_aware=magnitude_aware)[0])
        for one in networks
    ]
    searched = [sigma_search(one, magnitude_aware=magnitude_aware) for one in networks]
    assert len(together) == 3 and len(set(together)) == 3
    assert together == alone == [found.sigma for found in searched]
    assert all(1 < found.high / found.low <= 1.02 for found in searched)


@pytest.mark.parametrize("network_of", OTHERS.values(), ids=OTHERS)
def test_other_networks_tolerate_the_same_in_a_stack_as_alone(
    network_of: Callable[[int], TrainedNetwork],
) -> None:
    """Weights, buffers, samples and noise are each network's own."""
    networks = [network_of(seed) for seed in range(3)]
    together = tolerated_noise(NetworkStack.of_networks(networks)).tolist()
    assert together == [sigma_search(one).sigma for one in networks]


# saturation


def at_chance() -> TrainedNetwork:
    """Return a network of zeros: every sample lies with its negative, of the same label.

    Whatever the weights, a linear classifier is right about just one of the two.
    """
    model = nn.Sequential(nn.Linear(4, 2, bias=False))
    model[0].weight.data.zero_()
    half = normal_inputs(50, (4,), 0)
    labels = torch.from_numpy(np.random.default_rng(0).permutation(np.arange(50) % 2))
    return sample_network(model, torch.cat([half, -half]), torch.cat([labels, labels]))


def drowned() -> TrainedNetwork:
    """Return a network of weights so small that the least magnitude-aware noise drowns them."""
    model = randomize(nn.Sequential(nn.Linear(4, 2, bias=False)), 0, scale=1e-6)
    return self_labelled(model, normal_inputs(100, (4,), 0))


def sound() -> TrainedNetwork:
    """Return a network that stacks with the others and saturates nothing."""
    return linear_network(0, d=4, n=100)


@either_noise
def test_a_network_at_chance_saturates_above(magnitude_aware: bool) -> None:
    """No noise costs it anything, and the largest is what is reported."""
    network = at_chance()
    assert accuracy(network.model, network) == 0.5
    found = sigma_search(network, magnitude_aware=magnitude_aware)
    assert found.saturated == "high"
    assert found.sigma == found.low == found.high == MOST
    assert found.drop == pytest.approx(0, abs=1e-12)
    assert found.relative_error == math.inf


def test_weights_below_the_floor_of_magnitude_aware_noise_saturate_below() -> None:
    """Noise of 0.001 costs more than the target already; plain noise can be small enough."""
    found = sigma_search(drowned(), magnitude_aware=True)
    assert found.saturated == "low"
    assert found.sigma == found.low == found.high == LEAST
    assert found.drop > 0.3
    plain = sigma_search(drowned())
    assert plain.saturated is None
    assert plain.sigma == pytest.approx(
        1e-6 * sigma_search(self_labelled(scaled_up(), drowned().inputs)).sigma, rel=0.05
    )


def scaled_up() -> nn.Module:
    """Return the drowned network's module with weights of the usual size."""
    return randomize(nn.Sequential(nn.Linear(4, 2, bias=False)), 0)


@pytest.mark.parametrize(
    "measure", [pac_bayes_flatness, pac_bayes_origin], ids=lambda m: m.__name__
)
def test_measures_of_a_network_at_chance_are_undefined(measure: StackMeasure) -> None:
    """They say so in terms of sigma, and which network of a stack it is."""
    with pytest.raises(UndefinedMeasureError, match=r"sigma = 32768.* less") as alone:
        measure(at_chance())
    assert alone.value.place == 0
    stack = NetworkStack.of_networks([sound(), sound(), at_chance(), sound()])
    with pytest.raises(UndefinedMeasureError, match="sigma") as together:
        measure.over_stack(stack)
    assert together.value.place == 2


def test_magnitude_aware_measures_of_drowned_weights_are_undefined() -> None:
    """The other way round: the least noise costs more."""
    stack = NetworkStack.of_networks([sound(), drowned()])
    with pytest.raises(UndefinedMeasureError, match=r"sigma.* more") as together:
        pac_bayes_magnitude_flatness.over_stack(stack)
    assert together.value.place == 1
    assert np.isfinite(pac_bayes_flatness.over_stack(stack)).all()


# Monte Carlo error


@pytest.mark.parametrize(
    "network_of",
    [lambda seed: linear_network(7, d=10, n=200), lambda seed: perceptron_network(3)],
    ids=["linear", "perceptron"],
)
@either_noise
def test_the_relative_error_is_the_spread_over_seeds(
    network_of: Callable[[int], TrainedNetwork], magnitude_aware: bool
) -> None:
    """Thirty networks that differ in nothing but the seed of their noise."""
    template = network_of(0)
    found = [
        sigma_search(
            sample_network(template.model, template.inputs, template.labels, seed=seed),
            magnitude_aware=magnitude_aware,
        )
        for seed in range(30)
    ]
    spread = float(np.std([math.log(each.sigma) for each in found], ddof=1))
    claimed = float(np.mean([each.relative_error for each in found]))
    assert spread > 0.02
    assert 1 / 2.5 < spread / claimed < 2.5


def test_the_relative_error_falls_with_the_root_of_the_draws() -> None:
    """Sixteen times the draws, a quarter of the error."""
    network = linear_network(7, d=10, n=200)
    few, many = (sigma_search(network, draws=draws).relative_error for draws in (100, 1600))
    assert few / many == pytest.approx(4, rel=0.25)
