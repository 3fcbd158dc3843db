"""The log evidence of a Gaussian process classifier, by expectation propagation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.linalg import LinAlgError
from scipy.linalg.blas import dsymv
from scipy.linalg.lapack import get_lapack_funcs
from scipy.special import log_ndtr

from pytest_fragility.errors import UndefinedMeasureError

Floats = npt.NDArray[np.float64]

HEAVISIDE = "heaviside"
PROBIT = "probit"
# variance of the noise on the latent function that each link stands for
LINK_VARIANCE = {HEAVISIDE: 0.0, PROBIT: 1.0}

RELATIVE_JITTER = 1e-10
TOLERANCE = 1e-8
SWEEPS = 300
COINCIDENCE = 1e-12
SMALLEST_PRECISION = 1e-12
# relative to the prior's precision: the share of digits that a weaker site would lose
WEAK_SITE = 1e-4
FIRST_DAMPING, SMALLEST_DAMPING = 0.8, 0.2
# by which factor changes may be expected to shrink from one sweep to the next
FASTEST = 0.05
# relative change of the log evidence from which on means follow the sites between factorizations
NEAR = 0.2
# and from which on all is worked out to rounding
ROUGH = 1e-3
MOST_FOLLOWING = 2
NEARER = 0.7
# rows up to which a matrix is factorized as a whole
LEAF = 64


@dataclass(frozen=True)
class Evidence:
    """A log evidence with what it took.

    Parameters
    ----------
    log_evidence
        ln P(signs), in nats; at most zero.
    sweeps
        Passes over all sites until the next would change it by less than 1e-8 of itself, as far
        as the last two changes tell.
    jitter
        What was added to the kernel's diagonal.
    """

    log_evidence: float
    sweeps: int
    jitter: float


def log_evidence(kernel: npt.ArrayLike, signs: npt.ArrayLike, *, link: str = HEAVISIDE) -> Evidence:
    """Return the log probability of signs under a zero-mean Gaussian process.

    ``ln P(sign f_i = y_i for all i)`` with f ~ N(0, K) for the noiseless (Heaviside) link, or
    ``ln E[prod_i Phi(y_i f_i)]`` for the probit link, by expectation propagation (Rasmussen and
    Williams 2006, section 3.6) with parallel, damped updates. Its value is an approximation: within
    0.02 nats of exact orthant probabilities for up to 8 samples of moderate correlation, and below
    them where samples nearly coincide (by 0.12 nats for two copies of one sample, 0.6 for a
    hundred). With the Heaviside link it is unchanged by K -> c K.

    Parameters
    ----------
    kernel
        Shape (n, n), symmetric and positive semidefinite.
    signs
        Shape (n,), each -1 or 1.
    link
        ``"heaviside"`` or ``"probit"``.

    Raises
    ------
    UndefinedMeasureError
        For shapes, signs or kernels that make no sense; where two samples coincide and have
        opposite signs, or are opposite and have the same, which no function can have (Heaviside:
        evidence zero); where the iteration does not converge.
    """
    matrix = np.asarray(kernel, dtype=np.float64)
    labels = np.asarray(signs, dtype=np.float64)
    _require_usable(matrix, labels, link)
    jitter = RELATIVE_JITTER * float(np.trace(matrix)) / len(labels)
    matrix = matrix.copy()
    matrix[np.diag_indices_from(matrix)] += jitter
    return _Propagation(matrix, labels, LINK_VARIANCE[link]).run(jitter)


def _require_usable(kernel: Floats, signs: Floats, link: str) -> None:
    if link not in LINK_VARIANCE:
        raise UndefinedMeasureError(f"link {link!r}: expected one of {', '.join(LINK_VARIANCE)}")
    if signs.ndim != 1 or not len(signs) or kernel.shape != (len(signs), len(signs)):
        raise UndefinedMeasureError(
            f"a kernel of shape {kernel.shape} does not fit signs of shape {signs.shape}: expected "
            "(n, n) and (n,), with at least one sample"
        )
    if not np.isin(signs, (-1.0, 1.0)).all():
        raise UndefinedMeasureError(f"signs {np.unique(signs)}: expected -1 and 1 alone")
    if not np.isfinite(kernel).all():
        row, column = np.argwhere(~np.isfinite(kernel))[0]
        raise UndefinedMeasureError(
            f"the kernel is {kernel[row, column]} for samples {row} and {column}: expected finite "
            "numbers"
        )
    variances = np.diag(kernel)
    if not (variances > 0).all():
        place = int(np.argmin(variances))
        raise UndefinedMeasureError(
            f"the kernel gives sample {place} the variance {variances[place]:g}: expected a "
            "positive one (an input of zeros has none without biases)"
        )
    tolerance = 1e-8 * variances.max()
    # the first says it of most kernels, in a tenth of the time
    is_symmetric = np.array_equal(kernel, kernel.T) or np.allclose(
        kernel, kernel.T, rtol=1e-8, atol=tolerance
    )
    if not is_symmetric:
        raise UndefinedMeasureError("the kernel is not symmetric")
    if LINK_VARIANCE[link] == 0:
        _require_no_contradiction(kernel, signs)


def _require_no_contradiction(kernel: Floats, signs: Floats) -> None:
    """Refuse two samples whose outputs are the same, or opposite, against their signs."""
    scaled = signs / np.sqrt(np.diag(kernel))
    agreement = kernel * np.multiply.outer(scaled, scaled)
    if agreement.min() >= -(1 - COINCIDENCE):
        return
    row, column = sorted(np.unravel_index(int(agreement.argmin()), agreement.shape))
    how = (
        "coincide and have opposite labels"
        if signs[row] != signs[column]
        else "are opposite and have the same label"
    )
    raise UndefinedMeasureError(
        f"samples {row} and {column} {how}: no function of this prior fits both, so that the "
        "evidence is zero and has no logarithm. Remove one, or use the probit link, which allows "
        "for mistakes"
    )


def _factorize(
    matrix: npt.NDArray[np.floating[Any]], inverse: npt.NDArray[np.floating[Any]]
) -> None:
    """Write the inverse of a matrix's lower Cholesky factor to the lower half of `inverse`.

    Half by half, so that nearly all is products of matrices, which are fastest and, unlike SciPy's
    factorizations, let other threads work meanwhile. The matrix is overwritten.

    Raises
    ------
    LinAlgError
        If it is not positive definite.
    """
    size = len(matrix)
    if size <= LEAF:
        potrf, trtri = get_lapack_funcs(("potrf", "trtri"), (matrix,))
        factor, failure = potrf(matrix, lower=True)
        if failure:
            raise LinAlgError(f"leading minor {failure} of a block is not positive")
        inverse[...] = trtri(factor, lower=True)[0]
        return
    half = size // 2
    first, last = slice(half), slice(half, size)
    _factorize(matrix[first, first], inverse[first, first])
    below = matrix[last, first] @ inverse[first, first].T
    matrix[last, last] -= below @ below.T
    _factorize(matrix[last, last], inverse[last, last])
    np.matmul(-inverse[last, last], below @ inverse[first, first], out=inverse[last, first])


class _Memory:
    """What is written to at each sweep, in the precision of a kernel."""

    def __init__(self, kernel: npt.NDArray[np.floating[Any]]) -> None:
        self.kernel = kernel
        self.matrix = np.empty(kernel.shape, kernel.dtype)
        self.inverse = np.zeros(kernel.shape, kernel.dtype)


class _Propagation:
    """Expectation propagation with Gaussian sites, in natural parameters."""

    def __init__(self, kernel: Floats, signs: Floats, link_variance: float) -> None:
        # symmetric, and so the same in the order that SciPy takes without a copy
        self._kernel = kernel.T if kernel.flags.c_contiguous else np.asfortranarray(kernel)
        with np.errstate(over="ignore"):
            self._rough = _Memory(self._kernel.astype(np.float32))
        self._exact = _Memory(self._kernel)
        self._signs = signs
        self._link_variance = link_variance
        self._precisions = np.zeros(len(signs))
        self._shifts = np.zeros(len(signs))
        self._variances = np.diag(kernel).copy()
        self._means = np.zeros(len(signs))
        self._log_determinant = 0.0

    def run(self, jitter: float) -> Evidence:
        """Iterate until the log evidence stands still."""
        known = -math.inf
        change = math.inf
        damping = FIRST_DAMPING
        is_near, is_rough = False, True
        for sweep in range(1, SWEEPS + 1):
            self._update_sites(damping)
            self._update_posterior(is_rough=is_rough)
            if is_near:
                self._let_means_follow()
            value = self._value()
            if not math.isfinite(value):
                raise UndefinedMeasureError(
                    f"expectation propagation broke down after {sweep} sweeps (log evidence "
                    f"{value}); is the kernel positive semidefinite?"
                )
            previous_change, change = change, abs(value - known)
            known = value
            # the next change would be about so much smaller as the last one was
            shrinking = change / previous_change if 0 < previous_change < math.inf else 1.0
            next_change = change * min(1.0, max(shrinking, FASTEST))
            if not is_rough and next_change <= TOLERANCE * max(1.0, abs(value)):
                return Evidence(value, sweep, jitter)
            is_rough = is_rough and change > ROUGH * max(1.0, abs(value))
            if not is_near and change <= NEAR * max(1.0, abs(value)):
                is_near, damping = True, 1.0
            elif sweep > 3 and change > 0.9 * previous_change:
                # parallel updates overshoot to and fro; a smaller step settles them
                damping = max(0.8 * damping, SMALLEST_DAMPING)
        raise UndefinedMeasureError(
            f"expectation propagation did not converge in {SWEEPS} sweeps (log evidence near "
            f"{known:.6g}, still changing by {change:.2g})"
        )

    def _cavities(self) -> tuple[Floats, Floats]:
        """Return mean and variance of each sample's marginal without its own site."""
        precisions = 1 / self._variances - self._precisions
        precisions = np.maximum(precisions, SMALLEST_PRECISION / self._variances)
        means = (self._means / self._variances - self._shifts) / precisions
        return means, 1 / precisions

    def _update_sites(self, damping: float) -> None:
        """Move the sites towards those whose moments match."""
        means, variances = self._cavities()
        new_means, shrunk = self._matched(means, variances)
        new_variances = variances * (1 - shrunk)
        precisions = shrunk / new_variances
        shifts = new_means / new_variances - means / variances
        self._precisions += damping * (precisions - self._precisions)
        self._shifts += damping * (shifts - self._shifts)

    def _matched(self, means: Floats, variances: Floats) -> tuple[Floats, Floats]:
        """Return each sample's mean given its label, and by which share its variance shrinks."""
        spread = np.sqrt(self._link_variance + variances)
        z = self._signs * means / spread
        ratio = np.exp(-0.5 * z * z - 0.5 * math.log(2 * math.pi) - log_ndtr(z))
        shrunk = variances * ratio * (z + ratio) / (self._link_variance + variances)
        # a variance left is at least this share of what it was, which rounding hides far out
        shrunk = np.minimum(shrunk, 1 - 1 / (z * z + 6))
        return means + self._signs * variances * ratio / spread, shrunk

    def _let_means_follow(self) -> None:
        """Move shifts, at precisions as they are, to where the means match too.

        That takes no factorization, and fewer sweeps remain to be done.
        """
        farthest = math.inf
        for _ in range(MOST_FOLLOWING):
            means, variances = self._cavities()
            new_means, _ = self._matched(means, variances)
            distance = float((np.abs(new_means - self._means) / np.sqrt(self._variances)).max())
            if not distance < NEARER * farthest:
                return
            farthest = distance
            self._shifts = new_means * (1 / variances + self._precisions) - means / variances
            self._update_means()

    def _update_posterior(self, *, is_rough: bool = False) -> None:
        """Work out the marginals that the sites give: to rounding, or roughly, in float32."""
        if not (is_rough and self._has_rough_posterior()):
            try:
                self._factorize(self._exact)
            except LinAlgError as error:
                raise UndefinedMeasureError(
                    f"the kernel is not positive semidefinite ({error})"
                ) from error
            self._variances = self._marginal_variances()
        self._log_determinant = -2 * float(np.log(np.diag(self._inverse)).sum())
        self._update_means()

    def _has_rough_posterior(self) -> bool:
        """Return whether float32 gives usable marginals: it is what the first sweeps need."""
        with np.errstate(all="ignore"):
            try:
                self._factorize(self._rough)
            except LinAlgError:
                return False
            self._variances = self._marginal_variances()
        return bool((self._variances > 0).all() and np.isfinite(self._variances).all())

    def _factorize(self, memory: _Memory) -> None:
        """Work out the inverse Cholesky factor of ``B = 1 + S^1/2 K S^1/2``, S the precisions."""
        self._roots = np.sqrt(self._precisions)
        roots, matrix = self._roots.astype(memory.kernel.dtype), memory.matrix
        np.multiply(memory.kernel.T, roots, out=matrix)
        matrix *= roots[:, None]
        matrix[np.diag_indices_from(matrix)] += 1
        _factorize(matrix, memory.inverse)
        self._inverse = memory.inverse

    def _update_means(self) -> None:
        inverse, roots = self._inverse, self._roots
        prior_means = dsymv(1.0, self._kernel, self._shifts)
        pulls = inverse.T @ (inverse @ (roots * prior_means).astype(inverse.dtype))
        self._means = prior_means - dsymv(1.0, self._kernel, roots * pulls)

    def _marginal_variances(self) -> Floats:
        """Return the diagonal of ``K - K S^1/2 B^-1 S^1/2 K``, from B's inverse Cholesky factor.

        This is ``(1 - (B^-1)_ii) / S_ii``, which cancels where a site hardly counts; those few are
        worked out as written first.
        """
        inverse = self._inverse
        complements = 1 - np.einsum("ij,ij->j", inverse, inverse)
        priors = np.diag(self._kernel)
        is_weak = self._precisions * priors < WEAK_SITE
        variances: Floats = complements / np.where(is_weak, 1.0, self._precisions)
        half = inverse @ (self._roots[:, None] * self._kernel[:, is_weak])
        variances[is_weak] = priors[is_weak] - np.einsum("ij,ij->j", half, half)
        return variances

    def _value(self) -> float:
        """Return the log evidence at the current sites (Rasmussen and Williams, eq. 3.65)."""
        means, variances = self._cavities()
        cavity = 1 / variances
        both = cavity + self._precisions
        z = self._signs * means / np.sqrt(self._link_variance + variances)
        terms = (
            log_ndtr(z)
            + 0.5 * np.log1p(self._precisions / cavity)
            - 0.5 * self._shifts**2 / both
            + 0.5 * means * cavity * (self._precisions * means - 2 * self._shifts) / both
        )
        quadratic = 0.5 * float(self._shifts @ self._means)
        return float(terms.sum()) + quadratic - 0.5 * self._log_determinant
