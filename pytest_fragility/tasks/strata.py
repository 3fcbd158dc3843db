"""Orders whose every beginning has the class shares of the whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


def balanced_order(strata: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return an order in which classes come in turn, each as often as its share says.

    Samples of one class keep their order, and so do samples of classes whose turn it is at once.

    Parameters
    ----------
    strata
        The class of each sample, shape (samples,).
    """
    import numpy as np

    by_class = np.argsort(strata, kind="stable")
    counts = np.unique(strata, return_counts=True)[1]
    places = np.concatenate([np.arange(count) for count in counts])
    shares = np.empty(len(strata))
    shares[by_class] = (places + 0.5) / np.repeat(counts, counts)
    return np.argsort(shares, kind="stable")
