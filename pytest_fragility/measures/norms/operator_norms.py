"""Spectral measures with convolutions taken as the operators that they are.

The norm of a convolution is that of the circular one on the layer's own input size, worked out
exactly by Fourier transform (Sedghi et al. 2019), stride included. Zero padding differs from
circular padding at the border. Published code takes the network's input size for every layer and
leaves strides out. Without convolutions these are the measures of
`pytest_fragility.measures.norms.weight_norms`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_fragility.measures.norms.weight_norms import (
    WITH_INITIAL,
    WITH_MARGIN,
    _log_inverse_margin,
    _log_product,
    _log_spectral_bound,
    _log_sum,
    _ratio_sum,
)
from pytest_fragility.measures.stacked import INPUTS, LABELS, TRAINED_WEIGHTS, reference

if TYPE_CHECKING:
    import torch

    from pytest_fragility.networks.stacks import NetworkStack


@reference(
    source="Jiang et al. 2020, eq. 32; Sedghi et al. 2019",
    reads=(TRAINED_WEIGHTS, INPUTS),
    is_logarithm=True,
)
def product_of_spectral_norms_fft(stack: NetworkStack) -> torch.Tensor:
    """Return ``prod_l ||W_l||_op^2``, the product of squared operator norms.

    Jiang et al. 2020, eq. 32, with the exact norm of each circular convolution on its own input
    size (Sedghi et al. 2019, theorem 6); a linear layer's is that of its matrix. Raw value.

    Reads the trained weights, and of the inputs their shape. Biases are left out,
    batch normalization is folded in, strides, dilations and groups are followed. In float64.

    Raises
    ------
    UndefinedMeasureError
        As `parameter_norm`; where a stride does not divide its input's size.
    """
    return _log_product(stack, "operator")


@reference(
    source="Jiang et al. 2020, eq. 31; Sedghi et al. 2019",
    reads=WITH_MARGIN,
    is_logarithm=True,
)
def product_of_spectral_norms_over_margin_fft(stack: NetworkStack) -> torch.Tensor:
    """Return ``prod_l ||W_l||_op^2 / gamma^2`` with operator norms.

    Jiang et al. 2020, eq. 31, with the exact norm of each circular convolution on its own input
    size (Sedghi et al. 2019, theorem 6); a linear layer's is that of its matrix. gamma is the 10th
    percentile of the training margins. Raw value.

    Reads trained weights, inputs and labels. Biases are left out,
    batch normalization is folded in, strides, dilations and groups are followed. In float64.

    Raises
    ------
    UndefinedMeasureError
        As `parameter_norm` and `inverse_margin`; where a stride does not divide its input's size.
    """
    return _log_product(stack, "operator") + _log_inverse_margin(stack)


@reference(
    source="Jiang et al. 2020, eq. 35; Sedghi et al. 2019",
    reads=(TRAINED_WEIGHTS, INPUTS),
    is_logarithm=True,
)
def sum_of_spectral_norms_fft(stack: NetworkStack) -> torch.Tensor:
    """Return ``L (prod_l ||W_l||_op^2)^(1/L)`` with operator norms.

    Jiang et al. 2020, eq. 35, with the exact norm of each circular convolution on its own input
    size (Sedghi et al. 2019, theorem 6); a linear layer's is that of its matrix. Raw value.

    Reads the trained weights, and of the inputs their shape. Biases are left out,
    batch normalization is folded in, strides, dilations and groups are followed. In float64.

    Raises
    ------
    UndefinedMeasureError
        As `parameter_norm`; where a stride does not divide its input's size.
    """
    return _log_sum(stack, _log_product(stack, "operator"))


@reference(
    source="Jiang et al. 2020, eq. 34; Sedghi et al. 2019",
    reads=WITH_MARGIN,
    is_logarithm=True,
)
def sum_of_spectral_norms_over_margin_fft(stack: NetworkStack) -> torch.Tensor:
    """Return ``L (prod_l ||W_l||_op^2 / gamma^2)^(1/L)`` with operator norms.

    Jiang et al. 2020, eq. 34, with the exact norm of each circular convolution on its own input
    size (Sedghi et al. 2019, theorem 6); a linear layer's is that of its matrix. gamma is the 10th
    percentile of the training margins. Raw value.

    Reads trained weights, inputs and labels. Biases are left out,
    batch normalization is folded in, strides, dilations and groups are followed. In float64.

    Raises
    ------
    UndefinedMeasureError
        As `parameter_norm` and `inverse_margin`; where a stride does not divide its input's size.
    """
    return _log_sum(stack, _log_product(stack, "operator") + _log_inverse_margin(stack))


@reference(
    source="Jiang et al. 2020, eq. 33; Sedghi et al. 2019",
    reads=(TRAINED_WEIGHTS, INPUTS),
)
def frobenius_over_spectral_fft(stack: NetworkStack) -> torch.Tensor:
    """Return ``sum_l ||W_l||_F^2 / ||W_l||_op^2`` with operator norms.

    Jiang et al. 2020, eq. 33, with the exact norm of each circular convolution on its own input
    size (Sedghi et al. 2019, theorem 6); a linear layer's is that of its matrix. Raw value.

    Reads the trained weights, and of the inputs their shape. Biases are left out,
    batch normalization is folded in, strides, dilations and groups are followed. In float64.

    Raises
    ------
    UndefinedMeasureError
        As `parameter_norm`; where a stride does not divide its input's size.
    """
    return _ratio_sum(stack, "operator", "norms")


@reference(
    source="Jiang et al. 2020, eq. 30; Sedghi et al. 2019",
    reads=WITH_MARGIN,
    is_logarithm=True,
)
def spectral_bound_origin_fft(stack: NetworkStack) -> torch.Tensor:
    """Return `spectral_bound_origin` with operator norms.

    Jiang et al. 2020, eq. 30, with the exact norm of each circular convolution on its own input
    size (Sedghi et al. 2019, theorem 6); a linear layer's is that of its matrix. gamma is the 10th
    percentile of the training margins. Raw value.

    Reads trained weights, inputs and labels. Biases are left out,
    batch normalization is folded in, strides, dilations and groups are followed. In float64.

    Raises
    ------
    UndefinedMeasureError
        As `parameter_norm` and `inverse_margin`; where a stride does not divide its input's size.
    """
    return _log_spectral_bound(stack, "operator", "norms")


@reference(
    source="Jiang et al. 2020, eq. 29; Sedghi et al. 2019",
    reads=(*WITH_INITIAL, INPUTS, LABELS),
    is_logarithm=True,
)
def spectral_bound_initialization_fft(stack: NetworkStack) -> torch.Tensor:
    """Return `spectral_bound_initialization` with operator norms.

    Jiang et al. 2020, eq. 29, with the exact norm of each circular convolution on its own input
    size (Sedghi et al. 2019, theorem 6); a linear layer's is that of its matrix. gamma is the 10th
    percentile of the training margins. Raw value.

    Reads trained and initial weights, inputs and labels. Biases are left out,
    batch normalization is folded in, strides, dilations and groups are followed. In float64.

    Raises
    ------
    UndefinedMeasureError
        As `parameter_norm` and `inverse_margin`; where a stride does not divide its input's size.
    """
    return _log_spectral_bound(stack, "operator", "changes")


@reference(
    source="Jiang et al. 2020, eq. 41; Sedghi et al. 2019",
    reads=(*WITH_INITIAL, INPUTS),
)
def spectral_distance_from_initialization_fft(stack: NetworkStack) -> torch.Tensor:
    """Return ``sum_l ||W_l - W0_l||_op^2`` with operator norms.

    Jiang et al. 2020, eq. 41, with the exact norm of each circular convolution on its own input
    size (Sedghi et al. 2019, theorem 6); a linear layer's is that of its matrix. Raw value.

    Reads trained and initial weights, and of the inputs their shape. Biases are left out,
    batch normalization is folded in, strides, dilations and groups are followed. In float64.

    Raises
    ------
    UndefinedMeasureError
        As `parameter_norm`; where a stride does not divide its input's size.
    """
    from pytest_fragility.measures.norms.singular_values import operator_distances

    return operator_distances(stack).square().sum(dim=1)
