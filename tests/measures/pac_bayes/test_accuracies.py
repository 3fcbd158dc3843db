"""How often labels have the largest logits, against `torch.argmax`."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from pytest_fragility.measures.pac_bayes.accuracies import _Labels
from tests.in_turn import in_turn

CLASSES, SAMPLES = 3, 5
FEW = st.sampled_from([-1.0, 0.0, 1.0, math.inf, -math.inf, math.nan])


@in_turn("samples", [1, 7, 64])
def test_distinct_logits(samples: int) -> None:
    """The usual case: under several sets of weights, asked again and again."""
    generator = torch.Generator().manual_seed(samples)
    labels = torch.randint(CLASSES, (samples,), generator=generator)
    counter = _Labels(labels)
    for _ in range(3):
        logits = torch.randn(4, CLASSES, samples, generator=generator)
        expected = (logits.argmax(dim=1) == labels).double().mean(dim=1)
        found = counter.fractions_right(logits)
        assert found.dtype == torch.float64
        assert found.tolist() == pytest.approx(expected.tolist(), abs=1e-15)
        assert 0 < float(expected.mean()) < 1 or samples == 1


@given(arrays.arrays(np.float32, (2, CLASSES, SAMPLES), elements=st.floats(width=32) | FEW))
def test_any_logits(values: np.ndarray) -> None:
    """Of equal ones the first counts; what is no number is larger than all others."""
    logits = torch.from_numpy(values)
    labels = torch.arange(SAMPLES) % CLASSES
    expected = (logits.argmax(dim=1) == labels).double().mean(dim=1)
    found = _Labels(labels).fractions_right(logits.clone())
    assert found.tolist() == pytest.approx(expected.tolist(), abs=1e-15)


@given(arrays.arrays(np.float32, (2, CLASSES, SAMPLES), elements=FEW))
def test_equal_logits(values: np.ndarray) -> None:
    """Which the first of these tests never meets."""
    test_any_logits.hypothesis.inner_test(values)  # type: ignore[attr-defined]
