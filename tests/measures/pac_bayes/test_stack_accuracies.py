"""Noise searches of many perceptrons side by side, as on a device; here on the CPU."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from pytest_fragility.errors import UndefinedMeasureError
from pytest_fragility.families.family import Family
from pytest_fragility.measures import (
    pac_bayes_flatness,
    pac_bayes_flatness_as_published,
    pac_bayes_magnitude_flatness,
    pac_bayes_magnitude_flatness_as_published,
)
from pytest_fragility.measures.common.parameter_vectors import parameter_vectors, split_vectors
from pytest_fragility.measures.pac_bayes import accuracies as module
from pytest_fragility.measures.pac_bayes import noise_search
from pytest_fragility.measures.pac_bayes import noise_search_as_published as published_search
from pytest_fragility.measures.pac_bayes.accuracies import (
    StackAccuracies,
    accuracies_of,
    can_look_together,
)
from pytest_fragility.measures.stacked import StackMeasure
from pytest_fragility.networks.stacks import NetworkStack
from tests.in_turn import in_turn


@pytest.fixture
def together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at networks side by side."""
    for searches in (noise_search, published_search):
        monkeypatch.setattr(searches, "can_look_together", lambda stack: True)


def fresh(stack: NetworkStack, family: Family) -> NetworkStack:
    """Return the stack with nothing worked out."""
    runs = [family.trained_run("baseline", stack.n, seed) for seed in family.seeds]
    return NetworkStack.of_runs(runs, torch.device("cpu"), {})


@in_turn("bytes_at_once", [1, 1 << 30])
def test_accuracies_are_those_of_one_network_at_a_time(
    small_family: Family, monkeypatch: pytest.MonkeyPatch, bytes_at_once: int
) -> None:
    """Of some of the networks, in any order; as many at a time as fit."""
    monkeypatch.setattr(module, "BYTES", bytes_at_once)
    stack = small_family.stack("baseline", 32)
    rows = parameter_vectors(stack).float()
    noise = torch.randn(2, 5, rows.shape[1], generator=torch.Generator().manual_seed(0))
    places = [2, 0]
    found = StackAccuracies(stack).of(places, rows[places].unsqueeze(1) + 0.3 * noise)
    for index, place in enumerate(places):
        one = list(accuracies_of(stack))[place]
        expected = one.of(split_vectors(stack, rows[place] + 0.3 * noise[index]))
        assert found[index].tolist() == expected.tolist()
    assert 0 < found.mean() < 1


@in_turn(
    "measure",
    [
        pac_bayes_flatness,
        pac_bayes_magnitude_flatness,
        pac_bayes_flatness_as_published,
        pac_bayes_magnitude_flatness_as_published,
    ],
    ids=lambda measure: measure.__name__,
)
def test_searches_find_what_they_find_alone(
    measure: StackMeasure, small_family: Family, request: pytest.FixtureRequest
) -> None:
    """With the same noise: a sample whose logits tie could still count another way."""
    stack = small_family.stack("baseline", 64)
    expected = measure.over_stack(fresh(stack, small_family))
    request.getfixturevalue("together")
    found = measure.over_stack(fresh(stack, small_family))
    np.testing.assert_allclose(found, expected, rtol=1e-9)


@pytest.mark.usefixtures("together")
def test_a_search_without_an_end_is_refused_with_its_place(small_family: Family) -> None:
    """As it is one by one: noise cannot worsen a network that is wrong about every sample."""
    networks = [
        small_family["blobs", "baseline", 32, 0],
        small_family["blobs", "baseline", 32, 1],
    ]
    with torch.no_grad():
        wrong = (networks[1].model(networks[1].inputs).argmax(dim=1) + 1) % 3
    stack = NetworkStack.of_networks([networks[0], replace(networks[1], labels=wrong)])
    with pytest.raises(UndefinedMeasureError, match="costs less than") as caught:
        pac_bayes_flatness.over_stack(stack)
    assert caught.value.place == 1


def test_whom_it_is_for(small_family: Family) -> None:
    """Nobody on the CPU."""
    assert not can_look_together(small_family.stack("baseline", 32))
