"""What a finite test set adds to the uncertainty of test error's learning curves.

All runs of a task share one test set, so that more seeds do not take this noise away. It is
estimated from which samples each network mistook: each sample's share in a slope or level is its
influence, and their variance over the samples is that of another test set of this size (the
infinitesimal jackknife; Efron 1982, chapter 6). Where hardly any sample is mistaken, influences say
nothing about mistakes that were never seen; that part is added with the variance that
log(k + 1/2) has for a count k of zero.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

CONTINUITY = 0.5


def influences(mistaken: npt.NDArray[np.bool_], weights: Floats) -> Floats:
    """Return each test sample's influence on a weighted sum of log test errors.

    Parameters
    ----------
    mistaken
        Which test samples were mistaken, shape (sizes, seeds, test samples).
    weights
        Of the sizes' log test errors, means over seeds; shape (sizes,).

    Returns
    -------
    array
        Shape (test samples,), float64.
    """
    counts = mistaken.sum(axis=2, dtype=np.float64) + CONTINUITY
    shares = weights[:, None] / counts / mistaken.shape[1]
    found: Floats = np.einsum("ns,nsx->x", shares, mistaken)
    return found


def shared_variance(influence: Floats) -> float:
    """Return the variance over test sets of a sum of influences, one per test sample."""
    return len(influence) * float(np.var(influence))


def unseen_variance(mistaken: npt.NDArray[np.bool_], weights: Floats) -> float:
    """Return what few mistakes leave unknown: 2 for a count of zero, next to nothing from ten up.

    Parameters
    ----------
    mistaken, weights
        As `influences` takes them.
    """
    counts = mistaken.sum(axis=2, dtype=np.float64).mean(axis=1) + CONTINUITY
    return float((weights**2) @ (CONTINUITY / counts**2))
