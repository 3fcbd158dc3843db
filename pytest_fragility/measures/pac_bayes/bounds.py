"""PAC-Bayes and flatness measures: how much noise on the weights a network tolerates."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_fragility.measures.stacked import (
    INITIAL_WEIGHTS,
    INPUTS,
    LABELS,
    RANDOMNESS,
    TRAINED_WEIGHTS,
    reference,
)

if TYPE_CHECKING:
    import torch

    from pytest_fragility.networks.stacks import NetworkStack


NOISE = (TRAINED_WEIGHTS, INPUTS, LABELS, RANDOMNESS)
NOISE_AND_INITIAL = (TRAINED_WEIGHTS, INITIAL_WEIGHTS, INPUTS, LABELS, RANDOMNESS)


@reference(source="Jiang et al. 2020, eq. 49", reads=NOISE)
def pac_bayes_origin(stack: NetworkStack) -> torch.Tensor:
    """Return ``||w||^2 / (4 sigma^2) + ln(n / sigma) + 10``: PAC-Bayes, prior at the origin.

    Jiang et al. 2020, eq. 49. Sigma is the standard deviation of Gaussian noise on all parameters
    that costs 0.1 of the train accuracy (10 draws, common to all sigma; see `sigma_search`, which
    gives its Monte Carlo error). Raw value, in nats.

    Reads trained weights, inputs, labels and randomness. w holds every trained parameter, biases
    and normalization as they stand: the same that the noise is added to. Any architecture. The
    noisy passes are in float32.

    Raises
    ------
    UndefinedMeasureError
        Where no sigma in [2^-30, 2^15] costs 0.1 of the train accuracy.
    """
    from pytest_fragility.measures.common.parameter_vectors import parameter_vectors

    return _log_bound(stack, parameter_vectors(stack))


@reference(source="Jiang et al. 2020, eq. 48", reads=NOISE_AND_INITIAL)
def pac_bayes_initialization(stack: NetworkStack) -> torch.Tensor:
    """Return ``||w - w0||^2 / (4 sigma^2) + ln(n / sigma) + 10``: prior at the initial weights.

    Jiang et al. 2020, eq. 48. Sigma as in `pac_bayes_origin`. Raw value, in nats.

    Reads trained and initial weights, inputs, labels and randomness; all parameters, biases and
    normalization included, as they stand. Any architecture.

    Raises
    ------
    UndefinedMeasureError
        As `pac_bayes_origin`.
    """
    return _log_bound(stack, _changes(stack))


@reference(source="Jiang et al. 2020, eq. 53", reads=NOISE)
def pac_bayes_flatness(stack: NetworkStack) -> torch.Tensor:
    """Return ``1 / sigma^2``, with sigma the noise that costs 0.1 of the train accuracy.

    Jiang et al. 2020, eq. 53. Sigma as in `pac_bayes_origin`. Raw value, in inverse squared
    weights.

    Reads trained weights, inputs, labels and randomness; noise on all parameters, biases and
    normalization included. Any architecture.

    Raises
    ------
    UndefinedMeasureError
        As `pac_bayes_origin`.
    """
    from pytest_fragility.measures.pac_bayes.noise_search import tolerated_noise

    return tolerated_noise(stack) ** -2


@reference(source="Jiang et al. 2020, eq. 57", reads=NOISE_AND_INITIAL)
def pac_bayes_magnitude_origin(stack: NetworkStack) -> torch.Tensor:
    """Return the magnitude-aware PAC-Bayes bound with its prior at the origin.

    ``1/4 sum_i ln[(e^2 + (s^2 + 1) ||w||^2 / p) / (e^2 + s^2 (w_i - w0_i)^2)] + ln(n / s) + 10``
    (Jiang et al. 2020, eq. 57), with p parameters, e = 0.001, and s the scale of the noise
    ``u_i ~ N(0, s^2 w_i^2 + e^2)`` that costs 0.1 of the train accuracy. Raw value, in nats.

    Reads trained and initial weights, inputs, labels and randomness; all parameters, biases and
    normalization included, as they stand. Any architecture.

    Raises
    ------
    UndefinedMeasureError
        As `pac_bayes_origin`; in particular where e alone costs more than 0.1.
    """
    from pytest_fragility.measures.common.parameter_vectors import parameter_vectors

    return _log_magnitude_bound(stack, parameter_vectors(stack))


@reference(source="Jiang et al. 2020, eq. 56", reads=NOISE_AND_INITIAL)
def pac_bayes_magnitude_initialization(stack: NetworkStack) -> torch.Tensor:
    """Return the magnitude-aware PAC-Bayes bound with its prior at the initial weights.

    `pac_bayes_magnitude_origin` with ``||w - w0||^2`` in the place of ``||w||^2`` (Jiang et al.
    2020, eq. 56). Raw value, in nats.

    Reads trained and initial weights, inputs, labels and randomness; all parameters, biases and
    normalization included, as they stand. Any architecture.

    Raises
    ------
    UndefinedMeasureError
        As `pac_bayes_magnitude_origin`.
    """
    return _log_magnitude_bound(stack, _changes(stack))


@reference(source="Jiang et al. 2020, eq. 61", reads=NOISE)
def pac_bayes_magnitude_flatness(stack: NetworkStack) -> torch.Tensor:
    """Return ``1 / s^2``, with s the scale of noise relative to each weight that costs 0.1.

    Jiang et al. 2020, eq. 61. s as in `pac_bayes_magnitude_origin`. Raw value, dimensionless.

    Reads trained weights, inputs, labels and randomness; noise on all parameters. Any
    architecture.

    Raises
    ------
    UndefinedMeasureError
        As `pac_bayes_magnitude_origin`.
    """
    from pytest_fragility.measures.pac_bayes.noise_search import tolerated_noise

    return tolerated_noise(stack, magnitude_aware=True) ** -2


def _changes(stack: NetworkStack) -> torch.Tensor:
    from pytest_fragility.measures.common.parameter_vectors import parameter_vectors

    return parameter_vectors(stack) - parameter_vectors(stack, initial=True)


def _log_bound(stack: NetworkStack, distances: torch.Tensor) -> torch.Tensor:
    from pytest_fragility.measures.pac_bayes.noise_search import tolerated_noise

    return gaussian_bound(distances.square().sum(dim=1), tolerated_noise(stack), stack.n)


def gaussian_bound(squared_norm: torch.Tensor, sigma: torch.Tensor, n: int) -> torch.Tensor:
    """Return ``squared norm / (4 sigma^2) + ln(n / sigma) + 10``."""
    return squared_norm / (4 * sigma.square()) + (n / sigma).log() + 10


def _log_magnitude_bound(stack: NetworkStack, references: torch.Tensor) -> torch.Tensor:
    from pytest_fragility.measures.pac_bayes.noise_search import tolerated_noise

    scale = tolerated_noise(stack, magnitude_aware=True)
    return magnitude_bound(references.square().sum(dim=1), _changes(stack), scale, stack.n)


def magnitude_bound(
    squared_norm: torch.Tensor, changes: torch.Tensor, scale: torch.Tensor, n: int
) -> torch.Tensor:
    """Return the magnitude-aware bound for changes of shape (K, P); the rest has shape (K,)."""
    from pytest_fragility.measures.pac_bayes.noise_search import MAGNITUDE_EPSILON

    squared_scale, floor = scale.square(), MAGNITUDE_EPSILON**2
    numerator = floor + (squared_scale + 1) * squared_norm / changes.shape[1]
    denominator = floor + squared_scale.unsqueeze(1) * changes.square()
    ratios = numerator.log() * changes.shape[1] - denominator.log().sum(dim=1)
    return ratios / 4 + (n / scale).log() + 10
