"""The log evidence of a Gaussian process classifier, by expectation propagation."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.linalg import LinAlgError
from scipy.linalg.blas import dsymv

from pytest_fragility.errors import UndefinedMeasureError
from pytest_fragility.measures.marginal_likelihood.cholesky import CholeskyInverse, Matrix
from pytest_fragility.measures.marginal_likelihood.sites import NUMPY, Sites

Floats = npt.NDArray[np.float64]
HEAVISIDE = "heaviside"
PROBIT = "probit"
# variance of the noise on the latent function that each link stands for
LINK_VARIANCE = {HEAVISIDE: 0.0, PROBIT: 1.0}
RELATIVE_JITTER = 1e-10
TOLERANCE = 1e-6
SWEEPS = 300
COINCIDENCE = 1e-12
# relative to the prior's precision: the share of digits that a weaker site would lose
WEAK_SITE = 1e-4
FIRST_DAMPING, SMALLEST_DAMPING = 0.8, 0.2
# sweeps until which the sites are too far off to go all the way, or for means to follow
CAREFUL = 3
# distance, relative to the log evidence, from which on steps need no damping
NEAR = 0.05
# multiple of the distance sought from which on all is worked out to rounding
ROUGH = 10.0
# of the distance one sweep earlier: what is left when near, and no less, is float32's rounding
STUCK = 0.5
MOST_FOLLOWING = 2
NEARER = 0.7


@dataclass(frozen=True)
class Evidence:
    """A log evidence with what it took.

    Parameters
    ----------
    log_evidence
        ln P(signs), in nats; at most zero.
    sweeps
        Passes over all sites until the sites are so near to their fixed point that the value is
        wrong by at most about 1e-6 of itself; by several times that, where a numerically singular
        kernel hardly allows the signs, and rounding says no more.
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
    _require_labelling(matrix, np.asarray(signs, dtype=np.float64), link)
    return GaussianProcess(matrix).log_evidence(signs, link=link)


class GaussianProcess:
    """A zero-mean prior of which the evidence for several labellings is asked, one by one.

    Its kernel is refused where it is no covariance.
    """

    def __init__(self, kernel: Floats) -> None:
        require_covariance(kernel)
        self._given = kernel
        self.kernel, self.jitter = jittered(kernel)
        with np.errstate(over="ignore"):
            self.rough_kernel = self.kernel.astype(np.float32)
        self.exact = CholeskyInverse(len(kernel), np.float64)
        self.rough = CholeskyInverse(len(kernel), np.float32)
        self.first_posteriors: dict[float, _Posterior] = {}

    def log_evidence(self, signs: npt.ArrayLike, *, link: str = HEAVISIDE) -> Evidence:
        """Return the log probability of signs; see `log_evidence`."""
        labels = np.asarray(signs, dtype=np.float64)
        _require_labelling(self.kernel, labels, link)
        if LINK_VARIANCE[link] == 0:
            require_no_contradiction(self._given, labels)
        return _Propagation(self, labels, LINK_VARIANCE[link]).run()


def _require_labelling(kernel: Floats, signs: Floats, link: str) -> None:
    if link not in LINK_VARIANCE:
        raise UndefinedMeasureError(f"link {link!r}: expected one of {', '.join(LINK_VARIANCE)}")
    if signs.ndim != 1 or not len(signs) or kernel.shape != (len(signs), len(signs)):
        raise UndefinedMeasureError(
            f"a kernel of shape {kernel.shape} does not fit signs of shape {signs.shape}: expected "
            "(n, n) and (n,), with at least one sample"
        )
    if not np.isin(signs, (-1.0, 1.0)).all():
        raise UndefinedMeasureError(f"signs {np.unique(signs)}: expected -1 and 1 alone")


def jittered(kernel: Floats) -> tuple[Floats, float]:
    """Return a kernel with a little more on its diagonal, and how much that is."""
    jitter = RELATIVE_JITTER * float(np.trace(kernel)) / len(kernel)
    raised = kernel.copy()
    raised[np.diag_indices_from(kernel)] += jitter
    return raised, jitter


def broken_down(sweep: int, value: float) -> UndefinedMeasureError:
    """Return what to raise where a value is no number."""
    return UndefinedMeasureError(
        f"expectation propagation broke down after {sweep} sweeps (log evidence {value}); is the "
        "kernel positive semidefinite?"
    )


def not_converged(value: float, distance: float) -> UndefinedMeasureError:
    """Return what to raise where all sweeps are made."""
    return UndefinedMeasureError(
        f"expectation propagation did not converge in {SWEEPS} sweeps (log evidence near "
        f"{value:.6g}, still wrong by about {distance:.2g})"
    )


def not_semidefinite(reason: str) -> UndefinedMeasureError:
    """Return what to raise where a kernel has no Cholesky factor."""
    return UndefinedMeasureError(f"the kernel is not positive semidefinite ({reason})")


def require_covariance(kernel: Floats) -> None:
    """Refuse a kernel that is not finite, not symmetric, or has a variance that is not positive."""
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


def require_no_contradiction(kernel: Floats, signs: Floats) -> None:
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


@dataclass(frozen=True)
class _Posterior:
    """An inverse Cholesky factor of B, and the variances that it gives."""

    inverse: Matrix
    variances: Floats


class _Propagation:
    """Expectation propagation with Gaussian sites, in natural parameters."""

    def __init__(self, process: GaussianProcess, signs: Floats, link_variance: float) -> None:
        self._process = process
        # symmetric, and so the same in the order that SciPy takes without a copy
        self._kernel = process.kernel.T
        self._link_variance = link_variance
        self._sites = Sites(NUMPY, signs, link_variance)
        self._variances = np.diag(process.kernel).copy()
        self._means = np.zeros(len(signs))
        self._log_determinant = 0.0

    def run(self) -> Evidence:
        """Iterate until the sites are so near to their fixed point that the value stands still."""
        distance = math.inf
        damping = FIRST_DAMPING
        is_near, is_rough = False, True
        for sweep in range(1, SWEEPS + 1):
            self._sites.move(self._means, self._variances, damping)
            if sweep == 1:
                self._take_first_posterior()
            else:
                self._update_posterior(is_rough=is_rough)
            if sweep >= CAREFUL:
                self._let_means_follow()
            value = self._value()
            if not math.isfinite(value):
                raise broken_down(sweep, value)
            # at the fixed point the marginals match, and the value has no slope: it is wrong by
            # about their divergence, which is of second order in how far the sites are off
            previous = distance
            distance = float(self._sites.divergence(self._means, self._variances))
            sought = TOLERANCE * max(1.0, abs(value))
            if not is_rough and distance <= sought:
                return Evidence(value, sweep, self._process.jitter)
            is_stuck = is_near and distance > STUCK * previous
            is_rough = is_rough and distance > ROUGH * sought and not is_stuck
            if not is_near and sweep >= CAREFUL and distance <= NEAR * max(1.0, abs(value)):
                is_near, damping = True, 1.0
            elif sweep > CAREFUL and distance > 0.9 * previous:
                # parallel updates overshoot to and fro; a smaller step settles them
                damping = max(0.8 * damping, SMALLEST_DAMPING)
        raise not_converged(value, distance)

    def _let_means_follow(self) -> None:
        """Move shifts, at precisions as they are, to where the means match too.

        That takes no factorization, and fewer sweeps remain to be done.
        """
        farthest = math.inf
        for _ in range(MOST_FOLLOWING):
            shifts, distances = self._sites.followed(self._means, self._variances)
            distance = float(distances)
            if not distance < NEARER * farthest:
                return
            farthest = distance
            self._sites.shifts = shifts
            self._update_means()

    def _take_first_posterior(self) -> None:
        """Work out the first posterior once for all labellings: precisions do not depend on them.

        From means of zero, either label narrows a sample's marginal by the same.
        """
        known = self._process.first_posteriors
        if self._link_variance in known:
            first = known[self._link_variance]
            self._roots = np.sqrt(self._sites.precisions)
            self._inverse, self._variances = first.inverse, first.variances
            self._update_determinant_and_means()
        else:
            self._update_posterior(is_rough=True)
            known[self._link_variance] = _Posterior(self._inverse.copy(), self._variances)

    def _update_posterior(self, *, is_rough: bool = False) -> None:
        """Work out the marginals that the sites give: to rounding, or roughly, in float32."""
        if not (is_rough and self._has_rough_posterior()):
            try:
                self._factorize(self._process.kernel, self._process.exact)
            except LinAlgError as error:
                raise not_semidefinite(str(error)) from error
            self._variances = self._marginal_variances()
        self._update_determinant_and_means()

    def _update_determinant_and_means(self) -> None:
        self._log_determinant = -2 * float(np.log(np.diag(self._inverse)).sum())
        self._update_means()

    def _has_rough_posterior(self) -> bool:
        """Return whether float32 gives usable marginals: it is what the first sweeps need."""
        with np.errstate(all="ignore"):
            try:
                self._factorize(self._process.rough_kernel, self._process.rough)
            except LinAlgError:
                return False
            self._variances = self._marginal_variances()
        return bool((self._variances > 0).all() and np.isfinite(self._variances).all())

    def _factorize(self, kernel: Matrix, memory: CholeskyInverse) -> None:
        """Work out the inverse Cholesky factor of ``B = 1 + S^1/2 K S^1/2``, S the precisions."""
        self._roots = np.sqrt(self._sites.precisions)
        roots, matrix = self._roots.astype(kernel.dtype), memory.matrix
        np.multiply(kernel, roots, out=matrix)
        matrix *= roots[:, None]
        matrix[np.diag_indices_from(matrix)] += 1
        memory.factorize()
        self._inverse = memory.factor

    def _update_means(self) -> None:
        inverse, roots = self._inverse, self._roots
        prior_means = dsymv(1.0, self._kernel, self._sites.shifts)
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
        is_weak = self._sites.precisions * priors < WEAK_SITE
        variances: Floats = complements / np.where(is_weak, 1.0, self._sites.precisions)
        half = inverse @ (self._roots[:, None] * self._kernel[:, is_weak])
        variances[is_weak] = priors[is_weak] - np.einsum("ij,ij->j", half, half)
        return variances

    def _value(self) -> float:
        """Return the log evidence at the current sites (Rasmussen and Williams, eq. 3.65)."""
        terms = float(self._sites.log_normalizers(self._means, self._variances))
        quadratic = 0.5 * float(self._sites.shifts @ self._means)
        return terms + quadratic - 0.5 * self._log_determinant
