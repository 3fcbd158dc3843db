"""Gaussian sites of expectation propagation, one for each sample, and the moments that they match.

For NumPy's arrays and torch's tensors alike, with samples along the last dimension; see Rasmussen
and Williams 2006, section 3.6.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from scipy.special import log_ndtr

# of a marginal without its own site, relative to that with it
SMALLEST_PRECISION = 1e-12
Array = Any


class Functions(NamedTuple):
    """What arrays of one kind are worked on with, element by element, and their largest."""

    exp: Any
    sqrt: Any
    log1p: Any
    log_ndtr: Any
    maximum: Any
    minimum: Any
    amax: Any


NUMPY = Functions(np.exp, np.sqrt, np.log1p, log_ndtr, np.maximum, np.minimum, np.amax)


class Sites:
    """Sites in natural parameters, zero at first.

    Signs have samples along the last dimension, each -1 or 1. `link_variance` is that of the noise
    on the latent function that the link stands for.
    """

    def __init__(self, functions: Functions, signs: Array, link_variance: float) -> None:
        self._of = functions
        self._signs = signs
        self._link_variance = link_variance
        self.precisions = 0 * signs
        self.shifts = 0 * signs

    def move(self, means: Array, variances: Array, damping: Array) -> None:
        """Move towards the sites whose moments match, where the posterior's marginals are these.

        `damping` is the share of the way to go, a number or in a shape that multiplies the signs'.
        """
        means, variances = self._cavities(means, variances)
        new_means, shrunk = self._matched(means, variances)
        new_variances = variances * (1 - shrunk)
        precisions = shrunk / new_variances
        shifts = new_means / new_variances - means / variances
        self.precisions += damping * (precisions - self.precisions)
        self.shifts += damping * (shifts - self.shifts)

    def divergence(self, means: Array, variances: Array) -> Array:
        """Return that of the marginals from the matched ones, in nats, summed over the samples."""
        cavity_means, cavity_variances = self._cavities(means, variances)
        new_means, shrunk = self._matched(cavity_means, cavity_variances)
        moved = (new_means - means) ** 2 / variances
        widened = cavity_variances * (1 - shrunk) / variances - 1
        return 0.5 * moved.sum(-1) + 0.25 * (widened**2).sum(-1)

    def followed(self, means: Array, variances: Array) -> tuple[Array, Array]:
        """Return shifts that match the means at precisions as they are, and how far off these were.

        That is the largest distance, in standard deviations, over the samples.
        """
        cavity_means, cavity_variances = self._cavities(means, variances)
        new_means, _ = self._matched(cavity_means, cavity_variances)
        distances = abs(new_means - means) / self._of.sqrt(variances)
        pulls = cavity_means / cavity_variances
        shifts = new_means * (1 / cavity_variances + self.precisions) - pulls
        return shifts, self._of.amax(distances, -1)

    def log_normalizers(self, means: Array, variances: Array) -> Array:
        """Return what the sites add to the log evidence by themselves, summed over the samples."""
        means, variances = self._cavities(means, variances)
        cavity = 1 / variances
        both = cavity + self.precisions
        z = self._signs * means / self._of.sqrt(self._link_variance + variances)
        terms = (
            self._of.log_ndtr(z)
            + 0.5 * self._of.log1p(self.precisions / cavity)
            - 0.5 * self.shifts**2 / both
            + 0.5 * means * cavity * (self.precisions * means - 2 * self.shifts) / both
        )
        return terms.sum(-1)

    def _cavities(self, means: Array, variances: Array) -> tuple[Array, Array]:
        """Return mean and variance of each sample's marginal without its own site."""
        precisions = 1 / variances - self.precisions
        precisions = self._of.maximum(precisions, SMALLEST_PRECISION / variances)
        return (means / variances - self.shifts) / precisions, 1 / precisions

    def _matched(self, means: Array, variances: Array) -> tuple[Array, Array]:
        """Return each sample's mean given its label, and by which share its variance shrinks."""
        spread = self._of.sqrt(self._link_variance + variances)
        z = self._signs * means / spread
        logs = -0.5 * z * z - 0.5 * math.log(2 * math.pi) - self._of.log_ndtr(z)
        ratio = self._of.exp(logs)
        shrunk = variances * ratio * (z + ratio) / (self._link_variance + variances)
        # a variance left is at least this share of what it was, which rounding hides far out
        shrunk = self._of.minimum(shrunk, 1 - 1 / (z * z + 6))
        return means + self._signs * variances * ratio / spread, shrunk
