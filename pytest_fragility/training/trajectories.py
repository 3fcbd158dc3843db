"""One training that serves every run that differs from the others in its stopping rule alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from pytest_fragility.recipes import StoppingRule
from pytest_fragility.runs import Run
from pytest_fragility.training.stopping import is_met, is_worth_checking


class Ending(NamedTuple):
    """A run that ends where its trajectory has got to."""

    run: Run
    reached_target: bool


class Trajectory:
    """The weights of a training over time, from which several runs are cut off.

    Each run ends where it would have ended alone.

    Parameters
    ----------
    runs
        Runs that differ in nothing but their stopping rule.
    """

    def __init__(self, runs: Sequence[Run]) -> None:
        self.first = runs[0]
        self._pending = list(runs)
        self._last_steps: dict[int, int] = {}

    @property
    def pending(self) -> list[Run]:
        """The runs that have not ended."""
        return list(self._pending)

    @property
    def is_done(self) -> bool:
        """Whether every run has ended."""
        return not self._pending

    @property
    def next_limit(self) -> int:
        """The next step at which some run ends at the latest, or is known to end."""
        return min(self._limit(run) for run in self._pending)

    def to_look_at(self, step: int, recent_loss: float, *, is_check: bool) -> list[Run]:
        """Return the runs that may end at this step, which takes a pass over the training samples.

        Parameters
        ----------
        step
            Steps taken.
        recent_loss
            Mean of the batch losses since the last check, in nats.
        is_check
            Whether this is a step at which stopping rules are looked at; at others only those
            runs end that are at their limit, so that none is looked at because of another.
        """
        return [
            run
            for run in self._pending
            if self._limit(run) <= step
            or (is_check and not math.isfinite(recent_loss))
            or (is_check and self._may_be_met(run, recent_loss))
        ]

    def ends(
        self, runs: Sequence[Run], step: int, *, train_loss: float, train_error: float, lost: bool
    ) -> list[Ending]:
        """Return which of the runs that are looked at end here, and take them off the trajectory.

        Parameters
        ----------
        runs
            From `to_look_at`.
        step
            Steps taken.
        train_loss, train_error
            Over all training samples.
        lost
            Whether the training has diverged.
        """
        endings = []
        for run in runs:
            has_met = id(run) in self._last_steps or is_met(
                run.recipe.stopping, step=step, train_loss=train_loss, train_error=train_error
            )
            if has_met and id(run) not in self._last_steps:
                self._last_steps[id(run)] = run.recipe.stopping.last_step(step)
            if lost or step >= self._limit(run):
                endings.append(Ending(run, has_met and not lost))
        gone = {id(ending.run) for ending in endings}
        self._pending = [run for run in self._pending if id(run) not in gone]
        return endings

    def _limit(self, run: Run) -> int:
        return self._last_steps.get(id(run), _first_limit(run.recipe.stopping))

    def _may_be_met(self, run: Run, recent_loss: float) -> bool:
        is_open = id(run) not in self._last_steps
        return is_open and is_worth_checking(run.recipe.stopping, recent_loss)


def _first_limit(rule: StoppingRule) -> int:
    """Return where a training ends that has not reached its target yet."""
    return rule.last_step(0) if rule.kind == "steps" else rule.step_limit
