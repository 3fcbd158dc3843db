"""Runs: the unit that is trained, stored and identified."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Hashable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pytest_fragility.recipes import Recipe

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch

    from pytest_fragility.networks import NetworkState
    from pytest_fragility.tasks.task import Task


@dataclass(frozen=True, eq=False)
class Run:
    """Task x n x recipe x seed.

    Parameters
    ----------
    task
        What is learned.
    n
        Training set size: the first n samples of the pool in the order that `seed` gives, so
        that subsets are nested.
    recipe
        How it is learned.
    seed
        Decides the subset, the initial weights and the order of samples, each independently of
        the recipe: runs that differ only in their recipe are paired.
    """

    task: Task
    n: int
    recipe: Recipe
    seed: int

    @cached_property
    def identity(self) -> dict[str, Any]:
        """Everything that decides the trained weights, but the device and the trainer's code."""
        return {
            "data": self.task.data.fingerprint,
            "n": self.n,
            "recipe": self.recipe.to_dict(),
            "seed": self.seed,
        }

    def rows(self) -> npt.NDArray[np.int64]:
        """Return the rows of the pool that it trains on, shape (n,)."""
        from pytest_fragility.tasks.sampling import training_subset

        return training_subset(self.task.data, self.n, self.seed)

    @property
    def samples_id(self) -> Hashable:
        """Equal for runs on the same samples."""
        return self.task.data.fingerprint, self.n, self.seed

    def build_network(self) -> torch.nn.Module:
        """Return a module with the recipe's architecture, for the task's inputs and classes."""
        from pytest_fragility.networks import build_network

        data = self.task.data
        return build_network(self.recipe.architecture, data.input_shape, data.classes)

    def key(self, environment: dict[str, str]) -> str:
        """Return the run's name in a store."""
        return key_of(self.identity, environment)

    def __str__(self) -> str:
        return f"task {self.task.name}, n={self.n}, seed {self.seed}, recipe {self.recipe}"


def key_of(identity: dict[str, Any], environment: dict[str, str]) -> str:
    """Return what a store calls a run: SHA-256 of identity and environment, hexadecimal."""
    text = json.dumps([identity, environment], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class TrainingRecord:
    """How a training went.

    Parameters
    ----------
    steps
        Optimizer steps taken.
    reached_target
        Whether the stopping rule was met within its step limit; fixed steps are always met.
    diverged
        Whether the training loss became NaN or infinite; the run ended there.
    train_loss
        Mean cross-entropy over the training samples at the end, in nats.
    train_error
        Fraction of training samples classified unlike their label.
    test_mistakes
        Test samples classified unlike their label.
    test_size
        Test samples in all.
    """

    steps: int
    reached_target: bool
    diverged: bool
    train_loss: float
    train_error: float
    test_mistakes: int
    test_size: int

    @property
    def test_error(self) -> float:
        """Test error with a continuity correction, (mistakes + 1/2) / (test size + 1).

        It is never zero, so that it has a logarithm.
        """
        return (self.test_mistakes + 0.5) / (self.test_size + 1)

    def to_dict(self) -> dict[str, Any]:
        """Return the record as plain JSON types."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class TrainedRun:
    """A run with what came out of it.

    Parameters
    ----------
    run
        What was asked.
    state, initial_state
        Parameters and buffers, in the recipe's precision, on the CPU.
    record
        How the training went.
    mistaken
        Which test samples are classified unlike their label: bool, shape (test samples,). Empty
        where that is not known.
    unknown
        Of a run that was made elsewhere: the parts of its network that are not known, each with
        what to say where a measure asks for it.
    key
        Equal for runs that are the same in all of this: what a store calls it, or, of a run that
        was made elsewhere, a digest of its files and of what is said of it. Empty where nobody has
        named it yet; whoever replaces another part of a run names it anew.
    """

    run: Run
    state: NetworkState
    initial_state: NetworkState
    record: TrainingRecord
    mistaken: torch.Tensor
    unknown: Mapping[str, str] = field(default_factory=dict)
    key: str = ""

    @property
    def weights(self) -> dict[str, torch.Tensor]:
        """The trained parameters, by name."""
        return self.state.weights

    @property
    def initial_weights(self) -> dict[str, torch.Tensor]:
        """The parameters before training, by name."""
        return self.initial_state.weights
