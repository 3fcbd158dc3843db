"""Optimizers with their hyperparameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pytest_fragility._util.validation import (
    FLAG,
    FRACTION,
    FRACTIONS,
    NOT_NEGATIVE,
    POSITIVE,
    ShortRepr,
    check,
)
from pytest_fragility.errors import SettingsError


@dataclass(frozen=True, kw_only=True, repr=False)
class SGD(ShortRepr):
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
    decoupled
        Whether weight decay shrinks the weights themselves, by lr * weight_decay a step
        (Loshchilov & Hutter 2019), and stays out of the momentum; needs ``weight_decay > 0``.

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
    decoupled: bool = False

    def __post_init__(self) -> None:
        check(self, lr=POSITIVE, momentum=FRACTION, weight_decay=NOT_NEGATIVE)
        check(self, nesterov=FLAG, decoupled=FLAG)
        if self.decoupled and self.weight_decay == 0:
            raise SettingsError("SGD.decoupled=True needs weight_decay > 0, got weight_decay=0.0")
        if self.nesterov and self.momentum == 0:
            raise SettingsError("SGD.nesterov=True needs momentum > 0, got momentum=0.0")


@dataclass(frozen=True, kw_only=True, repr=False)
class Adam(ShortRepr):
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
        check(self, lr=POSITIVE, eps=POSITIVE, betas=FRACTIONS, weight_decay=NOT_NEGATIVE)


@dataclass(frozen=True, kw_only=True, repr=False)
class AdamW(Adam):
    """AdamW, as ``torch.optim.AdamW``: weight decay shrinks the weights themselves.

    Parameters
    ----------
    lr
        Learning rate, positive.
    betas
        Decay rates of the two moments, each in [0, 1).
    eps
        Added to the denominator, positive.
    weight_decay
        By what times the rate the weights shrink at each step; torch's default, 0.01.

    Raises
    ------
    SettingsError
        If a value is out of range.
    """

    kind: ClassVar[str] = "adamw"
    weight_decay: float = 0.01


@dataclass(frozen=True, kw_only=True, repr=False)
class RMSprop(ShortRepr):
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
        check(self, lr=POSITIVE, alpha=FRACTION, eps=POSITIVE, weight_decay=NOT_NEGATIVE)


Optimizer = SGD | Adam | AdamW | RMSprop


def describe_optimizer(optimizer: Optimizer) -> str:
    """Return an optimizer as a person writes it, such as ``sgd lr=0.05 momentum=0.9``."""
    words = [optimizer.kind, f"lr={optimizer.lr:g}"]
    if isinstance(optimizer, SGD) and optimizer.momentum:
        words.append(f"{'nesterov' if optimizer.nesterov else 'momentum'}={optimizer.momentum:g}")
    if optimizer.weight_decay:
        is_decoupled = isinstance(optimizer, SGD) and optimizer.decoupled
        name = "decoupled_weight_decay" if is_decoupled else "weight_decay"
        words.append(f"{name}={optimizer.weight_decay:g}")
    return " ".join(words)
