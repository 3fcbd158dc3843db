"""The catalogue of small training changes."""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from pytest_fragility.errors import SettingsError
from pytest_fragility.recipes import (
    SGD,
    Adam,
    AdamW,
    Optimizer,
    Recipe,
    RMSprop,
    full_train_accuracy,
)

BASELINE = "baseline"

_NAME = re.compile(r"[a-z0-9][a-z0-9.+_-]*")


@dataclass(frozen=True)
class Perturbation:
    """A named small change of a recipe.

    Parameters
    ----------
    name
        Part of test ids: lower-case letters, digits and ``. + _ -``.
    change
        A function that takes the baseline recipe and returns the changed one.
    summary
        The change in a few words.

    Raises
    ------
    SettingsError
        If the name cannot be part of a test id, or is ``baseline``.

    Examples
    --------
    >>> wider = Perturbation("wide", lambda r: r.replace(architecture=MLP(hidden=(128, 128))))
    >>> (wider + get_perturbation("adam")).name
    'wide+adam'
    """

    name: str
    change: Callable[[Recipe], Recipe]
    summary: str = ""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name) or self.name == BASELINE:
            raise SettingsError(
                f"perturbation name {self.name!r}: expected lower-case letters, digits and '.+_-', "
                f"and not {BASELINE!r}, because it becomes part of test ids"
            )

    def __call__(self, recipe: Recipe) -> Recipe:
        """Return the changed recipe."""
        changed = self.change(recipe)
        if not isinstance(changed, Recipe):
            raise SettingsError(
                f"perturbation {self.name!r} returned {type(changed).__name__}, expected a Recipe"
            )
        return changed

    def __add__(self, other: Perturbation) -> Perturbation:
        """Return the change that does this one, then the other."""
        return Perturbation(
            f"{self.name}+{other.name}",
            lambda recipe: other(self(recipe)),
            f"{self.summary}, then {other.summary}",
        )


def _scale_lr(factor: float) -> Callable[[Recipe], Recipe]:
    def change(recipe: Recipe) -> Recipe:
        optimizer = recipe.optimizer
        return recipe.replace(optimizer=dataclasses.replace(optimizer, lr=optimizer.lr * factor))

    return change


def _scale_batch(factor: float) -> Callable[[Recipe], Recipe]:
    return lambda recipe: recipe.replace(batch_size=max(1, round(recipe.batch_size * factor)))


def _scale_initialization(factor: float) -> Callable[[Recipe], Recipe]:
    return lambda recipe: recipe.replace(initialization_scale=recipe.initialization_scale * factor)


def _scale_target(factor: float) -> Callable[[Recipe], Recipe]:
    def change(recipe: Recipe) -> Recipe:
        stopping = recipe.stopping
        if stopping.kind != "cross_entropy":
            return recipe
        target = stopping.target * factor
        return recipe.replace(stopping=dataclasses.replace(stopping, target=target))

    return change


def _use(optimizer: Optimizer) -> Callable[[Recipe], Recipe]:
    return lambda recipe: recipe.replace(optimizer=optimizer)


def _use_momentum(nesterov: bool) -> Callable[[Recipe], Recipe]:
    """Switch momentum on at the same effective learning rate, lr / (1 - momentum)."""
    momentum = 0.9

    def change(recipe: Recipe) -> Recipe:
        is_plain_sgd = isinstance(recipe.optimizer, SGD) and recipe.optimizer.momentum == 0
        lr = recipe.optimizer.lr if is_plain_sgd else SGD().lr
        return recipe.replace(
            optimizer=SGD(lr=lr * (1 - momentum), momentum=momentum, nesterov=nesterov)
        )

    return change


def _decay_weights(coefficient: float) -> Callable[[Recipe], Recipe]:
    def change(recipe: Recipe) -> Recipe:
        optimizer = dataclasses.replace(recipe.optimizer, weight_decay=coefficient)
        return recipe.replace(optimizer=optimizer)

    return change


def _stop_at_full_accuracy(recipe: Recipe) -> Recipe:
    return recipe.replace(stopping=full_train_accuracy(step_limit=recipe.stopping.step_limit))


CATALOGUE: dict[str, Perturbation] = {
    perturbation.name: perturbation
    for perturbation in (
        Perturbation("lr-x3", _scale_lr(3), "learning rate x 3"),
        Perturbation("lr-x10", _scale_lr(10), "learning rate x 10"),
        Perturbation("lr-div3", _scale_lr(1 / 3), "learning rate / 3"),
        Perturbation("lr-div10", _scale_lr(1 / 10), "learning rate / 10"),
        Perturbation("sgd", _use(SGD()), "SGD at 0.05"),
        Perturbation("momentum", _use_momentum(nesterov=False), "SGD with momentum 0.9"),
        Perturbation("nesterov", _use_momentum(nesterov=True), "SGD with Nesterov momentum 0.9"),
        Perturbation("adam", _use(Adam()), "Adam at 0.001"),
        Perturbation("adam-x10", _use(Adam(lr=0.01)), "Adam at 0.01"),
        Perturbation("adamw", _use(AdamW()), "AdamW at 0.001"),
        Perturbation("rmsprop", _use(RMSprop()), "RMSprop at 0.001"),
        Perturbation("batch-x4", _scale_batch(4), "batch size x 4"),
        Perturbation("batch-div4", _scale_batch(1 / 4), "batch size / 4"),
        Perturbation("weight-decay", _decay_weights(5e-4), "weight decay 0.0005"),
        Perturbation("init-x2", _scale_initialization(2), "initial weights x 2"),
        Perturbation("init-div2", _scale_initialization(1 / 2), "initial weights / 2"),
        Perturbation("stop-accuracy", _stop_at_full_accuracy, "stop at 100 % train accuracy"),
        Perturbation("stop-later", _scale_target(1 / 2), "half the target cross-entropy"),
    )
}


def get_perturbation(name: str) -> Perturbation:
    """Return the perturbation with this name; ``a+b`` does one change after the other.

    Raises
    ------
    SettingsError
        If the catalogue has no such name; the nearest right one is named.
    """
    if name in CATALOGUE:
        return CATALOGUE[name]
    if "+" in name:
        first, rest = name.split("+", 1)
        return get_perturbation(first) + get_perturbation(rest)
    near = difflib.get_close_matches(name, CATALOGUE, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise SettingsError(
        f"unknown perturbation {name!r}: {hint}The catalogue has {', '.join(CATALOGUE)}"
    )


def resolve_perturbations(
    chosen: Iterable[str | Perturbation], baseline: Recipe
) -> dict[str, Perturbation]:
    """Return the chosen perturbations by name, each checked to change the baseline.

    Raises
    ------
    SettingsError
        If a name is unknown or given twice, or a perturbation leaves the baseline as it is.
    """
    resolved: dict[str, Perturbation] = {}
    for choice in chosen:
        perturbation = get_perturbation(choice) if isinstance(choice, str) else choice
        if not isinstance(perturbation, Perturbation):
            raise SettingsError(
                f"perturbation {choice!r}: expected a name from the catalogue or a Perturbation"
            )
        if perturbation.name in resolved:
            raise SettingsError(f"perturbation {perturbation.name!r} is given twice")
        if perturbation(baseline) == baseline:
            raise SettingsError(
                f"perturbation {perturbation.name!r} leaves the baseline recipe as it is "
                f"({baseline}); leave it out or replace the baseline"
            )
        resolved[perturbation.name] = perturbation
    return resolved
