"""Recipes: everything that decides a training run but data, size and seed."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

from pytest_fragility.errors import SettingsError


class _Rule(NamedTuple):
    """What a value must be: a test, and the words for it."""

    holds: Callable[[Any], bool]
    words: str


def _is_number(value: Any) -> bool:
    is_real = isinstance(value, int | float) and not isinstance(value, bool)
    return is_real and math.isfinite(value)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_fraction(value: Any) -> bool:
    return _is_number(value) and 0 <= value < 1


_POSITIVE = _Rule(lambda value: _is_number(value) and value > 0, "a positive number")
_NOT_NEGATIVE = _Rule(lambda value: _is_number(value) and value >= 0, "zero or more")
_FRACTION = _Rule(_is_fraction, "a number in [0, 1)")
_FRACTIONS = _Rule(
    lambda value: isinstance(value, tuple) and len(value) == 2 and all(map(_is_fraction, value)),
    "two numbers in [0, 1)",
)
_COUNT = _Rule(_is_count, "a whole number, at least 1")
_COUNTS = _Rule(
    lambda value: isinstance(value, tuple) and all(map(_is_count, value)),
    "a tuple of positive integers, such as (64, 64)",
)


def _one_of(*kinds: type) -> _Rule:
    return _Rule(
        lambda value: isinstance(value, kinds), " or ".join(kind.__name__ for kind in kinds)
    )


def _check(part: object, **rules: _Rule) -> None:
    """Raise a SettingsError that names the first field that breaks its rule."""
    for name, rule in rules.items():
        value = getattr(part, name)
        if not rule.holds(value):
            raise SettingsError(f"{type(part).__name__}.{name}={value!r}: expected {rule.words}")


@dataclass(frozen=True, kw_only=True)
class SGD:
    """Stochastic gradient descent, as ``torch.optim.SGD`` with ``dampening=0``.

    Parameters
    ----------
    lr
        Learning rate, positive.
    momentum
        In [0, 1).
    nesterov
        Nesterov's form of momentum; needs ``momentum > 0``.
    weight_decay
        Coefficient of the L2 penalty added to the gradient.

    Raises
    ------
    SettingsError
        If a value is out of range.
    """

    kind: ClassVar[str] = "sgd"
    lr: float = 0.05
    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        _check(self, lr=_POSITIVE, momentum=_FRACTION, weight_decay=_NOT_NEGATIVE)
        if self.nesterov and self.momentum == 0:
            raise SettingsError("SGD.nesterov=True needs momentum > 0, got momentum=0.0")


@dataclass(frozen=True, kw_only=True)
class Adam:
    """Adam, as ``torch.optim.Adam``: weight decay is added to the gradient.

    Parameters
    ----------
    lr
        Learning rate, positive.
    betas
        Decay rates of the two moments, each in [0, 1).
    eps
        Added to the denominator, positive.
    weight_decay
        Coefficient of the L2 penalty.

    Raises
    ------
    SettingsError
        If a value is out of range.
    """

    kind: ClassVar[str] = "adam"
    lr: float = 0.001
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        _check(self, lr=_POSITIVE, eps=_POSITIVE, betas=_FRACTIONS, weight_decay=_NOT_NEGATIVE)


@dataclass(frozen=True, kw_only=True)
class AdamW(Adam):
    """AdamW, as ``torch.optim.AdamW``: weight decay shrinks the weights themselves.

    Parameters are those of `Adam`; the default weight decay is torch's, 0.01.
    """

    kind: ClassVar[str] = "adamw"
    weight_decay: float = 0.01


@dataclass(frozen=True, kw_only=True)
class RMSprop:
    """RMSprop, as ``torch.optim.RMSprop`` without momentum and not centred.

    Parameters
    ----------
    lr
        Learning rate, positive.
    alpha
        Decay rate of the squared gradient's average, in [0, 1).
    eps
        Added to the denominator, positive.
    weight_decay
        Coefficient of the L2 penalty.

    Raises
    ------
    SettingsError
        If a value is out of range.
    """

    kind: ClassVar[str] = "rmsprop"
    lr: float = 0.001
    alpha: float = 0.99
    eps: float = 1e-8
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        _check(self, lr=_POSITIVE, alpha=_FRACTION, eps=_POSITIVE, weight_decay=_NOT_NEGATIVE)


Optimizer = SGD | Adam | AdamW | RMSprop


@dataclass(frozen=True, kw_only=True)
class StoppingRule:
    """When a training ends.

    Build one with `cross_entropy_below`, `full_train_accuracy` or `fixed_steps`.

    Parameters
    ----------
    kind
        ``"cross_entropy"``, ``"accuracy"`` or ``"steps"``.
    target
        Mean train cross-entropy in nats, or train accuracy; unused for ``"steps"``.
    step_limit
        The training ends here at the latest. A run that has not reached its target by then
        says so, and does not count as one that did.

    Raises
    ------
    SettingsError
        If a value is out of range.
    """

    kind: str = "cross_entropy"
    target: float = 0.1
    step_limit: int = 20_000

    def __post_init__(self) -> None:
        kinds = ("cross_entropy", "accuracy", "steps")
        _check(
            self,
            kind=_Rule(lambda value: value in kinds, f"one of {', '.join(kinds)}"),
            target=_POSITIVE,
            step_limit=_COUNT,
        )

    def __str__(self) -> str:
        if self.kind == "steps":
            return f"{self.step_limit} steps"
        if self.kind == "accuracy":
            return "100 % train accuracy"
        return f"train cross-entropy < {self.target:g}"


def cross_entropy_below(target: float, *, step_limit: int = 20_000) -> StoppingRule:
    """Stop once the mean cross-entropy over all training samples is below `target` nats."""
    return StoppingRule(kind="cross_entropy", target=target, step_limit=step_limit)


def full_train_accuracy(*, step_limit: int = 20_000) -> StoppingRule:
    """Stop once every training sample is classified as labelled."""
    return StoppingRule(kind="accuracy", target=1.0, step_limit=step_limit)


def fixed_steps(steps: int) -> StoppingRule:
    """Stop after exactly `steps` optimizer steps."""
    return StoppingRule(kind="steps", step_limit=steps)


@dataclass(frozen=True, kw_only=True)
class MLP:
    """A ReLU multilayer perceptron: flatten, then linear layers with ReLU between them.

    Parameters
    ----------
    hidden
        Widths of the hidden layers, first to last.

    Raises
    ------
    SettingsError
        If a width is not a positive integer.
    """

    kind: ClassVar[str] = "mlp"
    hidden: tuple[int, ...] = (64, 64)

    def __post_init__(self) -> None:
        _check(self, hidden=_COUNTS)

    def __str__(self) -> str:
        return "mlp " + "-".join(map(str, self.hidden)) if self.hidden else "linear"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides a training run but data, size n and seed.

    Parameters
    ----------
    architecture
        The network.
    optimizer
        The optimizer with its hyperparameters.
    batch_size
        Samples per step; a training set that is smaller is used whole.
    initialization_scale
        Factor on the initial weights' standard deviation, sqrt(2 / fan_in) (He et al. 2015,
        eq. 10); biases start at zero.
    stopping
        When the training ends.

    Raises
    ------
    SettingsError
        If a value is out of range.
    """

    architecture: MLP = field(default_factory=MLP)
    optimizer: Optimizer = field(default_factory=SGD)
    batch_size: int = 16
    initialization_scale: float = 1.0
    stopping: StoppingRule = field(default_factory=StoppingRule)

    def __post_init__(self) -> None:
        _check(
            self,
            architecture=_one_of(MLP),
            optimizer=_one_of(SGD, Adam, AdamW, RMSprop),
            batch_size=_COUNT,
            initialization_scale=_POSITIVE,
            stopping=_one_of(StoppingRule),
        )

    def replace(self, **changes: Any) -> Recipe:
        """Return a copy with some fields replaced."""
        return dataclasses.replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Return the recipe as plain JSON types, kinds included; equal recipes give equal dicts."""
        return copy.deepcopy(self._as_dict)

    @cached_property
    def _as_dict(self) -> dict[str, Any]:
        return {
            "architecture": _part_to_dict(self.architecture),
            "optimizer": _part_to_dict(self.optimizer),
            "batch_size": self.batch_size,
            "initialization_scale": float(self.initialization_scale),
            "stopping": {
                "kind": self.stopping.kind,
                "target": float(self.stopping.target),
                "step_limit": self.stopping.step_limit,
            },
        }

    def __str__(self) -> str:
        parts = [str(self.architecture), describe_optimizer(self.optimizer)]
        parts.append(f"batch {self.batch_size}")
        if self.initialization_scale != 1:
            parts.append(f"initialization x{self.initialization_scale:g}")
        parts.append(f"stop at {self.stopping}")
        return ", ".join(parts)


def _part_to_dict(part: MLP | Optimizer) -> dict[str, Any]:
    return {"kind": part.kind, **{k: _plain(v) for k, v in dataclasses.asdict(part).items()}}


def _plain(value: Any) -> Any:
    """Return JSON types, the same for equal values: a learning rate of 1 is one of 1.0."""
    if isinstance(value, tuple):
        return list(value)
    return value if isinstance(value, bool) else float(value)


def describe_optimizer(optimizer: Optimizer) -> str:
    """Return an optimizer as a person writes it, such as ``sgd lr=0.05 momentum=0.9``."""
    words = [optimizer.kind, f"lr={optimizer.lr:g}"]
    if isinstance(optimizer, SGD) and optimizer.momentum:
        words.append(f"{'nesterov' if optimizer.nesterov else 'momentum'}={optimizer.momentum:g}")
    if optimizer.weight_decay:
        words.append(f"weight_decay={optimizer.weight_decay:g}")
    return " ".join(words)
