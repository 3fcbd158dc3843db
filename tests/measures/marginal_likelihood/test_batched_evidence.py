"""Log evidences of many labellings at once, as on a device; here they are worked out on the CPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits

from pytest_fragility.errors import UndefinedMeasureError
from pytest_fragility.measures.marginal_likelihood import batched_evidence as module
from pytest_fragility.measures.marginal_likelihood.batched_evidence import log_evidences
from pytest_fragility.measures.marginal_likelihood.kernels import relu_kernel
from pytest_fragility.measures.marginal_likelihood.log_evidence import (
    HEAVISIDE,
    PROBIT,
    Floats,
    log_evidence,
)
from tests.in_turn import in_turn

CPU = torch.device("cpu")

either_link = in_turn("link", [HEAVISIDE, PROBIT])


def kernels_of(samples: Floats, n: int, *, count: int = 3, seed: int = 0) -> list[Floats]:
    """Return kernels of random parts of some samples."""
    generator = np.random.default_rng(seed)
    chosen = [generator.permutation(len(samples))[:n] for _ in range(count)]
    return [
        relu_kernel(samples[rows], hidden_layers=2, weight_variance=2.0, bias_variance=0.0)
        for rows in chosen
    ]


def signs_like(count: int, labellings: int, n: int, *, seed: int = 0) -> Floats:
    """Return labellings, of which each has a positive share of its own."""
    generator = np.random.default_rng(seed)
    shares = np.linspace(0.0, 1.0, labellings)[:, None]
    return np.where(generator.uniform(size=(count, labellings, n)) < shares, 1.0, -1.0)


def one_by_one(kernels: list[Floats], signs: Floats, link: str) -> Floats:
    """Return what `log_evidence` says of each."""
    return np.array(
        [
            [log_evidence(kernel, labelling, link=link).log_evidence for labelling in own]
            for kernel, own in zip(kernels, signs, strict=True)
        ]
    )


@either_link
@in_turn("n", [2, 17, 120])
def test_values_are_those_of_one_labelling_at_a_time(n: int, link: str) -> None:
    """On digits, likely and unlikely labels, to what both promise."""
    kernels = kernels_of(load_digits().data / 16, n)
    signs = signs_like(3, 4, n)
    found = log_evidences(kernels, signs, link=link, device=CPU)
    np.testing.assert_allclose(found, one_by_one(kernels, signs, link), rtol=2e-6, atol=2e-6)


@settings(deadline=None)
@given(
    n=st.integers(1, 12),
    scale=st.sampled_from([1e-3, 1.0, 30.0]),
    link=st.sampled_from([HEAVISIDE, PROBIT]),
    seed=st.integers(0, 1000),
)
def test_values_of_any_small_problem(n: int, scale: float, link: str, seed: int) -> None:
    """Few samples in few dimensions, so that some nearly coincide."""
    samples = np.random.default_rng(seed).normal(size=(40, 3))
    kernels = [scale * kernel for kernel in kernels_of(samples, n, count=2, seed=seed)]
    signs = signs_like(2, 3, n, seed=seed)
    found = log_evidences(kernels, signs, link=link, device=CPU)
    np.testing.assert_allclose(found, one_by_one(kernels, signs, link), rtol=1e-5, atol=1e-5)


@either_link
def test_values_do_not_depend_on_the_company(link: str) -> None:
    """One that ends early waits for others without going on."""
    kernels = kernels_of(load_digits().data / 16, 60)
    signs = signs_like(3, 5, 60)
    together = log_evidences(kernels, signs, link=link, device=CPU)
    for place, kernel in enumerate(kernels):
        for labelling in range(5):
            only = signs[place : place + 1, labelling : labelling + 1]
            alone = log_evidences([kernel], only, link=link, device=CPU)
            np.testing.assert_allclose(alone.item(), together[place, labelling], rtol=1e-12)


@in_turn("matrices", [1, 2, 5, 100])
def test_memory_is_kept_within_bounds(matrices: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many labellings at a time as fit, of one kernel or of several."""
    kernels, signs = kernels_of(load_digits().data / 16, 20), signs_like(3, 4, 20)
    expected = log_evidences(kernels, signs, link=HEAVISIDE, device=CPU)
    sizes = []
    plain = module._log_evidences

    def noting(part: Any, some: Floats, *args: Any) -> Floats:
        sizes.append(some.shape[0] * some.shape[1])
        return plain(part, some, *args)

    monkeypatch.setattr(module, "BYTES", 8 * 20**2 * matrices)
    monkeypatch.setattr(module, "_log_evidences", noting)
    found = log_evidences(kernels, signs, link=HEAVISIDE, device=CPU)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert sum(sizes) == 12
    assert max(sizes) <= max(matrices, 1)


def refused(kernels: list[Floats], signs: Floats, link: str = HEAVISIDE) -> UndefinedMeasureError:
    """Return the error that is raised."""
    with pytest.raises(UndefinedMeasureError) as caught:
        log_evidences(kernels, signs, link=link, device=CPU)
    return caught.value


def test_contradictions_are_refused_as_one_by_one() -> None:
    """With the same message, and the kernel's place; the probit link allows for them."""
    samples = np.random.default_rng(4).normal(size=(12, 10))
    kernels, signs = kernels_of(samples, 5), np.ones((3, 2, 5))
    twins = np.random.default_rng(4).normal(size=(5, 10))
    twins[3] = twins[1]
    kernels[1] = relu_kernel(twins, hidden_layers=2, weight_variance=2.0, bias_variance=0.0)
    signs[:, 1, 3] = -1.0
    error = refused(kernels, signs)
    with pytest.raises(UndefinedMeasureError) as alone:
        log_evidence(kernels[1], signs[1, 1])
    assert (str(error), error.place) == (str(alone.value), 1)
    assert np.isfinite(log_evidences(kernels, signs, link=PROBIT, device=CPU)).all()


def test_what_is_no_covariance_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The place counts all kernels, also where they are not worked on together."""
    monkeypatch.setattr(module, "BYTES", 1)
    kernels, signs = kernels_of(load_digits().data / 16, 5), signs_like(3, 2, 5)
    kernels[2][0, 1] += 1.0
    error = refused(kernels, signs)
    assert (str(error), error.place) == ("the kernel is not symmetric", 2)
    for entry in (2.0, 50.0):
        kernels[2] = np.eye(5)
        kernels[2][0, 1] = kernels[2][1, 0] = entry
        error = refused(kernels, signs, PROBIT)
        assert "positive semidefinite" in str(error)
        assert error.place == 2


def test_iteration_that_does_not_converge_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the sweeps run out there is no value."""
    monkeypatch.setattr(module, "SWEEPS", 1)
    error = refused(kernels_of(load_digits().data / 16, 10), signs_like(3, 2, 10))
    assert "did not converge" in str(error)
