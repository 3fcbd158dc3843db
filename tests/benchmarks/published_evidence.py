"""Evidences as published code finds them: one network after the other, one site after the other.

Expectation propagation as in Rasmussen and Williams 2006, algorithm 3.5: the posterior is updated
after every site, by a rank-one update in place, and worked out anew after every sweep.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy.linalg import cholesky, solve_triangular
from scipy.linalg.blas import dsyr
from scipy.special import log_ndtr

from pytest_fragility.measures import relu_kernel
from pytest_fragility.networks.trained_network import TrainedNetwork

Floats = npt.NDArray[np.float64]

SWEEPS = 100
TOLERANCE = 1e-6
FAILURE = 2.0**-10
EVIDENCE_MEASURES = (
    "negative_log_evidence",
    "negative_log_evidence_probit",
    "marginal_likelihood_bound",
    "marginal_likelihood_bound_as_published",
    "sum_of_one_vs_rest_negative_log_evidences",
)


def evidence_values(network: TrainedNetwork) -> dict[str, float]:
    """Return the evidences of one network, and the bounds that come of them."""
    classes, n = network.model(network.inputs[:1]).shape[1], network.n
    labels = network.labels.numpy()
    halves = np.where(2 * labels < classes, -1.0, 1.0)
    each_class = [np.where(labels == one, 1.0, -1.0) for one in range(classes)]
    own = -log_evidence(kernel_of(network), halves, link_variance=0.0)
    theorem = (own + math.log(n) - 2 * math.log(FAILURE)) / (n - 1)
    published = (own + 2 * math.log(n) + 1 - math.log(FAILURE)) / n
    return {
        "negative_log_evidence": own,
        "marginal_likelihood_bound": -math.expm1(-theorem),
        "marginal_likelihood_bound_as_published": -math.expm1(-published),
        "negative_log_evidence_probit": -log_evidence(
            kernel_of(network), halves, link_variance=1.0
        ),
        "sum_of_one_vs_rest_negative_log_evidences": -sum(
            log_evidence(kernel_of(network), signs, link_variance=0.0) for signs in each_class
        ),
    }


def kernel_of(network: TrainedNetwork) -> Floats:
    """Return the kernel of a network's architecture with He's initialization, shape (n, n)."""
    layers = [parameter for parameter in network.model.parameters() if parameter.dim() > 1]
    variance = 2 * network.recipe.initialization_scale**2
    inputs = network.inputs.double().flatten(1).numpy()
    kernel: Floats = relu_kernel(
        inputs, hidden_layers=len(layers) - 1, weight_variance=variance, bias_variance=0.0
    )
    return kernel


def log_evidence(kernel: Floats, signs: Floats, *, link_variance: float) -> float:
    """Return the log evidence by sequential expectation propagation."""
    n = len(signs)
    kernel = kernel + 1e-10 * np.trace(kernel) / n * np.eye(n)
    precisions, shifts = np.zeros(n), np.zeros(n)
    covariance, means = np.array(kernel, order="F"), np.zeros(n)
    known = -math.inf
    for _ in range(SWEEPS):
        for site in range(n):
            column = np.concatenate([covariance[site, :site], covariance[site:, site]])
            precision = 1 / column[site] - precisions[site]
            shift = means[site] / column[site] - shifts[site]
            mean, variance = shift / precision, 1 / precision
            spread = math.sqrt(link_variance + variance)
            z = signs[site] * mean / spread
            ratio = math.exp(-z * z / 2 - math.log(2 * math.pi) / 2 - float(log_ndtr(z)))
            matched = mean + signs[site] * variance * ratio / spread
            shrunk = variance - variance**2 * ratio * (z + ratio) / (link_variance + variance)
            change = 1 / shrunk - precision - precisions[site]
            shift_change = matched / shrunk - shift - shifts[site]
            precisions[site] += change
            shifts[site] += shift_change
            share = 1 / (1 + change * column[site])
            means = means + share * (shift_change - change * means[site]) * column
            covariance = dsyr(-change * share, column, lower=1, a=covariance, overwrite_a=1)
        covariance, means, value = posterior(kernel, signs, precisions, shifts, link_variance)
        if abs(value - known) < TOLERANCE * max(1.0, abs(value)):
            break
        known = value
    return value


def posterior(
    kernel: Floats, signs: Floats, precisions: Floats, shifts: Floats, link_variance: float
) -> tuple[Floats, Floats, float]:
    """Return the posterior's covariance and means, and the log evidence (eqs. 3.53, 3.65)."""
    roots = np.sqrt(precisions)
    factor = cholesky(np.eye(len(signs)) + roots[:, None] * kernel * roots, lower=True)
    half = solve_triangular(factor, roots[:, None] * kernel, lower=True)
    covariance = np.asfortranarray(kernel - half.T @ half)
    means = covariance @ shifts
    cavity = 1 / np.diag(covariance) - precisions
    cavity_means = (means / np.diag(covariance) - shifts) / cavity
    z = signs * cavity_means / np.sqrt(link_variance + 1 / cavity)
    both = cavity + precisions
    value = (
        log_ndtr(z).sum()
        + 0.5 * np.log1p(precisions / cavity).sum()
        - np.log(np.diag(factor)).sum()
        + 0.5 * shifts @ (covariance - np.diag(1 / both)) @ shifts
        + 0.5 * (cavity_means * cavity * (precisions * cavity_means - 2 * shifts) / both).sum()
    )
    return covariance, means, float(value)
