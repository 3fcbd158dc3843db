"""What a measure may return: one real number, finite, with a logarithm where it needs one."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from pytest_fragility._util.text import error_text, shown
from pytest_fragility.errors import MeasureError, MeasureTimedOut

SHOWN = 60


def as_number(value: Any, where: str) -> float:
    """Return what a measure returned as a float: a real number, or an array without dimensions.

    A MeasureError that begins with `where` refuses anything else.
    """
    try:
        return _as_number(value, where)
    except (MeasureError, KeyboardInterrupt, MeasureTimedOut):
        raise
    # what somebody else's number raises where it becomes a float
    except BaseException as error:
        raise MeasureError(
            f"{where}: returned {type(value).__name__}, which cannot be made a float: "
            f"{error_text(error)}"
        ) from error


def _as_number(value: Any, where: str) -> float:
    if isinstance(value, torch.Tensor):
        if value.is_meta:
            raise MeasureError(f"{where}: returned a tensor on the meta device, which has no value")
        if value.dim() != 0:
            raise MeasureError(
                f"{where}: returned a tensor of shape {tuple(value.shape)}, expected one number; "
                "reduce it, for instance by .sum() or .mean()"
            )
        value = value.item()
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value.item()
    is_real = isinstance(value, numbers.Real | np.floating | np.integer)
    if not is_real or isinstance(value, bool | np.bool_):
        kind = type(value).__name__
        shape = f" of shape {value.shape}" if isinstance(value, np.ndarray) else ""
        raise MeasureError(
            f"{where}: returned {kind}{shape} ({shown(value, SHOWN)}), expected one real number "
            "(float, NumPy scalar or tensor without dimensions)"
        )
    try:
        return float(value)
    except OverflowError:
        raise MeasureError(
            f"{where}: returned {shown(value, SHOWN)}, which is too large for a float"
        ) from None


def require_usable(number: float, where: Callable[[], str], scale: str) -> None:
    """Raise a MeasureError where a number is not finite, or has no logarithm where it needs one.

    `where` says what its message begins with.
    """
    if math.isnan(number) or math.isinf(number):
        raise MeasureError(
            f"{where()}: returned {number}, expected a finite number; "
            "nothing is left out silently, so that one such value ends the audit"
        )
    if scale == "log" and number <= 0:
        raise MeasureError(
            f"{where()}: returned {number:g}, which has no logarithm; exponents need positive "
            "values. Exponentiate a measure that is a logarithm, or ask for scale='linear', "
            "which leaves exponent, spread, stopping and complexity out"
        )
