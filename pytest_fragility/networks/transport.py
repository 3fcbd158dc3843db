"""Runs, planned and trained, on their way to another process: with data, and without torch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

import numpy as np
import torch

from pytest_fragility.networks import NetworkState
from pytest_fragility.networks.runs import Run, TrainedRun, TrainingRecord
from pytest_fragility.parallel.pickling import dump
from pytest_fragility.recipes import Factory
from pytest_fragility.tasks.sampling import part_of_data
from pytest_fragility.tasks.task import Task

Arrays = dict[str, np.ndarray]
T = TypeVar("T")


@dataclass(frozen=True)
class Parcel:
    """A trained run on its way between processes.

    Parameters
    ----------
    place
        Which run of which trajectory it is.
    state, initial_state
        Weights and buffers, by name.
    record
        How the training went.
    mistaken
        Which test samples are classified unlike their label.
    key
        The trained run's.
    """

    place: tuple[int, int]
    state: tuple[Arrays, Arrays]
    initial_state: tuple[Arrays, Arrays]
    record: TrainingRecord
    mistaken: np.ndarray
    key: str

    @classmethod
    def pack(cls, place: tuple[int, int], trained: TrainedRun) -> Parcel:
        """Return the parcel of a run."""
        return cls(
            place,
            _as_arrays(trained.state),
            _as_arrays(trained.initial_state),
            trained.record,
            trained.mistaken.numpy(),
            trained.key,
        )

    def unpack(self, run: Run) -> TrainedRun:
        """Return the trained run; `run` is what was asked."""
        return TrainedRun(
            run,
            _as_tensors(*self.state),
            _as_tensors(*self.initial_state),
            self.record,
            torch.from_numpy(self.mistaken),
            key=self.key,
        )


def pack_runs(groups: Sequence[Sequence[Run]], *, with_test_data: bool = True) -> bytes:
    """Return runs as bytes that `pickle.loads` reads in another process.

    Their tasks hold data in the place of a loader, no more of them than the runs train on.

    Parameters
    ----------
    groups
        The runs, in groups.
    with_test_data
        Whether test data are among them.
    """
    runs = [run for group in groups for run in group]
    tasks = _portable_tasks(runs, with_test_data)
    portable = [[replace(run, task=tasks[_called(run.task)]) for run in group] for group in groups]
    # two that are equal may be of two modules
    made_by = [run.recipe.architecture for run in runs]
    return dump(portable, [each.build for each in made_by if isinstance(each, Factory)])


def _portable_tasks(runs: Sequence[Run], with_test_data: bool) -> dict[tuple[str, str], Task]:
    """Return tasks by name and data; those of the same data have one part of them in common."""
    data = {_called(run.task): run.task.data for run in runs}
    largest: defaultdict[str, dict[int, int]] = defaultdict(dict)
    for run in runs:
        sizes = largest[run.task.data.fingerprint]
        sizes[run.seed] = max(run.n, sizes.get(run.seed, 0))
    parts = {
        fingerprint: part_of_data(whole, largest[fingerprint], with_test_data=with_test_data)
        for (_, fingerprint), whole in data.items()
    }
    return {called: Task(called[0], partial(_same, parts[called[1]])) for called in data}


def _called(task: Task) -> tuple[str, str]:
    return task.name, task.data.fingerprint


def _same(value: T) -> T:
    return value


def _as_arrays(state: NetworkState) -> tuple[Arrays, Arrays]:
    weights, buffers = (
        {name: tensor.numpy() for name, tensor in part.items()}
        for part in (state.weights, state.buffers)
    )
    return weights, buffers


def _as_tensors(*parts: Arrays) -> NetworkState:
    weights, buffers = (
        # what has no dimension comes as a scalar
        {name: torch.from_numpy(np.asarray(array)) for name, array in part.items()}
        for part in parts
    )
    return NetworkState(weights, buffers)
