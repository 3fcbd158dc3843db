"""What a measure is, and what it is called."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

from pytest_fragility._util.text import shown
from pytest_fragility._util.validation import require_name
from pytest_fragility.errors import SettingsError
from pytest_fragility.recipes.equivalences import SYMMETRY_NAMES

Measure = Callable[..., Any]
AnyMeasure = TypeVar("AnyMeasure", bound=Callable[..., Any])

ORACLE_ATTRIBUTE = "is_oracle"
CONTROL_ATTRIBUTE = "is_control"
CONSTANT_ATTRIBUTE = "is_constant"
UNCLAIMED_ATTRIBUTE = "unclaimed_symmetries"

RAW = "raw value"
BOUND_FORM = "bound's form, sqrt(value / n)"
BOUND = "bound on the error"
LOGARITHM = "natural logarithm"

_NAME = re.compile(r"[A-Za-z_][\w.+-]*")


def oracle(measure: AnyMeasure) -> AnyMeasure:
    """Mark a control measure that is handed an `OracleNetwork`, test data included.

    Parameters
    ----------
    measure
        A function of one `OracleNetwork`.
    """
    setattr(measure, ORACLE_ATTRIBUTE, True)
    return measure


def is_oracle(measure: Measure) -> bool:
    """Return whether a measure was marked by `oracle`."""
    return bool(getattr(measure, ORACLE_ATTRIBUTE, False))


def control(measure: AnyMeasure) -> AnyMeasure:
    """Mark a measure whose verdict is known beforehand, so that it audits the audit.

    Parameters
    ----------
    measure
        A function of one `TrainedNetwork`.
    """
    setattr(measure, CONTROL_ATTRIBUTE, True)
    return measure


def is_control(measure: Measure) -> bool:
    """Return whether a measure is a control.

    Parameters
    ----------
    measure
        A function of one `TrainedNetwork`.
    """
    return bool(getattr(measure, CONTROL_ATTRIBUTE, False))


def constant(measure: AnyMeasure) -> AnyMeasure:
    """Mark a measure that looks at data and architecture alone, and at no trained network.

    It is then called once per task and n instead of once per recipe, and reported as the same
    under every recipe.

    Parameters
    ----------
    measure
        A function of one `TrainedNetwork`.
    """
    setattr(measure, CONSTANT_ATTRIBUTE, True)
    return measure


def is_constant(measure: Measure) -> bool:
    """Return whether a measure looks at no trained network.

    Parameters
    ----------
    measure
        A function of one `TrainedNetwork`.
    """
    return bool(getattr(measure, CONSTANT_ATTRIBUTE, False))


def unclaimed(*symmetries: str) -> Callable[[AnyMeasure], AnyMeasure]:
    """Mark a measure that does not claim to be unchanged by some symmetries.

    Their checks are skipped, which says so.

    Parameters
    ----------
    *symmetries
        Names, such as ``"logit-shift"``.

    Raises
    ------
    SettingsError
        If there is no such symmetry.
    """
    for name in symmetries:
        if name not in SYMMETRY_NAMES:
            raise SettingsError(
                f"unclaimed symmetry {name!r}: expected one of {', '.join(SYMMETRY_NAMES)}"
            )

    def mark(measure: AnyMeasure) -> AnyMeasure:
        setattr(measure, UNCLAIMED_ATTRIBUTE, symmetries)
        return measure

    return mark


def does_not_claim(measure: Measure, symmetry: str) -> bool:
    """Return whether a measure was marked by `unclaimed` with this symmetry."""
    return symmetry in getattr(measure, UNCLAIMED_ATTRIBUTE, ())


def measure_form(measure: Measure) -> str:
    """Return what a measure's value is, such as ``raw value``; empty where it does not say."""
    form = getattr(measure, "form", "")
    return form if isinstance(form, str) else ""


def measure_name(measure: Measure, name: str | None = None) -> str:
    """Return what reports and test ids call a measure: the given name, or ``__name__``.

    Parameters
    ----------
    measure
        A function of one `TrainedNetwork`.
    name
        The given name; None where there is none.

    Raises
    ------
    SettingsError
        If `measure` is not callable, or has no name that is stable from one process to the next.
    """
    if not callable(measure):
        raise SettingsError(
            f"measure {shown(measure)}: expected a function of one TrainedNetwork, "
            f"got {type(measure).__name__}"
        )
    chosen = getattr(measure, "__name__", None) if name is None else name
    if not isinstance(chosen, str) or not _NAME.fullmatch(chosen):
        raise SettingsError(
            f"measure of type {type(measure).__name__} is called {shown(chosen)}: expected a name "
            "made of letters, digits and '_.+-'; give it one with name='...'"
        )
    require_name(chosen, "measure", SettingsError)
    return chosen
