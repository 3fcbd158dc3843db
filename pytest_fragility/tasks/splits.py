"""Holding out a test set from samples that come in one piece."""

from __future__ import annotations

from numbers import Integral
from typing import TYPE_CHECKING, Any

from pytest_fragility.errors import TaskError
from pytest_fragility.tasks.task import TaskData, as_array

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


def held_out(name: str, inputs: Any, labels: Any, *, test_size: int, **rules: Any) -> TaskData:
    """Return the data of a task whose test set is drawn once from all samples.

    Parameters
    ----------
    name
        The task's; with the number of samples, it decides which are held out.
    inputs
        Shape (samples, *input shape).
    labels
        Shape (samples,).
    test_size
        How many samples to hold out; classes have the same shares in both parts, as nearly as
        possible.
    **rules
        Further arguments of `TaskData`.

    Raises
    ------
    TaskError
        If `test_size` leaves nothing on one side, or the arrays cannot be used.
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

    from pytest_fragility._util.seeds import derive_generator
    from pytest_fragility.tasks.strata import balanced_order

    order = derive_generator("test set", name, len(labels)).permutation(len(labels))
    return order[balanced_order(np.unique(labels, return_inverse=True)[1][order])]
