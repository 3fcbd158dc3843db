"""Parts of a stack that are measured one after the other: the same values, in bounded memory."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_fragility.errors import UndefinedMeasureError
from pytest_fragility.measures import hessian_largest_eigenvalue, worst_case_sharpness
from pytest_fragility.measures.common import batching as parts
from pytest_fragility.measures.common.batching import in_parts
from pytest_fragility.measures.stacked import StackMeasure
from pytest_fragility.networks.stacks import NetworkStack
from tests.in_turn import in_turn
from tests.measures.marginal_likelihood.test_in_threads import NETWORKS, describe, stack_of

SAMPLES = 20
PLENTY = 1 << 60
PARAMETERS = 4 * 6 + 6 + 6 * 3 + 3


@given(st.integers(1, 7), st.booleans())
def test_parts_are_as_large_as_samples_and_parameters_allow(
    together: int, by_samples: bool
) -> None:
    """In order, and each network has its weights, samples and randomness."""
    stack = stack_of(SAMPLES)
    lengths = []

    def compute(part: NetworkStack) -> list[tuple[int, float, float, float]]:
        lengths.append(len(part))
        return describe(part)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "SAMPLES", SAMPLES * together if by_samples else PLENTY)
        patch.setattr(parts, "PARAMETERS", PLENTY if by_samples else PARAMETERS * together)
        values = in_parts(stack, compute)
    assert values == describe(stack)
    assert len(set(values)) == NETWORKS
    assert max(lengths) == min(together, NETWORKS)
    assert len(lengths) == -(-NETWORKS // together)


def test_one_network_at_least_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """However large it is."""
    monkeypatch.setattr(parts, "SAMPLES", 1)
    assert in_parts(stack_of(SAMPLES), lambda part: [len(part)] * len(part)) == [1] * NETWORKS


def test_another_device_takes_the_stack_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has room, and is slow with little to do."""
    monkeypatch.setattr(parts, "SAMPLES", 1)
    stack = stack_of(SAMPLES)
    away = replace(stack, weights={name: each.to("meta") for name, each in stack.weights.items()})
    assert in_parts(away, lambda part: [len(part)] * len(part)) == [NETWORKS] * NETWORKS


@in_turn("odd", range(NETWORKS))
def test_refusals_name_the_place_in_the_whole_stack(
    odd: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever part it is in."""
    monkeypatch.setattr(parts, "SAMPLES", 2 * SAMPLES)

    def compute(part: NetworkStack) -> list[float]:
        if odd in part.seeds:
            raise UndefinedMeasureError(f"no value for {odd}", part.seeds.index(odd))
        return [0.0] * len(part)

    with pytest.raises(UndefinedMeasureError, match=f"no value for {odd}") as refused:
        in_parts(stack_of(SAMPLES), compute)
    assert refused.value.place == odd


@in_turn("measure", [worst_case_sharpness, hessian_largest_eigenvalue])
def test_measures_do_not_depend_on_parts(
    measure: StackMeasure, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But for rounding."""
    whole = measure.over_stack(stack_of(SAMPLES))
    monkeypatch.setattr(parts, "SAMPLES", 2 * SAMPLES)
    assert measure.over_stack(stack_of(SAMPLES)).tolist() == pytest.approx(whole.tolist(), rel=1e-6)
