"""Whether an entry of a store is what it has to be: stores may come from anywhere.

Everything that is wrong is a ValueError that says it; nothing is read before its size is known.
"""

from __future__ import annotations

import json
import math
import stat
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from pytest_fragility._util.validation import is_number, is_whole
from pytest_fragility.networks import NetworkState, build_network, state_of
from pytest_fragility.networks.runs import Run, TrainingRecord
from pytest_fragility.recipes import Architecture

# the names, places and types of all tensors, and the record
LARGEST_HEADER = 1 << 20
Forms = dict[str, tuple[tuple[int, ...], torch.dtype]]


@dataclass(frozen=True)
class Expected:
    """What an entry has to be that holds a run.

    Parameters
    ----------
    weights, buffers
        Shape and dtype of each, by name.
    test_size
        Samples that it is tested on.
    identity
        The run's, as it is read from JSON, without the task's name.
    """

    weights: Forms
    buffers: Forms
    test_size: int
    identity: Any

    @classmethod
    def of(cls, run: Run) -> Expected:
        """Return what an entry of a run has to be.

        Raises
        ------
        SettingsError
            If the run's network cannot be built here: nothing can then be said of any entry.
        """
        data, recipe = run.task.data, run.recipe
        weights, buffers = _forms_of(
            recipe.architecture, data.input_shape, data.classes, recipe.precision
        )
        identity = json.loads(json.dumps({**run.identity, "task": ""}))
        return cls(weights, buffers, len(data.test_labels), identity)

    @property
    def most_bytes(self) -> int:
        """How large an entry can be."""
        forms = [*self.weights.values(), *self.buffers.values()]
        tensors = sum(math.prod(shape) * dtype.itemsize for shape, dtype in forms)
        return LARGEST_HEADER + 2 * tensors + self.test_size


def require_plain_file(path: Path, most: int) -> None:
    """Raise where an entry is no plain file, or larger than so many bytes.

    Raises
    ------
    FileNotFoundError
        If there is none.
    ValueError
        If it is something else: a folder, a link, a pipe, a file of another size.
    """
    found = path.lstat()
    if not stat.S_ISREG(found.st_mode):
        raise ValueError("it is no plain file")
    if found.st_size > most:
        raise ValueError(f"it has {found.st_size:,} bytes, where at most {most:,} are needed")


def read_record(metadata: dict[str, str] | None, expected: Expected) -> TrainingRecord:
    """Return the training record of an entry.

    Raises
    ------
    ValueError
        If it has none, or it cannot be that of this run.
    """
    if not metadata or not {"record", "run"} <= metadata.keys():
        raise ValueError("its record is missing")
    try:
        values, identity = json.loads(metadata["record"]), json.loads(metadata["run"])
    except RecursionError:
        raise ValueError("its record is no JSON that can be read") from None
    if not isinstance(values, dict) or values.keys() != {f.name for f in fields(TrainingRecord)}:
        raise ValueError("its record has other fields")
    for name, holds in _RULES.items():
        if not holds(values[name]):
            raise ValueError(f"its record's {name} cannot be {values[name]!r:.60}")
    record = TrainingRecord(**values)
    # a training can diverge in its batches, and leave a finite loss
    if not record.diverged and not math.isfinite(record.train_loss):
        raise ValueError("its loss and whether it diverged contradict each other")
    if record.test_size != expected.test_size:
        raise ValueError(f"it was tested on {record.test_size} samples, the task has others")
    if not isinstance(identity, dict) or {**identity, "task": ""} != expected.identity:
        raise ValueError("it is of another run")
    return record


def require_states(
    state: NetworkState, initial: NetworkState, expected: Expected, diverged: bool
) -> None:
    """Raise a ValueError where the tensors are not those of the run's architecture."""
    for part, forms in (("weights", expected.weights), ("buffers", expected.buffers)):
        for tensors in (getattr(state, part), getattr(initial, part)):
            found = _forms_in(tensors)
            if found.keys() != forms.keys():
                raise ValueError(f"its {part} are missing, or those of another network")
            for name, form in forms.items():
                if found[name] != form:
                    raise ValueError(f"its {part} {name!r:.60} have another shape or type")
    if diverged:
        return
    for name, weight in state.weights.items():
        if weight.isnan().any() and not initial.weights[name].isnan().any():
            raise ValueError(f"its weights {name!r:.60} are NaN, though it did not diverge")


_RULES: dict[str, Callable[[Any], bool]] = {
    "steps": lambda value: is_whole(value, 0, 2**63 - 1),
    "reached_target": lambda value: isinstance(value, bool),
    "diverged": lambda value: isinstance(value, bool),
    "train_loss": lambda value: (isinstance(value, float) or is_number(value)) and not value < 0,
    "train_error": lambda value: is_number(value) and 0 <= value <= 1,
    "test_mistakes": lambda value: is_whole(value, 0),
    "test_size": lambda value: is_whole(value, 1),
}


@lru_cache(maxsize=32)
def _forms_of(
    architecture: Architecture, input_shape: tuple[int, ...], classes: int, precision: str
) -> tuple[Forms, Forms]:
    """Return shape and dtype of a network's weights and buffers, by name."""
    network = build_network(architecture, input_shape, classes)
    state = state_of(network.to(getattr(torch, precision)))
    return _forms_in(state.weights), _forms_in(state.buffers)


def _forms_in(tensors: dict[str, torch.Tensor]) -> Forms:
    return {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in tensors.items()}
