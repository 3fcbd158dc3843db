"""Architectures of one's own: a function that returns a new network."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

from pytest_fragility._util.fingerprints import code_fingerprint
from pytest_fragility._util.text import shown
from pytest_fragility._util.validation import require_name
from pytest_fragility.errors import SettingsError
from pytest_fragility.recipes.architectures import Architecture

OWN = "own"
GIVEN = ("input_shape", "classes")


@dataclass(frozen=True, repr=False)
class Factory(Architecture):
    """An architecture of one's own: any function, or class, that returns a new ``nn.Module``.

    It is called with what it has parameters for: ``input_shape`` (a tuple, the shape of one
    input) and ``classes``. The module maps inputs of shape (batch, *input shape) to logits of
    shape (batch, classes). It is called anew for each seed, with torch's global generator seeded
    from the run's identity and restored afterwards.

    Parameters
    ----------
    build
        The function.
    name
        What reports call the architecture; the function's name by default.
    version
        Decides, where it is given, together with the name, whether a stored run is of this
        architecture. By default the code does: that of the function, of the classes, functions and
        modules that it refers to, and what they hold; of installed packages, name and version. It
        is read when it is first needed.

    Raises
    ------
    SettingsError
        If it is no function or needs other arguments; when it is read, if it rests on an object
        that cannot be told from another.
    """

    kind: ClassVar[str] = "factory"
    default_initialization: ClassVar[str] = OWN
    build: Callable[..., Any] = field(compare=False)
    name: str = ""
    version: str = ""
    fingerprint: str = field(init=False)

    def __post_init__(self) -> None:
        _require_factory(self.build)
        set_field = object.__setattr__
        set_field(self, "name", self.name or _name_of(self.build))
        require_name(self.name, "architecture", SettingsError)
        if not isinstance(self.version, str):
            raise SettingsError(
                f"architecture {self.name}: version={shown(self.version)}, expected a text"
            )
        self._arguments((1,), 2)

    def __getattr__(self, name: str) -> Any:
        # once: two of them are compared often
        if name != "fingerprint":
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        found = self.version or code_fingerprint(self.build)
        object.__setattr__(self, name, found)
        return found

    def require_unchanged(self) -> None:
        """Raise where the function is no longer what it was, so that it makes other networks.

        Raises
        ------
        SettingsError
            If what it rests on has changed since its code was read.
        """
        if not self.version and code_fingerprint(self.build) != self.fingerprint:
            raise SettingsError(
                f"architecture {self.name}: what its function rests on (a global name, a closure, "
                "an object's state) has changed since it was first asked for, so that networks "
                "would be taken for those of another function; make the recipe anew, or, where it "
                "makes the same networks all the same, say so: Factory(function, version='1')"
            )

    def make(self, input_shape: tuple[int, ...], classes: int) -> Any:
        """Return what the function returns for data of this shape and number of classes."""
        return self.build(**self._arguments(input_shape, classes))

    def _arguments(self, input_shape: tuple[int, ...], classes: int) -> dict[str, Any]:
        parameters = inspect.signature(self.build).parameters.values()
        variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        for parameter in parameters:
            is_needed = parameter.default is parameter.empty and parameter.kind not in variable
            is_positional = parameter.kind is inspect.Parameter.POSITIONAL_ONLY
            if is_needed and (parameter.name not in GIVEN or is_positional):
                raise SettingsError(
                    f"architecture {self.name}: the function needs {parameter.name!r}; expected "
                    "no other arguments than input_shape and classes, by name; bind others with "
                    "functools.partial"
                )
        given = dict(zip(GIVEN, (input_shape, classes), strict=True))
        return {each.name: given[each.name] for each in parameters if each.name in GIVEN}

    def __repr__(self) -> str:
        version = f", version={self.version!r}" if self.version else ""
        return f"Factory({self.name}{version})"

    def __str__(self) -> str:
        return self.name


def _require_factory(build: Any) -> None:
    if hasattr(build, "named_parameters") and not isinstance(build, type):
        raise SettingsError(
            f"architecture: a {type(build).__name__} is one network, and an audit needs many; "
            "expected a function that returns a new one each time, such as "
            f"{type(build).__name__} itself, or a lambda"
        )
    if not callable(build):
        raise SettingsError(
            f"Factory.build={shown(build)}: expected a function that returns a new torch.nn.Module"
        )


def _name_of(build: Any) -> str:
    named = getattr(build, "func", build)
    return str(getattr(named, "__name__", type(named).__name__))
