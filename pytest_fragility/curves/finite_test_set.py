"""What a finite test set adds to the uncertainty of test error's learning curves.

All runs of a task share one test set, so that more seeds do not take this noise away. It is
estimated from which samples each network mistook: each sample's share in a slope or level is its
influence, and their variance over the samples is that of another test set of this size (the
infinitesimal jackknife; Efron 1982, chapter 6). Where hardly any sample is mistaken, influences say
nothing about mistakes that were never seen; that part is added with the variance that
log(k + 1/2) has for a count k of zero.

Of networks that were tested elsewhere, often no more is known than how many samples were mistaken,
and not which. What the networks have in common then does not cancel, since it cannot be seen, and
`binomial_deviation` bounds the noise instead.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from pytest_fragility.curves.intervals import Floats


CONTINUITY = 0.5


def influences(mistaken: npt.NDArray[np.bool_], weights: Floats) -> Floats:
    """Return each test sample's influence on a weighted sum of log test errors, (test samples,).

    `mistaken` has the shape (sizes, seeds, test samples); `weights`, of the sizes' log test errors,
    means over seeds, the shape (sizes,).
    """
    counts = mistaken.sum(axis=2, dtype=np.float64) + CONTINUITY
    shares = weights[:, None] / counts / mistaken.shape[1]
    found: Floats = np.einsum("ns,nsx->x", shares, mistaken)
    return found


def shared_variance(influence: Floats) -> float:
    """Return the variance over test sets of a sum of influences, one per test sample."""
    return len(influence) * float(np.var(influence))


def unseen_variance(mistaken: npt.NDArray[np.bool_], weights: Floats) -> float:
    """Return what few mistakes leave unknown: 2 for a count of zero, hardly any from ten up."""
    counts = mistaken.sum(axis=2, dtype=np.float64).mean(axis=1) + CONTINUITY
    return float((weights**2) @ (CONTINUITY / counts**2))


def binomial_deviation(errors: Sequence[Floats], sizes: Sequence[int], weights: Floats) -> float:
    """Return a bound on the noise of a finite test set where it is not known who mistook what.

    Of a weighted sum of log test errors, or of a difference of two such sums. Each log test error
    has the variance of a count of mistakes that are independent of each other, and the noise of
    what was never seen. Networks of other seeds are taken to mistake the same samples, so that
    their mean is no more certain than one of them. Of two recipes the variances are added, and what
    remains at several sizes is added up where the weights have one sign, and taken as independent
    where they have not. That is an upper bound as long as networks rather agree than disagree on
    which samples are hard; with the masks, the noise is mostly far less.

    Parameters
    ----------
    errors
        Of one curve or two: test errors with continuity correction, shape (sizes, seeds) each.
    sizes
        Test samples of each curve.
    weights
        Of the sizes' log test errors, means over seeds; shape (sizes,).
    """
    variances = sum(
        _log_deviations(values, size).mean(axis=1) ** 2
        for values, size in zip(errors, sizes, strict=True)
    )
    deviations = np.abs(weights) * np.sqrt(variances)
    rising, falling = deviations[weights > 0].sum(), deviations[weights < 0].sum()
    return math.hypot(float(rising), float(falling))


def _log_deviations(errors: Floats, size: int) -> Floats:
    """Return the standard deviation of each log test error, over test sets of this size."""
    # (k + 1/2) / (size + 1)
    corrected = errors * (size + 1)
    counts = np.clip(corrected - CONTINUITY, 0, size)
    variances = counts * (1 - counts / size) + CONTINUITY
    deviations: Floats = np.sqrt(variances) / corrected
    return deviations
