"""Measures that read norms of weights, and distances from initialization."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pytest_fragility.measures.stacked import (
    INITIAL_WEIGHTS,
    INPUTS,
    LABELS,
    TRAINED_WEIGHTS,
    reference,
)

if TYPE_CHECKING:
    import torch

    from pytest_fragility.networks.stacks import NetworkStack


WITH_MARGIN = (TRAINED_WEIGHTS, INPUTS, LABELS)
WITH_INITIAL = (TRAINED_WEIGHTS, INITIAL_WEIGHTS)


@reference(source="Jiang et al. 2020, eq. 22", reads=WITH_MARGIN, is_logarithm=True)
def inverse_margin(stack: NetworkStack) -> torch.Tensor:
    """Return the inverse squared margin, ``1 / gamma^2``.

    Jiang et al. 2020, eq. 22; gamma is the 10th percentile of the training margins (logit of the
    label minus the largest other), the floor(n / 10)-th smallest. Raw value.

    Reads trained weights, inputs and labels, by way of the outputs alone: architecture, biases and
    normalization do not matter. In inverse squared logits.

    Raises
    ------
    UndefinedMeasureError
        Below ten samples; where the margin is not positive. Published code takes the margin's
        absolute value there, which makes a network that mislabels its samples look fine.
    """
    return _log_inverse_margin(stack)


@reference(source="Jiang et al. 2020, eq. 42", reads=(TRAINED_WEIGHTS,))
def parameter_norm(stack: NetworkStack) -> torch.Tensor:
    """Return the sum over layers of squared Frobenius norms, ``sum_l ||W_l||_F^2``.

    Jiang et al. 2020, eq. 42. Raw value; squared, as published.

    Reads the trained weights of linear layers and convolutions; biases are left out, batch
    normalization that directly follows a layer is folded into it. Dimensionless. In float64.

    Raises
    ------
    UndefinedMeasureError
        For layers with other parameters, and normalization that cannot be folded.
    """
    from pytest_fragility.measures.norms.singular_values import frobenius_norms

    return frobenius_norms(stack).square().sum(dim=1)


@reference(source="Jiang et al. 2020, eq. 40", reads=WITH_INITIAL)
def frobenius_distance_from_initialization(stack: NetworkStack) -> torch.Tensor:
    """Return ``sum_l ||W_l - W0_l||_F^2``, the squared distance that the weights have gone.

    Jiang et al. 2020, eq. 40. Raw value; squared, as published.

    Reads trained and initial weights of linear layers and convolutions; biases are left out, batch
    normalization is folded in, the initial statistics into the initial weights. In float64.

    Raises
    ------
    UndefinedMeasureError
        As `parameter_norm`.
    """
    from pytest_fragility.measures.norms.singular_values import frobenius_distances

    return frobenius_distances(stack).square().sum(dim=1)


@reference(source="Jiang et al. 2020, eq. 41", reads=WITH_INITIAL)
def spectral_distance_from_initialization(stack: NetworkStack) -> torch.Tensor:
    """Return ``sum_l ||W_l - W0_l||_2^2``, squared spectral norms of what training has added.

    Jiang et al. 2020, eq. 41. Raw value; squared, as published.

    Reads trained and initial weights; convolutions are reshaped to (outputs, inputs x positions),
    biases left out, batch normalization folded in. In float64.

    Raises
    ------
    UndefinedMeasureError
        As `parameter_norm`.
    """
    from pytest_fragility.measures.norms.singular_values import spectral_distances

    return spectral_distances(stack).square().sum(dim=1)


@reference(source="Jiang et al. 2020, eq. 37", reads=(TRAINED_WEIGHTS,), is_logarithm=True)
def product_of_frobenius_norms(stack: NetworkStack) -> torch.Tensor:
    """Return ``prod_l ||W_l||_F^2``, the product of squared Frobenius norms.

    Jiang et al. 2020, eq. 37, which takes its logarithm. Raw value.

    Reads the trained weights; biases are left out, batch normalization folded in, convolutions
    taken with all their entries. Dimensionless. In float64, in the log domain.

    Raises
    ------
    UndefinedMeasureError
        As `parameter_norm`.
    """
    return _log_product(stack, "frobenius")


@reference(source="Jiang et al. 2020, eq. 36", reads=WITH_MARGIN, is_logarithm=True)
def product_of_frobenius_norms_over_margin(stack: NetworkStack) -> torch.Tensor:
    """Return ``prod_l ||W_l||_F^2 / gamma^2``.

    Jiang et al. 2020, eq. 36, which takes its logarithm; gamma is the 10th percentile of the
    training margins. Raw value.

    Reads trained weights, inputs and labels; biases, normalization and convolutions as in
    `product_of_frobenius_norms`.

    Raises
    ------
    UndefinedMeasureError
        As `parameter_norm` and `inverse_margin`.
    """
    return _log_product(stack, "frobenius") + _log_inverse_margin(stack)


@reference(source="Jiang et al. 2020, eq. 39", reads=(TRAINED_WEIGHTS,), is_logarithm=True)
def sum_of_frobenius_norms(stack: NetworkStack) -> torch.Tensor:
    """Return ``L (prod_l ||W_l||_F^2)^(1/L)``: L layers, each with the geometric mean norm.

    Jiang et al. 2020, eq. 39: the sum of the squared norms once the layers are rescaled to equal
    ones, which leaves the function of a ReLU network unchanged. Raw value.

    Reads the trained weights; biases, normalization and convolutions as in
    `product_of_frobenius_norms`.

    Raises
    ------
    UndefinedMeasureError
        As `parameter_norm`.
    """
    return _log_sum(stack, _log_product(stack, "frobenius"))


@reference(source="Jiang et al. 2020, eq. 38", reads=WITH_MARGIN, is_logarithm=True)
def sum_of_frobenius_norms_over_margin(stack: NetworkStack) -> torch.Tensor:
    """Return ``L (prod_l ||W_l||_F^2 / gamma^2)^(1/L)``.

    Jiang et al. 2020, eq. 38; gamma is the 10th percentile of the training margins. Raw value.

    Reads trained weights, inputs and labels; biases, normalization and convolutions as in
    `product_of_frobenius_norms`.

    Raises
    ------
    UndefinedMeasureError
        As `parameter_norm` and `inverse_margin`.
    """
    return _log_sum(stack, _log_product(stack, "frobenius") + _log_inverse_margin(stack))


@reference(source="Jiang et al. 2020, eq. 32", reads=(TRAINED_WEIGHTS,), is_logarithm=True)
def product_of_spectral_norms(stack: NetworkStack) -> torch.Tensor:
    """Return ``prod_l ||W_l||_2^2``, the product of squared spectral norms.

    Jiang et al. 2020, eq. 32, which takes its logarithm. Raw value.

    Reads the trained weights; convolutions are reshaped to (outputs, inputs x positions), which
    is not the convolution's norm as an operator (see `product_of_spectral_norms_fft`); biases are
    left out, batch normalization folded in. Dimensionless. In float64, in the log domain.

    Raises
    ------
    UndefinedMeasureError
        As `parameter_norm`.
    """
    return _log_product(stack, "spectral")


@reference(source="Jiang et al. 2020, eq. 31", reads=WITH_MARGIN, is_logarithm=True)
def product_of_spectral_norms_over_margin(stack: NetworkStack) -> torch.Tensor:
    """Return ``prod_l ||W_l||_2^2 / gamma^2``.

    Jiang et al. 2020, eq. 31, which takes its logarithm; gamma is the 10th percentile of the
    training margins. Raw value.

    Reads trained weights, inputs and labels; biases, normalization and convolutions as in
    `product_of_spectral_norms`.

    Raises
    ------
    UndefinedMeasureError
        As `parameter_norm` and `inverse_margin`.
    """
    return _log_product(stack, "spectral") + _log_inverse_margin(stack)


@reference(source="Jiang et al. 2020, eq. 35", reads=(TRAINED_WEIGHTS,), is_logarithm=True)
def sum_of_spectral_norms(stack: NetworkStack) -> torch.Tensor:
    """Return ``L (prod_l ||W_l||_2^2)^(1/L)``: L layers, each with the geometric mean norm.

    Jiang et al. 2020, eq. 35. Raw value.

    Reads the trained weights; biases, normalization and convolutions as in
    `product_of_spectral_norms`.

    Raises
    ------
    UndefinedMeasureError
        As `parameter_norm`.
    """
    return _log_sum(stack, _log_product(stack, "spectral"))


@reference(source="Jiang et al. 2020, eq. 34", reads=WITH_MARGIN, is_logarithm=True)
def sum_of_spectral_norms_over_margin(stack: NetworkStack) -> torch.Tensor:
    """Return ``L (prod_l ||W_l||_2^2 / gamma^2)^(1/L)``.

    Jiang et al. 2020, eq. 34; gamma is the 10th percentile of the training margins. Raw value.

    Reads trained weights, inputs and labels; biases, normalization and convolutions as in
    `product_of_spectral_norms`.

    Raises
    ------
    UndefinedMeasureError
        As `parameter_norm` and `inverse_margin`.
    """
    return _log_sum(stack, _log_product(stack, "spectral") + _log_inverse_margin(stack))


@reference(source="Jiang et al. 2020, eq. 33", reads=(TRAINED_WEIGHTS,))
def frobenius_over_spectral(stack: NetworkStack) -> torch.Tensor:
    """Return ``sum_l ||W_l||_F^2 / ||W_l||_2^2``, the sum of the layers' stable ranks.

    Jiang et al. 2020, eq. 33. Raw value, at least the number of layers.

    Reads the trained weights; biases, normalization and convolutions as in
    `product_of_spectral_norms`.

    Raises
    ------
    UndefinedMeasureError
        As `parameter_norm`.
    """
    return _ratio_sum(stack, "spectral", "norms")


@reference(source="Jiang et al. 2020, eq. 30", reads=WITH_MARGIN, is_logarithm=True)
def spectral_bound_origin(stack: NetworkStack) -> torch.Tensor:
    """Return ``prod_l ||W_l||_2^2 / gamma^2 * sum_l ||W_l||_F^2 / ||W_l||_2^2``.

    Jiang et al. 2020, eq. 30 (spec-orig-main), the main term of the spectrally normalized margin
    bounds, which takes its logarithm; gamma is the 10th percentile of the training margins. Raw
    value.

    Reads trained weights, inputs and labels; biases, normalization and convolutions as in
    `product_of_spectral_norms`.

    Raises
    ------
    UndefinedMeasureError
        As `parameter_norm` and `inverse_margin`.
    """
    return _log_spectral_bound(stack, "spectral", "norms")


@reference(
    source="Jiang et al. 2020, eq. 29",
    reads=(*WITH_INITIAL, INPUTS, LABELS),
    is_logarithm=True,
)
def spectral_bound_initialization(stack: NetworkStack) -> torch.Tensor:
    """Return ``prod_l ||W_l||_2^2 / gamma^2 * sum_l ||W_l - W0_l||_F^2 / ||W_l||_2^2``.

    Jiang et al. 2020, eq. 29 (spec-init-main), which takes its logarithm; gamma is the 10th
    percentile of the training margins. Raw value.

    Reads trained and initial weights, inputs and labels; biases, normalization and convolutions as
    in `product_of_spectral_norms`.

    Raises
    ------
    UndefinedMeasureError
        As `parameter_norm` and `inverse_margin`.
    """
    return _log_spectral_bound(stack, "spectral", "changes")


def _log_inverse_margin(stack: NetworkStack) -> torch.Tensor:
    from pytest_fragility.measures.common.outputs import log_margin

    return -2 * log_margin(stack)


def _log_product(stack: NetworkStack, kind: str) -> torch.Tensor:
    return 2 * _norms(stack, kind).log().sum(dim=1)


def _log_sum(stack: NetworkStack, log_product: torch.Tensor) -> torch.Tensor:
    from pytest_fragility.networks.weight_layers import weight_layers

    depth = len(weight_layers(stack))
    return math.log(depth) + log_product / depth


def _log_spectral_bound(stack: NetworkStack, kind: str, numerator: str) -> torch.Tensor:
    log_product = _log_product(stack, kind) + _log_inverse_margin(stack)
    return log_product + _ratio_sum(stack, kind, numerator).log()


def _ratio_sum(stack: NetworkStack, kind: str, numerator: str) -> torch.Tensor:
    from pytest_fragility.measures.norms import singular_values as spectra

    above = (
        spectra.frobenius_norms(stack)
        if numerator == "norms"
        else spectra.frobenius_distances(stack)
    )
    return (above / _norms(stack, kind)).square().sum(dim=1)


def _norms(stack: NetworkStack, kind: str) -> torch.Tensor:
    """Return a kind of norm of every layer, shape (K, L)."""
    from pytest_fragility.measures.norms import singular_values as spectra

    if kind == "frobenius":
        return spectra.frobenius_norms(stack)
    if kind == "operator":
        return spectra.operator_norms(stack)
    return spectra.spectral_norms(stack)
