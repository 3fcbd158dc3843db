"""Measures that combine one norm of every layer, and the margin.

The norms of the layers, and the distances from initialization, stand in a table below: each row is
one way to combine them, with one norm of a layer. A convolution is a matrix for the spectral norm;
for the operator norm (``_fft``) it is the circular convolution on the layer's own input size,
worked out exactly by Fourier transform (Sedghi et al. 2019), stride included. Zero padding differs
from circular padding at the border. Published code takes the network's input size for every layer
and leaves strides out.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from pytest_fragility.measures.stacked import (
    INITIAL_WEIGHTS,
    INPUTS,
    LABELS,
    TRAINED_WEIGHTS,
    StackMeasure,
    declared,
    reference,
)

if TYPE_CHECKING:
    import torch

    from pytest_fragility.networks.stacks import NetworkStack


@reference(
    source="Jiang et al. 2020, eq. 22", reads=(TRAINED_WEIGHTS, INPUTS, LABELS), is_logarithm=True
)
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


class _LayerNorm(NamedTuple):
    """A norm of one layer's weight, by the names of the functions of `singular_values` for it."""

    of_weights: str
    of_changes: str
    # what its measures say of biases, normalization and convolutions
    remark: str


_AS_IN = "; biases, normalization and convolutions as in `product_of_{}_norms`."
_FROBENIUS = _LayerNorm("frobenius_norms", "frobenius_distances", _AS_IN.format("frobenius"))
_SPECTRAL = _LayerNorm("spectral_norms", "spectral_distances", _AS_IN.format("spectral"))
_OPERATOR = _LayerNorm(
    "operator_norms",
    "operator_distances",
    ". Biases are left out, batch normalization is folded in, strides, dilations and groups are "
    "followed. In float64.",
)


class _Combination(NamedTuple):
    """One number made of all layers' norms, and of what else."""

    compute: Callable[[NetworkStack, _LayerNorm], torch.Tensor]
    is_logarithm: bool = True
    has_margin: bool = False
    has_initial: bool = False


def _norms(stack: NetworkStack, function: str) -> torch.Tensor:
    """Return a norm of every layer, shape (K, L)."""
    from pytest_fragility.measures.norms import singular_values

    norms: torch.Tensor = getattr(singular_values, function)(stack)
    return norms


def _log_inverse_margin(stack: NetworkStack) -> torch.Tensor:
    from pytest_fragility.measures.common.outputs import log_margin

    return -2 * log_margin(stack)


def _log_product(stack: NetworkStack, norm: _LayerNorm) -> torch.Tensor:
    return 2 * _norms(stack, norm.of_weights).log().sum(dim=1)


def _log_product_over_margin(stack: NetworkStack, norm: _LayerNorm) -> torch.Tensor:
    return _log_product(stack, norm) + _log_inverse_margin(stack)


def _layers_times_mean(stack: NetworkStack, log_product: torch.Tensor) -> torch.Tensor:
    from pytest_fragility.networks.weight_layers import weight_layers

    depth = len(weight_layers(stack))
    return math.log(depth) + log_product / depth


def _ratios(stack: NetworkStack, norm: _LayerNorm, above: str) -> torch.Tensor:
    """Return the sum of squares of one kind of layer norm over another."""
    return (_norms(stack, above) / _norms(stack, norm.of_weights)).square().sum(dim=1)


_DISTANCE = _Combination(
    lambda stack, norm: _norms(stack, norm.of_changes).square().sum(dim=1),
    is_logarithm=False,
    has_initial=True,
)
_PRODUCT = _Combination(_log_product)
_PRODUCT_OVER_MARGIN = _Combination(_log_product_over_margin, has_margin=True)
_SUM = _Combination(lambda stack, norm: _layers_times_mean(stack, _log_product(stack, norm)))
_SUM_OVER_MARGIN = _Combination(
    lambda stack, norm: _layers_times_mean(stack, _log_product_over_margin(stack, norm)),
    has_margin=True,
)
_RATIO = _Combination(
    lambda stack, norm: _ratios(stack, norm, _FROBENIUS.of_weights), is_logarithm=False
)
_BOUND_ORIGIN = _Combination(
    lambda stack, norm: (
        _log_product_over_margin(stack, norm) + _ratios(stack, norm, _FROBENIUS.of_weights).log()
    ),
    has_margin=True,
)
_BOUND_INITIALIZATION = _Combination(
    lambda stack, norm: (
        _log_product_over_margin(stack, norm) + _ratios(stack, norm, _FROBENIUS.of_changes).log()
    ),
    has_margin=True,
    has_initial=True,
)


def _row(
    name: str,
    combination: _Combination,
    norm: _LayerNorm,
    equation: int,
    says: str,
    remark: str = "",
    value: str = "Raw value.",
    reads: str = "",
) -> StackMeasure:
    """Declare a measure: a combination of the layers' norms, an equation of Jiang et al. 2020.

    `says` is the docstring's first line, `remark` is about the equation and `value` about the
    value; `reads` says what it does with which weights where the norm does not say it.
    """
    is_operator = norm is _OPERATOR
    weights = "trained and initial weights" if combination.has_initial else "the trained weights"
    if combination.has_margin:
        weights = f"{weights.removeprefix('the ')}, inputs and labels"
    elif is_operator:
        weights += ", and of the inputs their shape"
    source = f"Jiang et al. 2020, eq. {equation}"
    gamma = "gamma is the 10th percentile of the training margins"
    remark += f"{'.' if is_operator else ';'} {gamma}." if combination.has_margin else "."
    raises = "As `parameter_norm`" + " and `inverse_margin`" * combination.has_margin
    raises += "; where a stride does not divide its input's size" * is_operator
    parts = {
        TRAINED_WEIGHTS: True,
        INITIAL_WEIGHTS: combination.has_initial,
        INPUTS: combination.has_margin or is_operator,
        LABELS: combination.has_margin,
    }

    def compute(stack: NetworkStack) -> torch.Tensor:
        return combination.compute(stack, norm)

    return declared(
        name,
        compute,
        says,
        f"{source}{remark} {value}",
        reads or f"Reads {weights}{norm.remark}",
        raises=f"{raises}.",
        source=f"{source}; Sedghi et al. 2019" if is_operator else source,
        reads=tuple(part for part, is_read in parts.items() if is_read),
        is_logarithm=combination.is_logarithm,
    )


def _fft(spectral: StackMeasure, combination: _Combination, says: str) -> StackMeasure:
    """Declare what is said of spectral norms for the layers' norms as operators."""
    remark = (
        ", with the exact norm of each circular convolution on its own input size (Sedghi et al. "
        "2019, theorem 6); a linear layer's is that of its matrix"
    )
    equation = int(spectral.source.rpartition(" ")[2])
    return _row(f"{spectral.__name__}_fft", combination, _OPERATOR, equation, says, remark)


frobenius_distance_from_initialization = _row(
    "frobenius_distance_from_initialization",
    _DISTANCE,
    _FROBENIUS,
    40,
    "Return ``sum_l ||W_l - W0_l||_F^2``, the squared distance that the weights have gone.",
    value="Raw value; squared, as published.",
    reads="Reads trained and initial weights of linear layers and convolutions; biases are left "
    "out, batch normalization is folded in, the initial statistics into the initial weights. In "
    "float64.",
)
spectral_distance_from_initialization = _row(
    "spectral_distance_from_initialization",
    _DISTANCE,
    _SPECTRAL,
    41,
    "Return ``sum_l ||W_l - W0_l||_2^2``, squared spectral norms of what training has added.",
    value="Raw value; squared, as published.",
    reads="Reads trained and initial weights; convolutions are reshaped to (outputs, inputs x "
    "positions), biases left out, batch normalization folded in. In float64.",
)
spectral_distance_from_initialization_fft = _fft(
    spectral_distance_from_initialization,
    _DISTANCE,
    "Return ``sum_l ||W_l - W0_l||_op^2`` with operator norms.",
)

product_of_frobenius_norms = _row(
    "product_of_frobenius_norms",
    _PRODUCT,
    _FROBENIUS,
    37,
    "Return ``prod_l ||W_l||_F^2``, the product of squared Frobenius norms.",
    ", which takes its logarithm",
    reads="Reads the trained weights; biases are left out, batch normalization folded in, "
    "convolutions taken with all their entries. Dimensionless. In float64, in the log domain.",
)
product_of_spectral_norms = _row(
    "product_of_spectral_norms",
    _PRODUCT,
    _SPECTRAL,
    32,
    "Return ``prod_l ||W_l||_2^2``, the product of squared spectral norms.",
    ", which takes its logarithm",
    reads="Reads the trained weights; convolutions are reshaped to (outputs, inputs x positions), "
    "which is not the convolution's norm as an operator (see `product_of_spectral_norms_fft`); "
    "biases are left out, batch normalization folded in. Dimensionless. In float64, in the log "
    "domain.",
)
product_of_spectral_norms_fft = _fft(
    product_of_spectral_norms,
    _PRODUCT,
    "Return ``prod_l ||W_l||_op^2``, the product of squared operator norms.",
)

product_of_frobenius_norms_over_margin = _row(
    "product_of_frobenius_norms_over_margin",
    _PRODUCT_OVER_MARGIN,
    _FROBENIUS,
    36,
    "Return ``prod_l ||W_l||_F^2 / gamma^2``.",
    ", which takes its logarithm",
)
product_of_spectral_norms_over_margin = _row(
    "product_of_spectral_norms_over_margin",
    _PRODUCT_OVER_MARGIN,
    _SPECTRAL,
    31,
    "Return ``prod_l ||W_l||_2^2 / gamma^2``.",
    ", which takes its logarithm",
)
product_of_spectral_norms_over_margin_fft = _fft(
    product_of_spectral_norms_over_margin,
    _PRODUCT_OVER_MARGIN,
    "Return ``prod_l ||W_l||_op^2 / gamma^2`` with operator norms.",
)

sum_of_frobenius_norms = _row(
    "sum_of_frobenius_norms",
    _SUM,
    _FROBENIUS,
    39,
    "Return ``L (prod_l ||W_l||_F^2)^(1/L)``: L layers, each with the geometric mean norm.",
    ": the sum of the squared norms once the layers are rescaled to equal ones, which leaves the "
    "function of a ReLU network unchanged",
)
sum_of_spectral_norms = _row(
    "sum_of_spectral_norms",
    _SUM,
    _SPECTRAL,
    35,
    "Return ``L (prod_l ||W_l||_2^2)^(1/L)``: L layers, each with the geometric mean norm.",
)
sum_of_spectral_norms_fft = _fft(
    sum_of_spectral_norms, _SUM, "Return ``L (prod_l ||W_l||_op^2)^(1/L)`` with operator norms."
)

sum_of_frobenius_norms_over_margin = _row(
    "sum_of_frobenius_norms_over_margin",
    _SUM_OVER_MARGIN,
    _FROBENIUS,
    38,
    "Return ``L (prod_l ||W_l||_F^2 / gamma^2)^(1/L)``.",
)
sum_of_spectral_norms_over_margin = _row(
    "sum_of_spectral_norms_over_margin",
    _SUM_OVER_MARGIN,
    _SPECTRAL,
    34,
    "Return ``L (prod_l ||W_l||_2^2 / gamma^2)^(1/L)``.",
)
sum_of_spectral_norms_over_margin_fft = _fft(
    sum_of_spectral_norms_over_margin,
    _SUM_OVER_MARGIN,
    "Return ``L (prod_l ||W_l||_op^2 / gamma^2)^(1/L)`` with operator norms.",
)

frobenius_over_spectral = _row(
    "frobenius_over_spectral",
    _RATIO,
    _SPECTRAL,
    33,
    "Return ``sum_l ||W_l||_F^2 / ||W_l||_2^2``, the sum of the layers' stable ranks.",
    value="Raw value, at least the number of layers.",
)
frobenius_over_spectral_fft = _fft(
    frobenius_over_spectral,
    _RATIO,
    "Return ``sum_l ||W_l||_F^2 / ||W_l||_op^2`` with operator norms.",
)

spectral_bound_origin = _row(
    "spectral_bound_origin",
    _BOUND_ORIGIN,
    _SPECTRAL,
    30,
    "Return ``prod_l ||W_l||_2^2 / gamma^2 * sum_l ||W_l||_F^2 / ||W_l||_2^2``.",
    " (spec-orig-main), the main term of the spectrally normalized margin bounds, which takes its "
    "logarithm",
)
spectral_bound_origin_fft = _fft(
    spectral_bound_origin, _BOUND_ORIGIN, "Return `spectral_bound_origin` with operator norms."
)
spectral_bound_initialization = _row(
    "spectral_bound_initialization",
    _BOUND_INITIALIZATION,
    _SPECTRAL,
    29,
    "Return ``prod_l ||W_l||_2^2 / gamma^2 * sum_l ||W_l - W0_l||_F^2 / ||W_l||_2^2``.",
    " (spec-init-main), which takes its logarithm",
)
spectral_bound_initialization_fft = _fft(
    spectral_bound_initialization,
    _BOUND_INITIALIZATION,
    "Return `spectral_bound_initialization` with operator norms.",
)
