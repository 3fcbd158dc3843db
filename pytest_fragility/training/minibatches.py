"""The data of a stack on its device, and which samples come when."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from pytest_fragility.networks.runs import Run
from pytest_fragility.tasks.task import Task


class Pools:
    """The data of all tasks of a shard, one behind the other on the device, each once."""

    def __init__(self, tasks: Sequence[Task], device: torch.device, dtype: torch.dtype) -> None:
        parts = {task.data.fingerprint: task.data for task in tasks}
        self._places = {fingerprint: place for place, fingerprint in enumerate(parts)}
        self._device = device
        self.dtype = dtype
        data = list(parts.values())
        self.classes = max(part.classes for part in data)
        self.train_inputs = _concatenate([part.train_inputs for part in data], device).to(dtype)
        self.train_labels = _concatenate([part.train_labels for part in data], device)
        self.test_inputs = _concatenate([part.test_inputs for part in data], device).to(dtype)
        self.test_labels = _concatenate([part.test_labels for part in data], device)
        self._train_offsets = np.cumsum([0, *(len(part.train_labels) for part in data)])
        self._test_offsets = np.cumsum([0, *(len(part.test_labels) for part in data)])

    def place(self, task: Task) -> int:
        """Return where a task's data stand among those of the stack."""
        return self._places[task.data.fingerprint]

    def rows(self, task: Task, subset: np.ndarray) -> np.ndarray:
        """Return where samples of a task's training pool stand among all."""
        rows: np.ndarray = subset + self._train_offsets[self.place(task)]
        return rows

    def test_rows(self, place: int) -> torch.Tensor:
        """Return where the test samples of the task at `place` stand among all."""
        begin, end = self._test_offsets[place : place + 2]
        return torch.arange(int(begin), int(end), device=self._device)


def _concatenate(arrays: list[np.ndarray], device: torch.device) -> torch.Tensor:
    return torch.from_numpy(np.concatenate(arrays)).to(device)


def order_of(run: Run) -> tuple[int, int, int]:
    """Return what decides in which order a run sees its samples."""
    return run.n, run.seed, run.recipe.sample_order
