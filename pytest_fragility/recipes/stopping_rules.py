"""When a training ends."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

from pytest_fragility._util.validation import (
    COUNT,
    POSITIVE,
    Rule,
    ShortRepr,
    check,
    is_number,
    named,
)
from pytest_fragility.errors import SettingsError

# by kind; fixed steps have none, and a number in its place
DEFAULT_TARGETS = {"cross_entropy": 0.1, "accuracy": 1.0, "steps": 0.1}


@dataclass(frozen=True, kw_only=True, repr=False)
class StoppingRule(ShortRepr):
    """When a training ends.

    Build one with `cross_entropy_below`, `full_train_accuracy` or `fixed_steps`.

    Parameters
    ----------
    kind
        ``"cross_entropy"``, ``"accuracy"`` or ``"steps"``.
    target
        Mean train cross-entropy in nats, 0.1 by default, or train accuracy, at most 1 and 1 by
        default. Not for ``"steps"``.
    step_limit
        The target must be reached by then. A run that has not reached it ends here, says so, and
        does not count as one that did.
    overtime
        How many times the steps to the target are taken: 1 ends the training where the target is
        reached, 4 goes on from there for three times as long.

    Raises
    ------
    SettingsError
        If a value is out of range.
    """

    kind: str = "cross_entropy"
    target: float = None  # type: ignore[assignment]
    step_limit: int = 20_000
    overtime: float = 1.0

    def __post_init__(self) -> None:
        check(self, kind=named(*DEFAULT_TARGETS))
        own = DEFAULT_TARGETS[self.kind]
        if self.target is None:
            object.__setattr__(self, "target", own)
        check(
            self,
            target=POSITIVE,
            step_limit=COUNT,
            overtime=POSITIVE,
        )
        at_least_one = Rule(lambda value: 1 <= value <= 10_000, "a number from 1 to 10,000")
        check(self, overtime=at_least_one)
        if self.kind == "accuracy":
            check(self, target=Rule(lambda value: value <= 1, "an accuracy, at most 1"))
        if self.kind == "steps" and self.target != own:
            raise SettingsError(
                f"StoppingRule.target={self.target:g}: fixed steps have no target; leave it out"
            )

    def with_overtime(self, times: float) -> StoppingRule:
        """Return the rule that goes on for so many times the steps that this one takes."""
        overtime = self.overtime * times if is_number(times) else times
        return dataclasses.replace(self, overtime=overtime)

    def last_step(self, target_step: int) -> int:
        """Return the step at which a training ends that reached the target at `target_step`.

        Fixed steps are reached where they say, whatever the argument.
        """
        reached = self.step_limit if self.kind == "steps" else target_step
        # 50 * 1.1 is a little more than 55
        return math.ceil(round(reached * self.overtime, 6))

    def __str__(self) -> str:
        if self.kind == "steps":
            return f"{self.last_step(self.step_limit)} steps"
        if self.kind == "accuracy":
            target = f"{100 * self.target:g} % train accuracy"
        else:
            target = f"train cross-entropy < {self.target:g}"
        return target if self.overtime == 1 else f"{target} and on to x{self.overtime:g} the steps"


def cross_entropy_below(target: float, *, step_limit: int = 20_000) -> StoppingRule:
    """Stop once the mean cross-entropy over all training samples is below `target` nats.

    Parameters
    ----------
    target
        In nats, positive.
    step_limit
        The target must be reached by then; a run that has not reached it ends here, and says so.

    Raises
    ------
    SettingsError
        If a value is out of range.
    """
    return StoppingRule(kind="cross_entropy", target=target, step_limit=step_limit)


def full_train_accuracy(*, step_limit: int = 20_000) -> StoppingRule:
    """Stop once every training sample is classified as labelled.

    Parameters
    ----------
    step_limit
        The target must be reached by then; a run that has not reached it ends here, and says so.

    Raises
    ------
    SettingsError
        If a value is out of range.
    """
    return StoppingRule(kind="accuracy", target=1.0, step_limit=step_limit)


def fixed_steps(steps: int) -> StoppingRule:
    """Stop after exactly `steps` optimizer steps.

    Parameters
    ----------
    steps
        Their number, at least 1.

    Raises
    ------
    SettingsError
        If a value is out of range.
    """
    return StoppingRule(kind="steps", step_limit=steps)
