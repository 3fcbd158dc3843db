"""What a network is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pytest_fragility.recipes.rules import COUNTS, Rule, ShortRepr, check


@dataclass(frozen=True, kw_only=True, repr=False)
class MLP(ShortRepr):
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
        check(self, hidden=COUNTS)

    def __str__(self) -> str:
        return "mlp " + "-".join(map(str, self.hidden)) if self.hidden else "linear"


@dataclass(frozen=True, kw_only=True, repr=False)
class ScaleInvariantMLP(ShortRepr):
    """A multilayer perceptron whose function does not change when its weights are scaled.

    Flatten; then for each hidden layer a linear map without bias, a layer normalization without
    parameters and with epsilon zero, and a ReLU; then a fixed orthonormal classifier that is not
    trained (Hoffer et al. 2018, "Fix your classifier"). The weights in front of a normalization
    can be multiplied by any positive number, and exact pairs of trainings follow (Li & Arora
    2020, "An exponential learning rate schedule for deep learning").

    Parameters
    ----------
    hidden
        Widths of the hidden layers, first to last; at least one layer, of at least three.

    Raises
    ------
    SettingsError
        If there is no layer, or a width is not a whole number from 3 up.
    """

    kind: ClassVar[str] = "scale_invariant_mlp"
    hidden: tuple[int, ...] = (64, 64)

    def __post_init__(self) -> None:
        check(self, hidden=COUNTS)
        # two normalized units are 1 and -1, whatever the weights
        at_least_three = Rule(
            lambda value: len(value) > 0 and min(value) > 2,
            "one layer or more, each of at least 3 units, which a layer normalization needs",
        )
        check(self, hidden=at_least_three)

    def __str__(self) -> str:
        return "scale-invariant mlp " + "-".join(map(str, self.hidden))


Architecture = MLP | ScaleInvariantMLP
