"""Reprs that can be pasted back as code."""

from __future__ import annotations

from typing import Any


class PrintsItsRepr:
    """Mixed into classes whose repr says all: notebooks and Hypothesis then print it as it is.

    Both would print a dataclass field by field otherwise.
    """

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(repr(self))
