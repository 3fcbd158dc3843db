"""Orders whose every beginning has the class shares of the whole."""

from __future__ import annotations

import heapq
from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


def balanced_order(strata: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return an order of which every beginning has each class within one sample of its share.

    The j-th of a class's m among N samples, counted from 0, may come from place ``j N / m`` on and
    has to come before ``(j + 1) N / m``; at each place the most urgent sample is taken (Tijdeman
    1980, "The chairman assignment problem"). Samples of one class keep their order, and so do
    equally urgent samples of classes of one size.

    Parameters
    ----------
    strata
        The class of each sample, shape (samples,).
    """
    import numpy as np

    total = len(strata)
    by_class = np.argsort(strata, kind="stable")
    sizes = np.unique(strata, return_counts=True)[1]
    sizes_of = np.repeat(sizes, sizes)
    places = np.concatenate([np.arange(size) for size in sizes])
    deadlines = -(-(places + 1) * total // sizes_of)
    middles = (places + 0.5) / sizes_of
    released = defaultdict(list)
    columns = (places * total // sizes_of, deadlines, middles, by_class)
    for release, *urgency in zip(*(column.tolist() for column in columns), strict=True):
        released[release].append(tuple(urgency))
    waiting: list[tuple[int, float, int]] = []
    order = np.empty(total, dtype=np.int64)
    for place in range(total):
        for sample in released[place]:
            heapq.heappush(waiting, sample)
        order[place] = heapq.heappop(waiting)[-1]
    return order
