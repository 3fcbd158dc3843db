"""One training that serves every run that differs from the others in its stopping rule alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pytest_fragility.networks.runs import Run
from pytest_fragility.recipes import StoppingRule

FIRST_INTERVAL = 10
GROWTH = 1.05
LOSS_GATE = 2.0


def next_check(step: int) -> int:
    """Return the first step after `step` at which stopping rules are looked at.

    Every 10 steps at first, later 5 % further each time: a looked-at step costs a pass over all
    training samples, and the stopping time is known to 5 %. The steps are the same for all runs.
    """
    check = 0
    while check <= step:
        grown = math.ceil(check * GROWTH / FIRST_INTERVAL) * FIRST_INTERVAL
        check = max(check + FIRST_INTERVAL, grown)
    return check


def loss_gate(rule: StoppingRule) -> float:
    """Return up to which recent loss a pass over all training samples could meet the rule, in nats.

    A recent loss is the mean of the batch losses since the last check. A cross-entropy rule is left
    alone while this is more than twice its target; fixed steps need no pass.
    """
    if rule.kind == "steps":
        return -math.inf
    return math.inf if rule.kind == "accuracy" else LOSS_GATE * rule.target


def is_met(rule: StoppingRule, *, step: int, train_loss: float, train_error: float) -> bool:
    """Return whether the rule is met by a pass over all training samples after `step` steps."""
    if rule.kind == "steps":
        return step >= rule.step_limit
    if rule.kind == "accuracy":
        return train_error <= 1 - rule.target
    return train_loss < rule.target


class Ending(NamedTuple):
    """A run that ends where its trajectory has got to."""

    run: Run
    reached_target: bool


@dataclass(eq=False, slots=True)
class _Pending:
    """A run that has not ended: where it ends at the latest, and up to which loss it is looked at.

    A run whose target is met is looked at no more, but for its limit.
    """

    run: Run
    limit: int
    gate: float
    has_met: bool = False

    @classmethod
    def of(cls, run: Run) -> _Pending:
        rule = run.recipe.stopping
        # until a target is reached, the limit is the rule's own
        limit = rule.last_step(0) if rule.kind == "steps" else rule.step_limit
        return cls(run, limit, loss_gate(rule))


class Trajectory:
    """The weights of a training over time, from which several runs are cut off.

    Each run ends where it would have ended alone.

    Parameters
    ----------
    runs
        Runs that differ in nothing but their stopping rule.

    Attributes
    ----------
    next_limit
        The next step at which some run ends at the latest, or is known to end.
    """

    def __init__(self, runs: Sequence[Run]) -> None:
        self.first = runs[0]
        self._pending = [_Pending.of(run) for run in runs]
        self._look_ahead()

    @property
    def pending(self) -> list[Run]:
        """The runs that have not ended."""
        return [each.run for each in self._pending]

    @property
    def is_done(self) -> bool:
        """Whether every run has ended."""
        return not self._pending

    def to_look_at(self, step: int, recent_loss: float, *, is_check: bool) -> list[_Pending]:
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
        # this is asked of every network at every check; what is no number is above nothing
        is_above = self._highest_gate < recent_loss < math.inf
        if step < self.next_limit and (is_above or not is_check):
            return []
        is_lost = is_check and not math.isfinite(recent_loss)
        return [
            each
            for each in self._pending
            if is_lost or each.limit <= step or (is_check and recent_loss <= each.gate)
        ]

    def ends(
        self,
        looked_at: Sequence[_Pending],
        step: int,
        *,
        train_loss: float,
        train_error: float,
        lost: bool,
    ) -> list[Ending]:
        """Return which of the runs that are looked at end here, and take them off the trajectory.

        Parameters
        ----------
        looked_at
            From `to_look_at`.
        step
            Steps taken.
        train_loss, train_error
            Over all training samples.
        lost
            Whether the training has diverged.
        """
        endings = []
        for each in looked_at:
            rule = each.run.recipe.stopping
            if not each.has_met and is_met(
                rule, step=step, train_loss=train_loss, train_error=train_error
            ):
                # met once, it is met
                each.has_met, each.gate, each.limit = True, -math.inf, rule.last_step(step)
            if lost or step >= each.limit:
                endings.append(Ending(each.run, each.has_met and not lost))
                self._pending.remove(each)
        self._look_ahead()
        return endings

    def _look_ahead(self) -> None:
        """Note what spares looking at runs one by one, which is done at every check."""
        self.next_limit = min((each.limit for each in self._pending), default=0)
        self._highest_gate = max((each.gate for each in self._pending), default=0.0)
