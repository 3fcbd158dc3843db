"""Measures that are computed for a whole stack of networks at once."""

from __future__ import annotations

import functools
import math
import textwrap
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pytest_fragility.errors import SettingsError, UndefinedMeasureError
from pytest_fragility.measures.measure import BOUND, BOUND_FORM, LOGARITHM, RAW

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch

    from pytest_fragility.networks.stacks import NetworkStack
    from pytest_fragility.networks.trained_network import TrainedNetwork

TRAINED_WEIGHTS = "trained weights"
INITIAL_WEIGHTS = "initial weights"
INPUTS = "inputs"
LABELS = "labels"
RANDOMNESS = "randomness"
ARCHITECTURE = "architecture"

# a measure that says what it reads, and reads none of these, is the same under every recipe
TRAINED = (TRAINED_WEIGHTS, INITIAL_WEIGHTS)

_INITIAL = {TRAINED_WEIGHTS: INITIAL_WEIGHTS}

# exp of anything larger is infinite in float64
LARGEST_LOGARITHM = math.log(1.7976931348623157e308)

Compute = Callable[..., Any]


class StackMeasure:
    """A measure of a stack of networks; called on one `TrainedNetwork`, it returns one number.

    Parameters
    ----------
    compute
        Maps a `NetworkStack` of K networks to K numbers: a tensor or array of shape (K,).
    form
        What its value is: `RAW`, `BOUND_FORM`, `BOUND` or `LOGARITHM`.
    source
        Paper and equation.
    reads
        What of a network it looks at.
    is_logarithm
        Whether `compute` returns natural logarithms of the values, which overflow later.
    is_control
        Whether its verdict is known beforehand, so that it audits the audit.
    bound
        Computes the bound's form where that is not sqrt(value / n).
    """

    __name__: str
    __qualname__: str

    def __init__(
        self,
        compute: Compute,
        *,
        form: str = RAW,
        source: str = "",
        reads: tuple[str, ...] = (),
        is_logarithm: bool = False,
        is_control: bool = False,
        bound: Compute | None = None,
    ) -> None:
        functools.update_wrapper(self, compute)
        self.form = form
        self.source = source
        self.reads = reads
        self.is_control = is_control
        self._compute = compute
        self._is_logarithm = is_logarithm
        self._bound = bound

    @property
    def is_constant(self) -> bool:
        """Whether it looks at data and architecture alone, and at no trained network."""
        return bool(self.reads) and not set(self.reads) & set(TRAINED)

    def __repr__(self) -> str:
        return f"<measure {self.__name__}: {self.form}>"

    def __call__(self, network: TrainedNetwork) -> float:
        """Return the measure of one network.

        Raises
        ------
        UndefinedMeasureError
            If it is not defined for this network; the docstring says when.
        """
        from pytest_fragility.networks.stacks import NetworkStack

        return float(self.over_stack(NetworkStack.of_network(network))[0])

    def over_stack(self, stack: NetworkStack) -> npt.NDArray[np.float64]:
        """Return the measure of each network, shape (K,), float64.

        Raises
        ------
        UndefinedMeasureError
            If it is not defined for one of the networks.
        """
        import numpy as np

        values = self._computed(stack)
        if not self._is_logarithm:
            return values
        for place, logarithm in enumerate(values):
            if logarithm > LARGEST_LOGARITHM:
                halved = f"{self.__name__}.bound_form, or " if self.form == RAW else ""
                raise UndefinedMeasureError(
                    f"{self.__name__} is exp({logarithm:.1f}), larger than a float can hold; "
                    f"audit {halved}{self.__name__}.logarithm with scale='linear'",
                    place,
                )
        return np.asarray(np.exp(values))

    @functools.cached_property
    def bound_form(self) -> StackMeasure:
        """The measure as it enters its bound; for most, sqrt(value / n).

        Raises
        ------
        SettingsError
            If the measure is a bound or a bound's form already.
        """
        if self.form != RAW:
            raise SettingsError(
                f"{self.__name__} has no further bound's form: it is already a {self.form}"
            )
        if self._bound is not None:
            return self._derived("bound_form", self._bound, BOUND)
        return self._derived("bound_form", self._log_bound_form, BOUND_FORM, is_logarithm=True)

    @functools.cached_property
    def logarithm(self) -> StackMeasure:
        """The measure's natural logarithm, for ``scale="linear"`` where the value overflows."""
        return self._derived("logarithm", self._logarithms, LOGARITHM)

    def _derived(
        self, suffix: str, compute: Compute, form: str, *, is_logarithm: bool = False
    ) -> StackMeasure:
        derived = StackMeasure(
            compute,
            form=form,
            source=self.source,
            reads=self.reads,
            is_logarithm=is_logarithm,
            is_control=self.is_control,
        )
        headline = f"{suffix.replace('_', ' ').capitalize()} of {self.__name__}: {form}."
        derived._call_it(f"{self.__name__}.{suffix}", f"{headline}\n\n{self.__doc__}", self)
        return derived

    def at_initialization(self) -> StackMeasure:
        """Return the measure of the initial weights: a control."""

        def of_initial(compute: Compute) -> Compute:
            return lambda stack: compute(stack.at_initialization())

        control = StackMeasure(
            of_initial(self._compute),
            form=self.form,
            source=self.source,
            reads=tuple(dict.fromkeys(_INITIAL.get(part, part) for part in self.reads)),
            is_logarithm=self._is_logarithm,
            is_control=True,
            bound=None if self._bound is None else of_initial(self._bound),
        )
        headline = f"Return {self.__name__} of the initial weights: a control."
        note = f"Reads {', '.join(control.reads)}. What it computes:"
        name = f"{self.__name__}_at_initialization"
        control._call_it(name, f"{headline}\n\n{note}\n\n{self.__doc__}", self)
        return control

    def _call_it(self, name: str, documentation: str, origin: StackMeasure) -> None:
        self.__name__ = self.__qualname__ = name
        self.__doc__ = documentation
        self.__module__ = origin.__module__

    def _computed(self, stack: NetworkStack) -> npt.NDArray[np.float64]:
        import numpy as np

        values = self._compute(stack)
        if isinstance(values, list | tuple):
            values = [_without_graph(value) for value in values]
        array = np.asarray(_without_graph(values))
        if array.dtype.kind not in "iuf":
            raise ValueError(
                f"{self.__name__} returned {array.dtype} values, expected real numbers"
            )
        array = array.astype(np.float64)
        if array.shape != (len(stack),):
            raise ValueError(
                f"{self.__name__} returned shape {array.shape} for a stack of {len(stack)} "
                f"networks, expected ({len(stack)},): one number for each"
            )
        return array

    def _logarithms(self, stack: NetworkStack) -> npt.NDArray[np.float64]:
        import numpy as np

        values = self._computed(stack)
        if self._is_logarithm:
            return values
        for place, value in enumerate(values):
            if value < 0:
                raise UndefinedMeasureError(
                    f"{self.__name__} is {value:g}, which has no logarithm", place
                )
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(values))

    def _log_bound_form(self, stack: NetworkStack) -> npt.NDArray[np.float64]:
        return (self._logarithms(stack) - math.log(stack.n)) / 2


def _without_graph(value: Any) -> Any:
    """Return a tensor as NumPy has it, and anything else as it is."""
    return value.detach().cpu().numpy() if hasattr(value, "detach") else value


def stacked(compute: Compute) -> StackMeasure:
    """Make a measure of a function that maps a `NetworkStack` of K networks to K numbers.

    The audit then calls it once per recipe and training set size instead of once per network, and
    once with all draws of random numbers where the function stays the same: there, each network
    stands several times in the stack. Called on one `TrainedNetwork`, it still returns one number.

    Parameters
    ----------
    compute
        Returns a tensor, array or list of K real numbers.
    """
    return StackMeasure(compute)


def reference(
    *,
    source: str,
    reads: tuple[str, ...],
    form: str = RAW,
    is_logarithm: bool = False,
    is_control: bool = False,
    bound: Compute | None = None,
) -> Callable[[Compute], StackMeasure]:
    """Declare a reference measure; see `StackMeasure` for the parameters."""

    def declare(compute: Compute) -> StackMeasure:
        return StackMeasure(
            compute,
            form=form,
            source=source,
            reads=reads,
            is_logarithm=is_logarithm,
            is_control=is_control,
            bound=bound,
        )

    return declare


def declared(
    name: str,
    compute: Compute,
    says: str,
    *paragraphs: str,
    raises: str,
    source: str,
    reads: tuple[str, ...],
    is_logarithm: bool = False,
) -> StackMeasure:
    """Declare a reference measure that is a row of a table: its docstring is made of its parts."""

    def row(stack: NetworkStack) -> torch.Tensor:
        values: torch.Tensor = compute(stack)
        return values

    row.__name__ = row.__qualname__ = name
    row.__module__ = compute.__module__
    # as wide as in a function
    filled = "\n\n".join(textwrap.fill(each, 96) for each in paragraphs)
    row.__doc__ = f"{says}\n\n{filled}\n\nRaises\n------\nUndefinedMeasureError\n    {raises}\n"
    return reference(source=source, reads=reads, is_logarithm=is_logarithm)(row)
