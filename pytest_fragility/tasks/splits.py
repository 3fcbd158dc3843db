"""Holding out a test set from samples that come in one piece."""

from __future__ import annotations

import heapq
from collections import defaultdict
from functools import lru_cache
from itertools import pairwise
from numbers import Integral
from typing import TYPE_CHECKING, Any

from pytest_fragility._util.seeds import derive_generator
from pytest_fragility.errors import TaskError
from pytest_fragility.tasks.task import TaskData, as_array

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Times = tuple[npt.NDArray[np.int64], npt.NDArray[np.float64], npt.NDArray[np.int64]]


def held_out(name: str, inputs: Any, labels: Any, *, test_size: int, **rules: Any) -> TaskData:
    """Return the data of a task whose test set is drawn once from all samples.

    Its name and the number of samples decide which are held out; classes have the same shares in
    both parts, as nearly as possible. `rules` are further arguments of `TaskData`.
    """
    inputs, labels = as_array(inputs, "inputs"), as_array(labels, "labels")
    if inputs.ndim == 0:
        raise TaskError(
            f"task {name!r}: inputs have no rows; sparse ones have to be made dense (.toarray())"
        )
    if labels.ndim != 1 or len(inputs) != len(labels):
        raise TaskError(
            f"task {name!r}: expected as many inputs as labels, got inputs of shape "
            f"{inputs.shape} and labels of shape {labels.shape}"
        )
    is_whole = isinstance(test_size, Integral) and not isinstance(test_size, bool)
    if not is_whole or not 0 < test_size < len(labels):
        raise TaskError(
            f"task {name!r}: test_size={test_size!r}, expected a whole number between 1 and "
            f"{len(labels) - 1}, since there are {len(labels)} samples"
        )
    order = _shuffled_evenly(name, labels)
    test, train = order[:test_size], order[test_size:]
    return TaskData(inputs[train], labels[train], inputs[test], labels[test], **rules)


def _shuffled_evenly(name: str, labels: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    import numpy as np

    order = derive_generator("test set", name, len(labels)).permutation(len(labels))
    return order[balanced_order(np.unique(labels, return_inverse=True)[1][order])]


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

    by_class = np.argsort(strata, kind="stable")
    sizes = _run_lengths(strata[by_class])
    times, places = _times(sizes), _places(sizes)
    # within a class, samples of one urgency stand in order already, which a stable sort is fast at
    urgent_first = np.argsort(_urgency(sizes) * len(strata) + by_class, kind="stable")
    if (times[0][urgent_first] > places).any():
        # of equally urgent samples, the first is not there yet
        places, urgent_first = _taken(times, by_class), np.arange(len(strata))
    order = np.empty(len(strata), dtype=np.int64)
    order[places] = by_class[urgent_first]
    return order


def _run_lengths(values: npt.NDArray[np.int64]) -> tuple[int, ...]:
    """Return how many equal values stand together, one after the other."""
    import numpy as np

    begins = np.flatnonzero(values[1:] != values[:-1]) + 1
    bounds = [0, *begins.tolist(), len(values)]
    return tuple(end - begin for begin, end in pairwise(bounds))


@lru_cache(maxsize=64)
def _times(sizes: tuple[int, ...]) -> Times:
    """Return when samples may come, are due halfway, and have to have come; class after class."""
    import numpy as np

    total, size = sum(sizes), np.repeat(sizes, sizes)
    rank = np.concatenate([np.arange(each) for each in sizes])
    return rank * total // size, (rank + 0.5) / size, -(-(rank + 1) * total // size)


@lru_cache(maxsize=64)
def _urgency(sizes: tuple[int, ...]) -> npt.NDArray[np.int64]:
    """Return the rank of each sample by when it is due, class after class; equal ones share it."""
    import numpy as np

    _, middles, deadlines = _times(sizes)
    due = np.stack([deadlines, middles], axis=1)
    return np.unique(due, axis=0, return_inverse=True)[1].reshape(-1)


@lru_cache(maxsize=64)
def _places(sizes: tuple[int, ...]) -> npt.NDArray[np.int64]:
    """Return the places of all samples, the most urgent first, and of equally urgent ones."""
    import numpy as np

    times = _times(sizes)
    places = _taken(times, np.arange(sum(sizes)))
    return places[np.lexsort((places, *times[1:]))]


def _taken(times: Times, tie_breaks: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return each sample's place, where at each place the most urgent that may come is taken."""
    import numpy as np

    releases, middles, deadlines = times
    released = defaultdict(list)
    columns = (releases, deadlines, middles, tie_breaks)
    for index, (release, *urgency) in enumerate(
        zip(*(column.tolist() for column in columns), strict=True)
    ):
        released[release].append((*urgency, index))
    waiting: list[tuple[float, ...]] = []
    places = np.empty(len(releases), dtype=np.int64)
    for place in range(len(releases)):
        for sample in released[place]:
            heapq.heappush(waiting, sample)
        places[int(heapq.heappop(waiting)[-1])] = place
    return places
