"""PAC-Bayes measures as published, against the published algorithm written out in a loop."""

from __future__ import annotations

import copy
import functools
import inspect
import math
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from scipy.optimize import brentq
from scipy.stats import norm
from torch import nn

from pytest_fragility.errors import UndefinedMeasureError
from pytest_fragility.measures import (
    StackMeasure,
    pac_bayes_flatness,
    pac_bayes_flatness_as_published,
    pac_bayes_initialization,
    pac_bayes_initialization_as_published,
    pac_bayes_magnitude_flatness,
    pac_bayes_magnitude_flatness_as_published,
    pac_bayes_magnitude_initialization,
    pac_bayes_magnitude_initialization_as_published,
    pac_bayes_magnitude_origin,
    pac_bayes_magnitude_origin_as_published,
    pac_bayes_origin,
    pac_bayes_origin_as_published,
)
from pytest_fragility.measures.pac_bayes.noise_search import sigma_search
from pytest_fragility.measures.pac_bayes.noise_search_as_published import published_sigma
from pytest_fragility.networks.stacks import NetworkStack
from pytest_fragility.networks.trained_network import TrainedNetwork
from tests.in_turn import in_turn
from tests.measures.pac_bayes.networks import EPSILON, MODELS, bound_by_loop, network_of
from tests.sample_networks import labelled_by, randomize, sample_network

LARGEST_AFTER_HALVINGS = 2 - 2.0**-14
PURPOSES = {False: "published noise", True: "published magnitude-aware noise"}

DEFAULTS: dict[StackMeasure, StackMeasure] = {
    pac_bayes_origin_as_published: pac_bayes_origin,
    pac_bayes_initialization_as_published: pac_bayes_initialization,
    pac_bayes_flatness_as_published: pac_bayes_flatness,
    pac_bayes_magnitude_origin_as_published: pac_bayes_magnitude_origin,
    pac_bayes_magnitude_initialization_as_published: pac_bayes_magnitude_initialization,
    pac_bayes_magnitude_flatness_as_published: pac_bayes_magnitude_flatness,
}
MAGNITUDE_AWARE = tuple(measure for measure in DEFAULTS if "magnitude" in measure.__name__)

every_measure = in_turn("measure", DEFAULTS, ids=lambda m: m.__name__)
either_noise = in_turn("magnitude_aware", [False, True], ids=["plain", "magnitude"])


# the published algorithm


@dataclass(frozen=True)
class Search:
    """What the loop below found, and how."""

    sigma: float
    halvings: int
    drop: float


def folded(model: nn.Module) -> nn.Module:
    """Return a copy with each normalization folded into the layer before it, in place."""
    copied = copy.deepcopy(model)
    before: nn.Module | None = None
    for child in copied.modules():
        if isinstance(child, nn.Linear | nn.Conv2d):
            before = child
        elif isinstance(child, nn.BatchNorm1d | nn.BatchNorm2d):
            assert isinstance(before, nn.Linear | nn.Conv2d) and before.bias is not None
            assert child.running_mean is not None and child.running_var is not None
            for output in range(child.num_features):
                deviation = math.sqrt(float(child.running_var[output]) + child.eps)
                scale = child.weight.data[output].item() / deviation
                shift = before.bias.data[output].item() - child.running_mean[output].item()
                before.bias.data[output] = child.bias.data[output].item() + scale * shift
                before.weight.data[output] *= scale
            child.weight.data.fill_(1)
            child.bias.data.fill_(0)
            child.running_mean.fill_(0)
            child.running_var.fill_(1)
    return copied


def accuracy_of(model: nn.Module, network: TrainedNetwork) -> float:
    """Return the fraction of samples whose largest logit is the label's."""
    with torch.no_grad():
        predictions = np.argmax(model(network.inputs).numpy(), axis=1)
    return float((predictions == network.labels.numpy()).mean())


@functools.cache
def searched(network: TrainedNetwork, *, magnitude_aware: bool) -> Search:
    """Run the published search with noise from the stream that the package takes it from.

    One normal for each parameter of the first draw, then of the second, and so on, anew at each
    step; a deep copy of the module per draw.
    """
    model = folded(network.model)
    generator = NetworkStack.of_network(network).generator(0, PURPOSES[magnitude_aware])
    own = accuracy_of(model, network)
    low, high, halvings, sigma, drop = 0.0, 2.0, 0, 1.0, 0.0
    while halvings < 15:
        halvings += 1
        sigma = (low + high) / 2
        copies = [copy.deepcopy(model) for _ in range(10)]
        count = sum(parameter.numel() for parameter in model.parameters())
        for noisy, row in zip(copies, torch.randn(10, count, generator=generator), strict=True):
            parts = row.split([parameter.numel() for parameter in noisy.parameters()])
            for parameter, part in zip(noisy.parameters(), parts, strict=True):
                normal = part.view_as(parameter)
                # what the formulas call a variance
                deviation = torch.full_like(normal, sigma**2)
                if magnitude_aware:
                    deviation = sigma**2 * parameter.data.abs() ** 2 + EPSILON**2
                parameter.data += deviation * normal
        drop = abs(float(np.mean([accuracy_of(noisy, network) for noisy in copies])) - own)
        if abs(drop - 0.1) < 0.01:
            break
        if drop > 0.1:
            high = sigma
        else:
            low = sigma
    return Search(sigma, halvings, drop)


def weights_of(model: nn.Module) -> list[float]:
    """Return the entries of all folded weight matrices and kernels, without biases."""
    return [
        entry
        for layer in folded(model).modules()
        if isinstance(layer, nn.Linear | nn.Conv2d)
        for entry in layer.weight.double().flatten().tolist()
    ]


def published_value(measure: StackMeasure, network: TrainedNetwork) -> float:
    """Return a measure from the loop above and the formulas, one weight at a time."""
    is_magnitude_aware = measure in MAGNITUDE_AWARE
    sigma = searched(network, magnitude_aware=is_magnitude_aware).sigma
    if "flatness" in measure.__name__:
        return sigma**-2
    trained, initial = weights_of(network.model), weights_of(network.initial_model)
    changes = [after - before for after, before in zip(trained, initial, strict=True)]
    squared = sum(entry**2 for entry in (changes if "initial" in measure.__name__ else trained))
    return bound_by_loop(
        squared, sigma, len(network.labels), changes=changes if is_magnitude_aware else None
    )


every_model = in_turn("name", [name for name in MODELS if name != "layer normalized"])


@functools.cache
def unchanged_network_of(name: str, seed: int) -> TrainedNetwork:
    """Return `network_of`, built and searched once for all tests that leave it as it is."""
    return network_of(name, seed=seed)


def linear_classifier(*, scale: float, seed: int = 0) -> TrainedNetwork:
    """Return a linear network without bias for two classes, right about its 600 samples."""
    model = randomize(nn.Linear(20, 2, bias=False), seed, scale=scale)
    inputs = torch.from_numpy(np.random.default_rng(seed + 1).normal(size=(600, 20))).float()
    return sample_network(model, inputs, labelled_by(model, inputs), seed=seed)


def known_deviation(network: TrainedNetwork, drop: float) -> float:
    """Return the noise's standard deviation that costs a linear classifier this accuracy."""
    linear = network.model
    assert isinstance(linear, nn.Linear)
    rows, samples = linear.weight.detach().double().numpy(), network.inputs.double().numpy()
    ratios = np.abs(samples @ (rows[1] - rows[0])) / np.linalg.norm(samples, axis=1)

    def surplus(deviation: float) -> float:
        return float(norm.cdf(-ratios / (deviation * math.sqrt(2))).mean()) - drop

    return float(brentq(surplus, 1e-5, 1e3))


def sigma_of(network: TrainedNetwork, *, magnitude_aware: bool = False) -> float:
    """Return sigma as the measure of flatness has it."""
    measure = pac_bayes_flatness_as_published
    if magnitude_aware:
        measure = pac_bayes_magnitude_flatness_as_published
    return measure(network) ** -0.5


# the same numbers


@every_measure
@every_model
def test_measures_are_those_of_the_published_algorithm(measure: StackMeasure, name: str) -> None:
    """Given the same normals, to the precision of float32."""
    for seed in range(3):
        network = unchanged_network_of(name, seed)
        assert measure(network) == pytest.approx(published_value(measure, network), rel=2e-6)


@in_turn("name", ["perceptron", "normalized", "convolutional"])
@either_noise
def test_sigma_is_the_published_search_for_weights_of_any_size(
    name: str, magnitude_aware: bool
) -> None:
    """A point of the bisection's grid, the same as in a loop, however long the search."""
    halvings = set()
    for scale in (0.02, 0.1, 0.5, 2.0):
        network = network_of(name, seed=4, scale=scale)
        expected = searched(network, magnitude_aware=magnitude_aware)
        assert sigma_of(network, magnitude_aware=magnitude_aware) == pytest.approx(
            expected.sigma, rel=1e-12
        )
        assert (expected.sigma * 2**14).is_integer()
        halvings.add(expected.halvings)
    assert len(halvings) > 1


@either_noise
def test_networks_in_a_stack_have_noise_of_their_own(magnitude_aware: bool) -> None:
    """The same network with the same samples, but for its seed: each as if it were alone."""
    network = network_of("normalized")
    networks = [
        replace(network, rng=torch.Generator().manual_seed(seed)) for seed in (5, 6, 7, 8, 9)
    ]
    stack = NetworkStack.of_networks(networks)
    together = published_sigma(stack, magnitude_aware=magnitude_aware).tolist()
    expected = [searched(one, magnitude_aware=magnitude_aware).sigma for one in networks]
    assert together == pytest.approx(expected, rel=1e-12)
    assert len(set(expected)) > 1


def test_networks_in_double_precision_are_searched_like_others() -> None:
    """The noisy passes are in float32, whatever the network is in."""
    for name in ("perceptron", "normalized", "convolutional"):
        network = network_of(name)
        model, inputs = copy.deepcopy(network.model).double(), network.inputs.double()
        assert sigma_of(replace(network, model=model, inputs=inputs)) == sigma_of(network)


# what differs from the formulas


@in_turn("scale", [0.1, 0.4, 2.0])
@in_turn("seed", range(2))
def test_sigma_is_the_root_of_the_noises_standard_deviation(scale: float, seed: int) -> None:
    """The known answer of a linear classifier: between the deviations that cost 0.09 and 0.11.

    The mean over ten draws may be off by a few of its standard errors, of about 0.01, besides.
    """
    network = linear_classifier(scale=scale, seed=seed)
    low, high = known_deviation(network, 0.06), known_deviation(network, 0.14)
    assert low < sigma_of(network) ** 2 < high
    deviation = known_deviation(network, 0.1)
    assert sigma_of(network) == pytest.approx(math.sqrt(deviation), rel=0.25)
    assert sigma_search(network).sigma == pytest.approx(deviation, rel=0.3)


def test_magnitude_aware_noise_has_the_variance_for_a_standard_deviation() -> None:
    """Where all weights are 1 or -1, noise of sigma^2 |w|^2 + e^2 is plain noise of sigma^2."""
    model = nn.Linear(20, 2, bias=False)
    generator = np.random.default_rng(0)
    model.weight.data = torch.from_numpy(generator.choice([-1.0, 1.0], size=(2, 20))).float()
    inputs = torch.from_numpy(generator.normal(size=(600, 20))).float()
    network = sample_network(model, inputs, labelled_by(model, inputs))
    sigma = sigma_of(network, magnitude_aware=True)
    assert known_deviation(network, 0.06) < sigma**2 < known_deviation(network, 0.14)
    for factor in (0.5, 3.0):
        doubled = copy.deepcopy(model)
        doubled.weight.data *= factor
        other = replace(network, model=doubled)
        # sigma^2 |w|^2 relative to |w|: no longer does the scale cancel, as it should
        deviation = sigma_of(other, magnitude_aware=True) ** 2 * factor
        assert known_deviation(network, 0.06) < deviation < known_deviation(network, 0.14)


@every_measure
@in_turn("name", ["perceptron", "normalized"])
def test_the_defaults_are_not_the_published_ones(measure: StackMeasure, name: str) -> None:
    """They follow the formulas instead, at some distance."""
    network = unchanged_network_of(name, 0)
    assert measure(network) != pytest.approx(DEFAULTS[measure](network), rel=0.05)


def test_the_drop_has_no_sign() -> None:
    """A network that is wrong about every sample gains accuracy by noise, and that counts."""
    network = linear_classifier(scale=0.4)
    wrong = replace(network, labels=1 - network.labels)
    assert sigma_of(wrong) == pytest.approx(sigma_of(network), rel=1e-12)
    assert sigma_search(wrong).saturated == "high"


@every_measure
def test_a_search_that_saturates_above_gives_a_number_all_the_same(measure: StackMeasure) -> None:
    """Weights so large that noise of standard deviation 4 costs nothing: sigma is nearly 2."""
    network = linear_classifier(scale=1e4)
    # of magnitude-aware noise, the deviation grows with |w|^2; shrink it by a common factor
    if measure in MAGNITUDE_AWARE:
        network = linear_classifier(scale=1e-2)
        assert isinstance(network.model, nn.Linear)
        network.model.weight.data = network.model.weight.data.round(decimals=2).sign() * 1e-2
        network = replace(network, labels=labelled_by(network.model, network.inputs))
    sigma = sigma_of(network, magnitude_aware=measure in MAGNITUDE_AWARE)
    assert sigma == pytest.approx(LARGEST_AFTER_HALVINGS, rel=1e-12)
    assert math.isfinite(measure(network))
    assert measure(network) == pytest.approx(published_value(measure, network), rel=2e-6)
    # the default finds the noise that does cost 0.1
    assert DEFAULTS[measure](network) != pytest.approx(measure(network), rel=0.05)


@every_measure
def test_a_search_that_saturates_below_gives_a_number_all_the_same(measure: StackMeasure) -> None:
    """Weights of 1e-12, which the least noise drowns: sigma is the last of the halvings."""
    network = linear_classifier(scale=1e-12)
    sigma = sigma_of(network, magnitude_aware=measure in MAGNITUDE_AWARE)
    assert sigma == pytest.approx(2.0**-14, rel=1e-12)
    assert math.isfinite(measure(network))
    with pytest.raises(UndefinedMeasureError):
        DEFAULTS[measure](network)


# normalization


@every_measure
def test_rescaled_normalization_changes_nothing_once_it_is_folded(measure: StackMeasure) -> None:
    """A layer four times as large, whose normalization divides by as much, folds to the same.

    The default, which takes parameters as they stand, tells the two apart.
    """
    network = network_of("normalized")
    other_model = copy.deepcopy(network.model)
    # epsilon would not scale along
    for model in (network.model, other_model):
        assert isinstance(model, nn.Sequential)
        model[1].eps = 0.0
    assert isinstance(other_model, nn.Sequential)
    layer, normalization = other_model[0], other_model[1]
    for tensor in (layer.weight.data, layer.bias.data, normalization.running_mean):
        tensor.mul_(4)
    normalization.running_var *= 16
    other = replace(network, model=other_model)
    torch.testing.assert_close(other_model(network.inputs), network.model(network.inputs))
    assert measure(other) == pytest.approx(measure(network), rel=2e-6)
    # noise relative to each weight is all the same to this one
    if measure is not pac_bayes_magnitude_flatness_as_published:
        assert DEFAULTS[measure](other) != pytest.approx(DEFAULTS[measure](network), rel=1e-3)


@every_measure
def test_normalization_that_no_weight_can_hold_is_refused(measure: StackMeasure) -> None:
    """Layer normalization divides by a statistic of each sample."""
    network = network_of("layer normalized")
    with pytest.raises(UndefinedMeasureError, match="cannot be folded"):
        measure(network)
    assert math.isfinite(DEFAULTS[measure](network))


def test_normalization_is_folded_before_noise_and_norm() -> None:
    """A network that computes the same with no normalization has the same norm, not its noise."""
    network = network_of("normalized")
    plain = copy.deepcopy(folded(network.model))
    assert isinstance(plain, nn.Sequential)
    plain[1] = nn.Identity()
    without = replace(network, model=plain)
    torch.testing.assert_close(plain(network.inputs), network.model(network.inputs))
    norms = [
        4 * sigma_of(one) ** 2 * (pac_bayes_origin_as_published(one) - bound_rest(one))
        for one in (network, without)
    ]
    assert norms[0] == pytest.approx(norms[1], rel=1e-5)
    assert norms[0] == pytest.approx(sum(entry**2 for entry in weights_of(network.model)), rel=1e-5)


def bound_rest(network: TrainedNetwork) -> float:
    """Return what a bound holds besides the norm."""
    return math.log(len(network.labels) / sigma_of(network)) + 10


@every_measure
@in_turn(
    "layers",
    [
        [nn.Conv2d(1, 3, 3, bias=False), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(27, 3)],
        [nn.Flatten(), nn.Linear(25, 6, bias=False), nn.BatchNorm1d(6), nn.Linear(6, 3)],
    ],
    ids=["convolution", "linear layer"],
)
def test_normalization_behind_a_layer_without_bias_is_refused(
    measure: StackMeasure, layers: list[nn.Module]
) -> None:
    """There is nothing to fold the shift into; the message says which layer, and what to take."""
    model = randomize(nn.Sequential(*copy.deepcopy(layers)), 0)
    inputs = torch.from_numpy(np.random.default_rng(0).normal(size=(50, 1, 5, 5))).float()
    initial = randomize(copy.deepcopy(model), 1)
    network = sample_network(model, inputs, labelled_by(model, inputs), initial_model=initial)
    with pytest.raises(UndefinedMeasureError, match=r"into the bias of layer [01], which has none"):
        measure(network)
    with pytest.raises(UndefinedMeasureError, match="without _as_published"):
        measure(network)
    assert math.isfinite(DEFAULTS[measure](network))


@in_turn("shares", ["weight", "bias"])
def test_shared_parameters_cannot_be_folded(shares: str) -> None:
    """Each of the layers has a normalization of its own, and they have one parameter."""
    first, second = nn.Linear(3, 3), nn.Linear(3, 3)
    setattr(second, shares, getattr(first, shares))
    model = nn.Sequential(first, nn.BatchNorm1d(3), nn.ReLU(), second, nn.BatchNorm1d(3))
    network = sample_network(model, torch.randn(20, 3), torch.arange(20) % 3)
    with pytest.raises(UndefinedMeasureError, match=f"shares its {shares}"):
        pac_bayes_flatness_as_published(network)


# names


@every_measure
def test_name_source_and_docstring_tell_the_published_variant(measure: StackMeasure) -> None:
    """Nobody can take one for the other; each says what differs, or which measure says so."""
    default = DEFAULTS[measure]
    assert measure.__name__ == f"{default.__name__}_as_published"
    assert "published" in measure.source and "published" not in default.source
    assert default.source in measure.source
    said = inspect.getdoc(measure) or ""
    summary = f"Return `{default.__name__}` as published code computes it."
    assert said.splitlines()[0] == summary
    deviation = "s^2 |w|^2 + e^2" if measure in MAGNITUDE_AWARE else "sigma^2"
    differences = [f"noise of standard deviation {deviation}", "(0, 2]", "weight matrices alone"]
    if "origin" not in measure.__name__:
        kind = "magnitude_" if measure in MAGNITUDE_AWARE else ""
        differences = [f"`pac_bayes_{kind}origin_as_published`"]
    assert [part for part in differences if part not in " ".join(said.split())] == []
