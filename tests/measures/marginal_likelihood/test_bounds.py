"""The function-based bound: what of data and architecture enters, and in which form."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

from pytest_fragility.errors import UndefinedMeasureError
from pytest_fragility.families.family import Family
from pytest_fragility.measures import (
    log_evidence,
    marginal_likelihood_bound,
    marginal_likelihood_bound_as_published,
    negative_log_evidence,
    negative_log_evidence_probit,
    prior_kernel,
    relu_kernel,
    sum_of_one_vs_rest_negative_log_evidences,
)
from pytest_fragility.measures.marginal_likelihood import batched_evidence
from pytest_fragility.measures.marginal_likelihood import function_bounds as module
from pytest_fragility.measures.marginal_likelihood import log_evidence as evidence_module
from pytest_fragility.measures.marginal_likelihood.function_bounds import (
    bound_as_published,
    bound_of_theorem,
)
from pytest_fragility.networks.stacks import NetworkStack
from pytest_fragility.networks.trained_network import TrainedNetwork
from pytest_fragility.recipes import Recipe
from tests.in_turn import in_turn
from tests.sample_networks import perceptron, sample_network

MEASURES = [
    negative_log_evidence,
    negative_log_evidence_probit,
    marginal_likelihood_bound,
    marginal_likelihood_bound_as_published,
    sum_of_one_vs_rest_negative_log_evidences,
]


def network_of(
    classes: int = 4, *, n: int = 24, scale: float = 1.0, seed: int = 0, weights: int = 0
) -> TrainedNetwork:
    """Return a perceptron with two hidden layers on random samples with random labels."""
    generator = np.random.default_rng(seed)
    inputs = torch.from_numpy(generator.normal(size=(n, 5)).astype(np.float32))
    labels = torch.from_numpy(generator.integers(classes, size=n))
    with torch.random.fork_rng():
        torch.manual_seed(weights)
        model = perceptron([5, 7, 6, classes])
    return sample_network(model, inputs, labels, recipe=Recipe(initialization_scale=scale))


def negative_log_p(network: TrainedNetwork, signs: Any, link: str, scale: float = 1.0) -> float:
    """Return -ln P of signs under the closed-form kernel."""
    kernel = relu_kernel(
        network.inputs.numpy(), hidden_layers=2, weight_variance=2 * scale**2, bias_variance=0.0
    )
    return -log_evidence(kernel, signs, link=link).log_evidence


@in_turn("scale", [1.0, 2.0])
@in_turn(("classes", "lower_half"), [(2, 1), (4, 2), (5, 3), (10, 5)])
def test_labels_are_split_in_halves(classes: int, lower_half: int, scale: float) -> None:
    """Labels below half of the number of outputs against the rest, under both links."""
    network = network_of(classes, scale=scale)
    signs = np.where(network.labels.numpy() < lower_half, -1, 1)
    for measure, link in ((negative_log_evidence, "heaviside"), (MEASURES[1], "probit")):
        expected = negative_log_p(network, signs, link, scale)
        assert measure(network) == pytest.approx(expected, rel=1e-12)


def test_bounds_are_their_formulas() -> None:
    """By hand, for ln 1/P = 10 and n = 100."""
    theorem = (10 + math.log(100) + 20 * math.log(2)) / 99
    assert bound_of_theorem(10, 100) == pytest.approx(1 - math.exp(-theorem), rel=1e-14)
    published = (10 + 2 * math.log(100) + 1 + 10 * math.log(2)) / 100
    assert bound_as_published(10, 100) == pytest.approx(1 - math.exp(-published), rel=1e-14)


def test_measures_are_bounds_of_the_evidence() -> None:
    """The bound's form of the evidence is the theorem's bound."""
    network = network_of()
    evidence = negative_log_evidence(network)
    assert marginal_likelihood_bound(network) == bound_of_theorem(evidence, 24)
    assert negative_log_evidence.bound_form(network) == bound_of_theorem(evidence, 24)
    assert marginal_likelihood_bound_as_published(network) == bound_as_published(evidence, 24)
    probit = negative_log_evidence_probit(network)
    assert negative_log_evidence_probit.bound_form(network) == bound_of_theorem(probit, 24)
    assert 0 < marginal_likelihood_bound(network) < 1


@in_turn("classes", [2, 4])
def test_one_against_the_rest_is_summed_over_classes(classes: int) -> None:
    """A class without samples counts too; of two classes, each is the other's mirror image."""
    network = network_of(classes)
    labels = network.labels % max(classes - 1, 2)
    network = replace(network, labels=labels)
    signs = [np.where(labels.numpy() == one, 1, -1) for one in range(classes)]
    expected = sum(negative_log_p(network, each, "heaviside") for each in signs)
    measured = sum_of_one_vs_rest_negative_log_evidences(network)
    assert measured == pytest.approx(expected, rel=1e-12)
    if classes == 2:
        assert measured == pytest.approx(2 * negative_log_evidence(network), rel=1e-6)


def test_random_labels_are_less_likely() -> None:
    """On digits, the real labels are what random networks tend to."""
    data, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))[:128]
    inputs = torch.from_numpy((data[order] / 16).astype(np.float32))
    real = torch.from_numpy(labels[order].astype(np.int64))
    shuffled = real[torch.randperm(128, generator=torch.Generator().manual_seed(0))]
    bounds = [
        marginal_likelihood_bound(sample_network(perceptron([64, 32, 32, 10]), inputs, each))
        for each in (real, shuffled)
    ]
    assert bounds[0] + 0.1 < bounds[1] < 1


def test_two_samples_have_a_closed_form() -> None:
    """ln(1/4 + asin(c) / (2 pi)) with the kernel's correlation c, for equal signs."""
    network = network_of(2, n=2)
    network = replace(network, labels=torch.zeros(2, dtype=torch.int64))
    kernel = prior_kernel(network).matrix
    correlation = kernel[0, 1] / math.sqrt(kernel[0, 0] * kernel[1, 1])
    exact = -math.log(1 / 4 + math.asin(correlation) / (2 * math.pi))
    assert negative_log_evidence(network) == pytest.approx(exact, abs=0.01)


@in_turn("measure", MEASURES)
def test_trained_weights_do_not_matter(measure: Any, small_family: Family) -> None:
    """To the bit: other weights, or another optimizer."""
    assert measure(network_of(weights=1)) == measure(network_of(weights=2))
    values = [measure.over_stack(small_family.stack(recipe, 32)) for recipe in ("baseline", "adam")]
    assert values[0].tolist() == values[1].tolist()


def test_evidence_is_worked_out_once_for_all_recipes(
    small_family: Family, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once per size and seed, whichever measures and recipes ask."""
    calls = []
    plain = evidence_module.GaussianProcess.log_evidence

    def counted(*args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        return plain(*args, **kwargs)

    monkeypatch.setattr(evidence_module.GaussianProcess, "log_evidence", counted)
    runs = {place: small_family.trained_run(*place) for place in small_family.plan.runs}
    family = Family(small_family.plan, runs, small_family.device)
    for measure in (negative_log_evidence, marginal_likelihood_bound):
        for recipe in family.recipes:
            for n in family.sizes:
                measure.over_stack(family.stack(recipe, n))
    assert len(calls) == len(family.sizes) * len(family.seeds)


@in_turn("measure", MEASURES)
def test_values_together_are_those_one_by_one(
    measure: Any, small_family: Family, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a CUDA device works them out; once for all that have the samples."""
    calls = []
    plain = batched_evidence.log_evidences

    def counted(kernels: Any, signs: Any, **kwargs: Any) -> Any:
        calls.append(len(kernels))
        return plain(kernels, signs, **kwargs)

    expected = measure.over_stack(small_family.stack("baseline", 32))
    monkeypatch.setattr(module, "_found_one_by_one", module._found_together)
    monkeypatch.setattr(batched_evidence, "log_evidences", counted)
    runs = {place: small_family.trained_run(*place) for place in small_family.plan.runs}
    family = Family(small_family.plan, runs, small_family.device)
    for recipe in ("baseline", "adam"):
        found = measure.over_stack(family.stack(recipe, 32))
        np.testing.assert_allclose(found, expected, rtol=3e-6)
    assert calls == [3]


def test_other_architectures_go_by_monte_carlo() -> None:
    """The kernel tells its method, rank and error."""
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(36, 2)
    )
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(12, 1, 5, 5, generator=generator)
    network = sample_network(model, inputs, torch.arange(12) % 2)
    kernel = prior_kernel(network)
    assert kernel.method == "Monte Carlo" and kernel.rank == 12
    assert 0 < kernel.relative_error < 1 and kernel.networks >= 16
    assert 0 < negative_log_evidence(network) < 12 * math.log(2) + 5
    closed = prior_kernel(network_of())
    assert closed.method == "closed form" and closed.relative_error == 0


def test_what_is_undefined_says_why_and_where() -> None:
    """Coinciding samples with opposite labels, inputs of zeros, a single sample."""
    fine = network_of(2, n=8)
    inputs, labels = fine.inputs.clone(), torch.arange(8) % 2
    inputs[5] = inputs[2]
    twins = replace(fine, inputs=inputs, labels=labels)
    stack = NetworkStack.of_networks([fine, twins])
    with pytest.raises(UndefinedMeasureError, match="samples 2 and 5 coincide") as error:
        negative_log_evidence.over_stack(stack)
    assert error.value.place == 1 and "probit" in str(error.value)
    assert negative_log_evidence_probit(twins) > 0
    zero = replace(fine, inputs=fine.inputs * (torch.arange(8) != 3).unsqueeze(1))
    with pytest.raises(UndefinedMeasureError, match="sample 3 the variance 0"):
        negative_log_evidence(zero)
    with pytest.raises(UndefinedMeasureError, match="n is 1"):
        marginal_likelihood_bound(network_of(2, n=1))
