"""Runs made by others, known from their checkpoints."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pytest_fragility._util.files import size_of
from pytest_fragility.errors import TableError, TaskError
from pytest_fragility.families.grids import Place
from pytest_fragility.families.manifests import (
    INITIAL,
    SAMPLES,
    STEPS,
    TRAIN_ERROR,
    TRAIN_LOSS,
    ListedNetwork,
)
from pytest_fragility.networks.runs import Run, TrainedRun, TrainingRecord
from pytest_fragility.perturbations import BASELINE
from pytest_fragility.recipes import Factory
from pytest_fragility.recipes.factories import GIVEN
from pytest_fragility.rows.rows import Problems
from pytest_fragility.tasks import Task
from pytest_fragility.weight_files.checkpoint_files import read_state
from pytest_fragility.weight_files.formats import UnusableFileError
from pytest_fragility.weight_files.sample_files import read_samples

if TYPE_CHECKING:
    import numpy.typing as npt


# 100 MB of them
MANY_WEIGHTS = 25_000_000


class TaskWithoutData(Task):
    """A task of which nothing is known but its name."""


def _label(name: str) -> Task:
    def load() -> Any:
        raise TaskError(no_data(name))

    return TaskWithoutData(name, load)


def no_data(name: str) -> str:
    """Return what to say where the data of a task are asked for, and only its name is known."""
    return (
        f"the data of task {name!r} are not known: it is no built-in task. Hand it over: "
        f"Family.from_checkpoints(..., tasks={{{name!r}: Task(...)}})"
    )


@dataclass(frozen=True, eq=False)
class RunElsewhere(Run):
    """A run that was made elsewhere, whose seed says which runs are paired.

    `recipe` means nothing unless it `is_described`; `samples` are the rows of the pool that it was
    trained on, None where they are not known.
    """

    recipe_name: str = BASELINE
    is_described: bool = False
    samples: npt.NDArray[np.int64] | None = field(default=None, repr=False)

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What decides the randomness of its measures: as of a run here, as far as it is known."""
        is_label = isinstance(self.task, TaskWithoutData)
        named = {} if self.is_described else {"recipe_name": self.recipe_name}
        return {
            "data": f"task {self.task.name}" if is_label else self.task.data.fingerprint,
            "n": self.n,
            "recipe": self.recipe.to_dict(),
            "seed": self.seed,
            **named,
        }

    def rows(self) -> npt.NDArray[np.int64]:
        """Return the rows of the pool that it was trained on, shape (n,)."""
        assert self.samples is not None
        pool = len(self.task.data.train_labels)
        if int(self.samples.max()) >= pool:
            raise TableError(
                f"{self}: row {int(self.samples.max())} of the training pool is among its samples, "
                f"which has {pool} rows"
            )
        return self.samples

    @property
    def samples_id(self) -> Hashable:
        """Equal for runs of one task on the same samples."""
        # of samples that nobody knows, none are known to be the same
        return self if self.samples is None else (self.task, self.samples.tobytes())

    def build_network(self) -> torch.nn.Module:
        """Return a module with the architecture; a function's own where the data are not known."""
        if not isinstance(self.task, TaskWithoutData):
            return super().build_network()
        from pytest_fragility.networks import build_network

        architecture = self.recipe.architecture
        asks = isinstance(architecture, Factory) and [
            name for name in inspect.signature(architecture.build).parameters if name in GIVEN
        ]
        if asks or not isinstance(architecture, Factory):
            needed = ", ".join(asks or GIVEN)
            raise TableError(
                f"architecture {architecture} needs {needed}, and {no_data(self.task.name)}; or "
                "name a function without parameters"
            )
        return build_network(architecture, (), 0)

    def __str__(self) -> str:
        return f"task {self.task.name}, recipe {self.recipe_name}, n={self.n}, seed {self.seed}"


@dataclass(frozen=True)
class RecordElsewhere(TrainingRecord):
    """How a training elsewhere went: what is not known is zero or NaN."""

    corrected: float = 0.5

    @property
    def test_error(self) -> float:
        """Test error, with continuity correction where the number of test samples is known."""
        return self.corrected


class Checkpoints(Mapping[Place, TrainedRun]):
    """Trained runs by recipe, n and seed, all read when the first is asked for.

    Those that are `known`, by their row, are shared among the families of a manifest.
    """

    def __init__(
        self,
        name: str,
        listed: Mapping[Place, ListedNetwork],
        task: Task,
        known: dict[str, TrainedRun],
    ) -> None:
        self._name = name
        self._listed = listed
        self._task = task
        self._known = known

    def __getitem__(self, place: Place) -> TrainedRun:
        row = self._listed[place]
        if row.where not in self._known:
            self._read_all()
        return self._known[row.where]

    def __iter__(self) -> Iterator[Place]:
        return iter(self._listed)

    def __len__(self) -> int:
        return len(self._listed)

    def _read_all(self) -> None:
        problems = Problems(self._name)
        for row in self._listed.values():
            if row.where in self._known:
                continue
            try:
                self._known[row.where] = trained_elsewhere(row, self._task)
            except UnusableFileError as error:
                problems.add(row.where, error.text, error.name)
            except ValueError as error:
                problems.add(row.where, str(error))
        problems.raise_if_any()


def trained_elsewhere(row: ListedNetwork, task: Task) -> TrainedRun:
    """Return the trained run of a manifest's row, its checkpoints read.

    Raises
    ------
    ValueError
        In words, if a file cannot be used.
    """
    is_label = isinstance(task, TaskWithoutData)
    samples = read_samples(row.samples, row.n) if row.samples and not is_label else None
    run = RunElsewhere(task, row.n, row.made_by, row.seed, row.recipe, row.is_described, samples)
    _require_room(run, row.checkpoint)
    network, dtype = run.build_network(), getattr(torch, row.made_by.precision)
    state = read_state(row.checkpoint, network, dtype)
    initial = state
    if row.initial_checkpoint:
        initial = read_state(row.initial_checkpoint, network, dtype)
    mask = row.counted.mask
    trained = TrainedRun(
        run,
        state,
        initial,
        RecordElsewhere(
            steps=row.steps or 0,
            reached_target=row.reached_target,
            diverged=row.diverged,
            train_loss=float("nan") if row.train_loss is None else row.train_loss,
            train_error=float("nan") if row.train_error is None else row.train_error,
            test_mistakes=round(row.counted.mistakes),
            test_size=row.counted.size,
            corrected=row.counted.corrected,
        ),
        torch.zeros(0, dtype=torch.bool) if mask is None else torch.from_numpy(mask),
        _unknown(row, is_label=is_label),
    )
    return replace(trained, key=_digest(trained))


def _digest(trained: TrainedRun) -> str:
    """Return SHA-256 over all that a measure may be told of a run, in hexadecimal."""
    said = [trained.run.identity, asdict(trained.record), dict(trained.unknown)]
    digest = hashlib.sha256(json.dumps(said, sort_keys=True).encode())
    samples = getattr(trained.run, "samples", None)
    digest.update(b"" if samples is None else np.ascontiguousarray(samples).data)
    state, initial = trained.state, trained.initial_state
    tensors = [*state.weights.values(), *state.buffers.values()]
    tensors += [*initial.weights.values(), *initial.buffers.values()]
    for tensor in (*tensors, trained.mistaken):
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _require_room(run: RunElsewhere, checkpoint: Path) -> None:
    """Raise where a manifest names a network that is far larger than its checkpoint."""
    from pytest_fragility.networks.building import count_weights

    architecture = run.recipe.architecture
    if isinstance(architecture, Factory) or isinstance(run.task, TaskWithoutData):
        return
    data = run.task.data
    count = count_weights(architecture, data.input_shape, data.classes)
    # a small file may be a list of others, or of another architecture, which is told better later
    if count > MANY_WEIGHTS and count > (size := size_of(checkpoint)):
        raise TableError(
            f"architecture {architecture} has {count:,} weights, and {checkpoint.name} "
            f"{size:,} bytes"
        )


def _unknown(row: ListedNetwork, *, is_label: bool) -> dict[str, str]:
    """Return the parts of a network that are not known, and what to do about it."""
    unknown: dict[str, str] = {}
    if is_label:
        unknown |= dict.fromkeys(("inputs", "labels"), no_data(row.task))
    elif row.samples is None:
        text = (
            "which samples it was trained on is not known; add a column "
            f"{SAMPLES} to the manifest, which names a file with rows of the training pool"
        )
        unknown |= dict.fromkeys(("inputs", "labels"), text)
    if row.initial_checkpoint is None:
        unknown["initial_model"] = _add("its initial weights are", INITIAL)
    if not row.is_described:
        unknown["recipe"] = _add("how it was trained is", "optimizer, lr, batch_size, ...")
    for column, value in (
        (STEPS, row.steps),
        (TRAIN_LOSS, row.train_loss),
        (TRAIN_ERROR, row.train_error),
    ):
        if value is None:
            unknown[column] = _add(f"its {column} is", column)
    return unknown


def _add(what: str, column: str) -> str:
    return f"{what} not known; add a column {column} to the manifest"
