"""Reference measures, grouped by what they read, and controls.

Every measure says in its docstring what it computes, where that comes from, what it reads, what it
does with biases, normalization and convolutions, and when it raises. ``measure.bound_form`` is the
form in which it enters its bound.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from pytest_fragility.measures.adapters import adapt
from pytest_fragility.measures.bound_forms import bound_form
from pytest_fragility.measures.controls import (
    at_initialization,
    noise,
    oracle_test_error,
    parameter_count,
    path_norm_at_initialization,
    train_loss,
)
from pytest_fragility.measures.marginal_likelihood.bounds import (
    marginal_likelihood_bound,
    marginal_likelihood_bound_as_published,
    negative_log_evidence,
    negative_log_evidence_probit,
    prior_kernel,
    sum_of_one_vs_rest_negative_log_evidences,
)
from pytest_fragility.measures.measure import (
    Measure,
    constant,
    control,
    is_constant,
    is_control,
    measure_name,
    oracle,
    unclaimed,
)
from pytest_fragility.measures.norms.operator_norms import (
    frobenius_over_spectral_fft,
    product_of_spectral_norms_fft,
    product_of_spectral_norms_over_margin_fft,
    spectral_bound_initialization_fft,
    spectral_bound_origin_fft,
    spectral_distance_from_initialization_fft,
    sum_of_spectral_norms_fft,
    sum_of_spectral_norms_over_margin_fft,
)
from pytest_fragility.measures.norms.path_norms import (
    path_norm,
    path_norm_bound,
    path_norm_over_margin,
)
from pytest_fragility.measures.norms.weight_norms import (
    frobenius_distance_from_initialization,
    frobenius_over_spectral,
    inverse_margin,
    parameter_norm,
    product_of_frobenius_norms,
    product_of_frobenius_norms_over_margin,
    product_of_spectral_norms,
    product_of_spectral_norms_over_margin,
    spectral_bound_initialization,
    spectral_bound_origin,
    spectral_distance_from_initialization,
    sum_of_frobenius_norms,
    sum_of_frobenius_norms_over_margin,
    sum_of_spectral_norms,
    sum_of_spectral_norms_over_margin,
)
from pytest_fragility.measures.pac_bayes.bounds import (
    pac_bayes_flatness,
    pac_bayes_initialization,
    pac_bayes_magnitude_flatness,
    pac_bayes_magnitude_initialization,
    pac_bayes_magnitude_origin,
    pac_bayes_origin,
)
from pytest_fragility.measures.pac_bayes.bounds_as_published import (
    pac_bayes_flatness_as_published,
    pac_bayes_initialization_as_published,
    pac_bayes_magnitude_flatness_as_published,
    pac_bayes_magnitude_initialization_as_published,
    pac_bayes_magnitude_origin_as_published,
    pac_bayes_origin_as_published,
)
from pytest_fragility.measures.sharpness.sharpness import (
    adaptive_sharpness,
    fisher_rao_norm,
    gradient_norm,
    hessian_largest_eigenvalue,
    hessian_trace,
    worst_case_sharpness,
)
from pytest_fragility.measures.stacked import StackMeasure, stacked

if TYPE_CHECKING:
    from pytest_fragility.measures.marginal_likelihood.evidence import log_evidence
    from pytest_fragility.measures.marginal_likelihood.kernels import (
        monte_carlo_kernel,
        network_kernel,
        relu_kernel,
    )
    from pytest_fragility.measures.pac_bayes.noise_search import sigma_search
    from pytest_fragility.measures.sharpness.hessian import hessian_trace_estimate

# these need torch or SciPy, which naming a measure does not
_HOME_OF = {
    "hessian_trace_estimate": "sharpness.hessian",
    "log_evidence": "marginal_likelihood.evidence",
    "monte_carlo_kernel": "marginal_likelihood.kernels",
    "network_kernel": "marginal_likelihood.kernels",
    "relu_kernel": "marginal_likelihood.kernels",
    "sigma_search": "pac_bayes.noise_search",
}

__all__ = [
    "Measure",
    "StackMeasure",
    "adapt",
    "adaptive_sharpness",
    "at_initialization",
    "bound_form",
    "constant",
    "control",
    "control_measures",
    "fisher_rao_norm",
    "frobenius_distance_from_initialization",
    "frobenius_over_spectral",
    "frobenius_over_spectral_fft",
    "gradient_norm",
    "hessian_largest_eigenvalue",
    "hessian_trace",
    "hessian_trace_estimate",
    "inverse_margin",
    "is_constant",
    "is_control",
    "log_evidence",
    "marginal_likelihood_bound",
    "marginal_likelihood_bound_as_published",
    "measure_name",
    "monte_carlo_kernel",
    "negative_log_evidence",
    "negative_log_evidence_probit",
    "network_kernel",
    "noise",
    "oracle",
    "oracle_test_error",
    "pac_bayes_flatness",
    "pac_bayes_flatness_as_published",
    "pac_bayes_initialization",
    "pac_bayes_initialization_as_published",
    "pac_bayes_magnitude_flatness",
    "pac_bayes_magnitude_flatness_as_published",
    "pac_bayes_magnitude_initialization",
    "pac_bayes_magnitude_initialization_as_published",
    "pac_bayes_magnitude_origin",
    "pac_bayes_magnitude_origin_as_published",
    "pac_bayes_origin",
    "pac_bayes_origin_as_published",
    "parameter_count",
    "parameter_norm",
    "path_norm",
    "path_norm_at_initialization",
    "path_norm_bound",
    "path_norm_over_margin",
    "prior_kernel",
    "product_of_frobenius_norms",
    "product_of_frobenius_norms_over_margin",
    "product_of_spectral_norms",
    "product_of_spectral_norms_fft",
    "product_of_spectral_norms_over_margin",
    "product_of_spectral_norms_over_margin_fft",
    "reference_measures",
    "relu_kernel",
    "sigma_search",
    "spectral_bound_initialization",
    "spectral_bound_initialization_fft",
    "spectral_bound_origin",
    "spectral_bound_origin_fft",
    "spectral_distance_from_initialization",
    "spectral_distance_from_initialization_fft",
    "stacked",
    "sum_of_frobenius_norms",
    "sum_of_frobenius_norms_over_margin",
    "sum_of_one_vs_rest_negative_log_evidences",
    "sum_of_spectral_norms",
    "sum_of_spectral_norms_fft",
    "sum_of_spectral_norms_over_margin",
    "sum_of_spectral_norms_over_margin_fft",
    "train_loss",
    "unclaimed",
    "worst_case_sharpness",
]


def control_measures() -> dict[str, Measure]:
    """Return the measures by name whose verdict is known beforehand."""
    return {name: globals()[name] for name in __all__ if is_control(globals().get(name, name))}


def reference_measures() -> dict[str, StackMeasure]:
    """Return the measures by name that are computed over stacks, controls among them."""
    return {
        name: value for name in __all__ if isinstance(value := globals().get(name), StackMeasure)
    }


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)
