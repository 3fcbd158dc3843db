"""How the learning rate changes from step to step."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

from pytest_fragility._util.validation import COUNT, POSITIVE, WHOLE, ShortRepr, check, named
from pytest_fragility.errors import SettingsError

CONSTANT, COSINE, STEP, EXPONENTIAL = "constant", "cosine", "step", "exponential"


@dataclass(frozen=True, kw_only=True, repr=False)
class Schedule(ShortRepr):
    """By what the learning rate is multiplied at each step.

    Build one with `cosine`, `step_decay` or `exponential`; `with_warmup` adds a warm-up.

    Parameters
    ----------
    kind
        ``"constant"``, ``"cosine"``, ``"step"`` or ``"exponential"``.
    steps
        ``cosine``: steps until the end of the half wave. ``step`` and ``exponential``: steps in
        which the rate changes by `factor` once. Not for a constant rate, nor is `factor`.
    factor
        ``cosine``: the rate at the end and from there on, over the rate at the start. ``step``,
        ``exponential``: by what the rate is multiplied every `steps` steps, at once or gradually;
        above 1 it grows.
    warmup
        In the first so many steps the rate grows linearly from zero to what it would be.

    Raises
    ------
    SettingsError
        If a value is out of range.
    """

    kind: str = CONSTANT
    steps: int = 1
    factor: float = 1.0
    warmup: int = 0

    def __post_init__(self) -> None:
        check(
            self,
            kind=named(CONSTANT, COSINE, STEP, EXPONENTIAL),
            steps=COUNT,
            factor=POSITIVE,
            warmup=WHOLE,
        )
        says_how = self.kind == CONSTANT and (self.steps, self.factor) != (1, 1)
        if says_how or (self.kind != CONSTANT and self.factor == 1):
            raise SettingsError(
                f"Schedule(kind={self.kind!r}, steps={self.steps}, factor={self.factor:g}): "
                "expected a factor other than 1 for a kind that changes the rate, and neither "
                "steps nor factor for a constant one; cosine(steps), step_decay(every) and "
                "exponential(every, factor=...) make schedules"
            )

    @property
    def is_constant(self) -> bool:
        """Whether every step has the recipe's own learning rate."""
        return self.kind == CONSTANT and self.warmup == 0

    def multiplier(self, step: int) -> float:
        """Return by what the learning rate is multiplied at a step, counted from zero."""
        try:
            multiplier = self._without_warmup(step)
        except OverflowError:
            # a rate that outgrows its numbers: the training diverges, and its record says so
            return math.inf
        is_warm = step >= self.warmup
        return multiplier if is_warm else multiplier * (step + 1) / self.warmup

    def with_warmup(self, steps: int) -> Schedule:
        """Return the schedule with another number of steps of warm-up."""
        return dataclasses.replace(self, warmup=steps)

    def _without_warmup(self, step: int) -> float:
        if self.kind == COSINE:
            share = (1 + math.cos(math.pi * min(step / self.steps, 1.0))) / 2
            return self.factor + (1 - self.factor) * share
        if self.kind == STEP:
            return float(self.factor ** (step // self.steps))
        if self.kind == EXPONENTIAL:
            return float(self.factor ** (step / self.steps))
        return 1.0

    def __str__(self) -> str:
        words = {
            CONSTANT: "constant rate",
            COSINE: f"cosine to x{self.factor:g} in {self.steps} steps",
            STEP: f"rate x{self.factor:g} every {self.steps} steps",
            EXPONENTIAL: f"rate gradually x{self.factor:g} every {self.steps} steps",
        }[self.kind]
        return f"{words} after {self.warmup} steps of warm-up" if self.warmup else words


def cosine(steps: int, *, factor: float = 0.1) -> Schedule:
    """Fall along half a cosine wave to `factor` times the rate (Loshchilov & Hutter 2017).

    Parameters
    ----------
    steps
        Steps until the end of the half wave.
    factor
        The rate at the end and from there on, over the rate at the start.

    Raises
    ------
    SettingsError
        If a value is out of range.
    """
    return Schedule(kind=COSINE, steps=steps, factor=factor)


def step_decay(every: int, *, factor: float = 0.5) -> Schedule:
    """Multiply the rate by `factor` every so many steps.

    Parameters
    ----------
    every
        Steps from one drop to the next.
    factor
        By what the rate is multiplied.

    Raises
    ------
    SettingsError
        If a value is out of range.
    """
    return Schedule(kind=STEP, steps=every, factor=factor)


def exponential(every: int, *, factor: float) -> Schedule:
    """Change the rate at each step, by `factor` in so many steps; above 1 it grows.

    Parameters
    ----------
    every
        Steps in which the rate changes by `factor` once.
    factor
        By what the rate is multiplied in so many steps.

    Raises
    ------
    SettingsError
        If a value is out of range.
    """
    return Schedule(kind=EXPONENTIAL, steps=every, factor=factor)
