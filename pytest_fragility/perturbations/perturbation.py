"""Perturbations: named small changes of a recipe."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from numbers import Real
from typing import Any

from pytest_fragility._util.text import LONGEST_NAME, error_text, shown
from pytest_fragility._util.validation import PrintsItsRepr
from pytest_fragility.errors import SettingsError, printable
from pytest_fragility.recipes import Recipe

BASELINE = "baseline"

_NAME = re.compile(r"[a-z0-9][a-z0-9.+_-]*")

Change = Callable[[Recipe], Recipe]


@dataclass(frozen=True, repr=False)
class Perturbation(PrintsItsRepr):
    """A named small change of a recipe.

    Parameters
    ----------
    name
        Part of test ids: lower-case letters, digits and ``. + _ -``.
    change
        A function that takes the baseline recipe and returns the changed one.
    summary
        The change in a few words.
    size
        Distance from the baseline, in steps that a person would call small; positive. For what
        is multiplied by a factor, the number of doublings.
    axis
        What is changed, such as ``lr``; its own name by default.
    code
        Code that makes it, which its repr shows; filled in by the catalogue.
    heading
        The same for changes that differ in their number alone and lie on the same side of no
        change; filled in by the catalogue.
    parts
        What it is composed of; filled in by composition.

    Raises
    ------
    SettingsError
        If name or axis cannot be part of a test id, or the name is ``baseline``, or the size is not
        positive; when it is called, if its function raises or returns no recipe.

    Examples
    --------
    >>> wider = Perturbation("wide", lambda r: r.replace(architecture=MLP(hidden=(128, 128))))
    >>> (wider + get_perturbation("adam")).name
    'wide+adam'
    """

    name: str
    change: Change
    summary: str = ""
    size: float = 1.0
    axis: str = ""
    code: str = field(default="", compare=False)
    heading: str = field(default="", compare=False)
    parts: tuple[Perturbation, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        _require_id(self.name, "name")
        if not callable(self.change):
            raise SettingsError(
                f"perturbation {self.name!r}: change={shown(self.change)}, expected a function "
                "from Recipe to Recipe"
            )
        if not isinstance(self.size, Real) or not self.size > 0:
            raise SettingsError(
                f"perturbation {self.name!r}: size={shown(self.size)}, expected a positive number "
                "of small steps"
            )
        if not self.axis:
            object.__setattr__(self, "axis", self.name)
        _require_id(self.axis, "axis")
        object.__setattr__(self, "summary", printable(str(self.summary)))

    def __call__(self, recipe: Recipe) -> Recipe:
        """Return the changed recipe."""
        try:
            changed: Any = self.change(recipe)
        except (KeyboardInterrupt, SettingsError):
            raise
        except BaseException as error:
            raise SettingsError(
                f"perturbation {self.name!r}: its function raised {error_text(error)}"
            ) from error
        if not isinstance(changed, Recipe):
            raise SettingsError(
                f"perturbation {self.name!r} returned {type(changed).__name__}, expected a Recipe"
            )
        return changed

    def __add__(self, other: Perturbation) -> Perturbation:
        """Return the change that does this one, then the other."""
        name = f"{self.name}+{other.name}"
        return Perturbation(
            name,
            lambda recipe: other(self(recipe)),
            f"{self.summary}, then {other.summary}",
            self.size + other.size,
            f"{self.axis}+{other.axis}",
            code=recalled(name) if self.code and other.code else "",
            parts=(*self.single_changes, *other.single_changes),
        )

    @property
    def single_changes(self) -> tuple[Perturbation, ...]:
        """What it is composed of, each along one axis."""
        return self.parts or (self,)

    def __repr__(self) -> str:
        return self.code or f"Perturbation({self.name!r}, {self.change!r})"


def _require_id(text: Any, what: str) -> None:
    is_id = isinstance(text, str) and len(text) <= LONGEST_NAME and _NAME.fullmatch(text)
    if not is_id or text == BASELINE:
        raise SettingsError(
            f"perturbation {what} {shown(text)}: expected lower-case letters, digits and '.+_-', "
            f"at most {LONGEST_NAME}, and not {BASELINE!r}, because it becomes part of test ids"
        )


def recalled(name: str) -> str:
    """Return code that makes the perturbation of this name."""
    return f"get_perturbation({name!r})"
