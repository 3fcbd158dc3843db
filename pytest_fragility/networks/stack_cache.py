"""Stacks of trained runs, each made once for all families that have the runs in common."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from itertools import count
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import torch

    from pytest_fragility.networks.runs import TrainedRun
    from pytest_fragility.networks.stacks import NetworkStack


Result = TypeVar("Result")
_NUMBERS = count()


class StacksOfRuns:
    """Stacks of trained runs; what one measure has worked out of them serves the next.

    Parameters
    ----------
    device
        Where the networks live.

    Attributes
    ----------
    number
        What processes call it among each other.
    """

    def __init__(self, device: torch.device) -> None:
        self.number = next(_NUMBERS)
        self._device = device
        self._results: dict[Hashable, Any] = {}
        self._of_samples: dict[Any, Any] = {}

    def of(self, runs: Sequence[TrainedRun]) -> NetworkStack:
        """Return the stack of runs of one task, architecture and n, the same each time.

        Its recipe is the first run's: where others have another, none of it may matter.
        """
        return self.once(runs, "stack", lambda: self._stack(runs))

    def number_of(self, runs: Sequence[TrainedRun]) -> int:
        """Return what processes call a stack of these runs among each other."""
        return self.once(runs, "number", lambda: next(_NUMBERS))

    def once(
        self, runs: Sequence[TrainedRun], key: Hashable, compute: Callable[[], Result]
    ) -> Result:
        """Return what `compute` returns, worked out once for these runs, of whatever family."""
        # families have runs of their own, which are the same where they have one key
        place = key, *(run.key for run in runs)
        assert all(place[1:]), "a run without a key is the same as no other"
        if place not in self._results:
            self._results[place] = compute()
        result: Result = self._results[place]
        return result

    def _stack(self, runs: Sequence[TrainedRun]) -> NetworkStack:
        import torch

        from pytest_fragility.networks.stacks import NetworkStack

        # a tensor of inference mode could never take part in a derivative
        with torch.inference_mode(False):
            return NetworkStack.of_runs(runs, self._device, self._of_samples)
