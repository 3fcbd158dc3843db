"""Recipes: everything that decides a training run but data, size and seed."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from pytest_fragility._util.text import shown
from pytest_fragility._util.validation import (
    COUNT,
    FRACTION,
    POSITIVE,
    WHOLE,
    Rule,
    ShortRepr,
    check,
    named,
    one_of,
)
from pytest_fragility.errors import SettingsError
from pytest_fragility.recipes.architectures import ARCHITECTURES, HE_NORMAL, MLP, Architecture
from pytest_fragility.recipes.factories import OWN, Factory
from pytest_fragility.recipes.optimizers import (
    SGD,
    Adam,
    AdamW,
    Optimizer,
    RMSprop,
    describe_optimizer,
)
from pytest_fragility.recipes.schedules import Schedule
from pytest_fragility.recipes.stopping_rules import StoppingRule

INITIALIZATIONS = (
    HE_NORMAL,
    "he-uniform",
    "glorot-normal",
    "glorot-uniform",
    "lecun-normal",
    "orthogonal",
)
PRECISIONS = ("float32", "float64")


@dataclass(frozen=True, kw_only=True, repr=False)
class Recipe(ShortRepr):
    """Everything that decides a training run but data, size n and seed.

    Parameters
    ----------
    architecture
        The network: an `Architecture`, the name of one with its defaults (``mlp``, ``cnn``,
        ``resnet``, ``vit``, ``scale_invariant``), or a function that returns a new module, which
        becomes a `Factory`.
    optimizer
        The optimizer with its hyperparameters.
    schedule
        By what the learning rate is multiplied at each step.
    batch_size
        Samples per step; a training set that is smaller is used whole.
    initialization
        How the initial weights of linear layers and convolutions are drawn; their biases start at
        zero. ``he-normal`` and ``he-uniform`` have variance 2 / fan_in (He et al. 2015, eq. 10),
        ``glorot-normal`` and ``glorot-uniform`` 2 / (fan_in + fan_out) (Glorot & Bengio 2010,
        eq. 12), ``lecun-normal`` 1 / fan_in; ``orthogonal`` is a random orthogonal matrix times
        sqrt(2) (Saxe et al. 2014). All other parameters start as they are built. ``own``, for a
        `Factory`, leaves every parameter as it is built, biases too. Empty, which is the default,
        takes the architecture's: ``he-normal``, or ``own``.
    initialization_scale
        Factor on the initial weights of linear layers and convolutions.
    label_smoothing
        Share of the target that is spread evenly over all classes, in [0, 1) (Szegedy et al.
        2016, section 7). What is reported as train loss is the plain cross-entropy.
    gradient_clipping
        Largest Euclidean norm of the gradient over all parameters; a larger one is scaled down to
        it. None does not clip.
    sample_order
        Which of the orders of samples that a seed has is used: 0, 1, ...
    precision
        Dtype of weights and inputs: ``float32`` or ``float64``.
    stopping
        When the training ends.

    Raises
    ------
    SettingsError
        If a value is out of range.
    """

    architecture: Architecture = field(default_factory=MLP)
    optimizer: Optimizer = field(default_factory=SGD)
    schedule: Schedule = field(default_factory=Schedule)
    batch_size: int = 16
    initialization: str = ""
    initialization_scale: float = 1.0
    label_smoothing: float = 0.0
    gradient_clipping: float | None = None
    sample_order: int = 0
    precision: str = "float32"
    stopping: StoppingRule = field(default_factory=StoppingRule)

    def __post_init__(self) -> None:
        object.__setattr__(self, "architecture", _as_architecture(self.architecture))
        if isinstance(self.initialization, str) and not self.initialization:
            own = self.architecture.default_initialization
            object.__setattr__(self, "initialization", own)
        is_own = isinstance(self.architecture, Factory)
        clipping = Rule(lambda value: value is None or POSITIVE.holds(value), "None or positive")
        check(
            self,
            optimizer=one_of(SGD, Adam, AdamW, RMSprop),
            schedule=one_of(Schedule),
            batch_size=COUNT,
            initialization=named(*INITIALIZATIONS, *([OWN] if is_own else [])),
            initialization_scale=POSITIVE,
            label_smoothing=FRACTION,
            gradient_clipping=clipping,
            sample_order=WHOLE,
            precision=named(*PRECISIONS),
            stopping=one_of(StoppingRule),
        )

    def replace(self, **changes: Any) -> Recipe:
        """Return a copy with some fields replaced.

        With another architecture goes the way that it draws its initial weights, unless this
        recipe draws them in another way than its architecture's.
        """
        is_default = self.initialization == self.architecture.default_initialization
        if "architecture" in changes and is_default:
            changes = {"initialization": "", **changes}
        return dataclasses.replace(self, **changes)

    def at_size(self, n: int) -> Recipe:
        """Return what the recipe comes to on `n` samples: equal where two of them train alike.

        A batch is no larger than the training set, and has no order where it is all of it.
        """
        if self.batch_size < n:
            return self
        return dataclasses.replace(self, batch_size=n, sample_order=0)

    def to_dict(self) -> dict[str, Any]:
        """Return the recipe as plain JSON types, kinds included; equal recipes give equal dicts."""
        return copy.deepcopy(self._as_dict)

    @cached_property
    def _as_dict(self) -> dict[str, Any]:
        return {field.name: _plain(getattr(self, field.name)) for field in dataclasses.fields(self)}

    def __str__(self) -> str:
        parts = [str(self.architecture), describe_optimizer(self.optimizer)]
        if not self.schedule.is_constant:
            parts.append(str(self.schedule))
        parts.append(f"batch {self.batch_size}")
        if self.initialization != self.architecture.default_initialization:
            parts.append(f"initialization {self.initialization}")
        if self.initialization_scale != 1:
            parts.append(f"initialization x{self.initialization_scale:g}")
        if self.label_smoothing:
            parts.append(f"label smoothing {self.label_smoothing:g}")
        if self.gradient_clipping is not None:
            parts.append(f"gradients clipped at {self.gradient_clipping:g}")
        if self.sample_order:
            parts.append(f"sample order {self.sample_order}")
        if self.precision != "float32":
            parts.append(self.precision)
        parts.append(f"stop at {self.stopping}")
        return ", ".join(parts)


def _as_architecture(value: Any) -> Architecture:
    if type(value) in (*ARCHITECTURES.values(), Factory):
        return value  # type: ignore[no-any-return]
    if isinstance(value, Architecture):
        raise SettingsError(
            f"Recipe.architecture={shown(value)}: {type(value).__name__} is a class of one's own, "
            "and what it changes would not be part of a run's identity; expected one of the "
            "package's own, or a function that returns a new torch.nn.Module"
        )
    if isinstance(value, str) and value in ARCHITECTURES:
        return ARCHITECTURES[value]()
    if not callable(value):
        raise SettingsError(
            f"Recipe.architecture={shown(value)}: expected an architecture such as "
            f"MLP(hidden=(64, 64)), one of the names {', '.join(ARCHITECTURES)}, or a function "
            "that returns a new torch.nn.Module"
        )
    return Factory(value)


def _plain(value: Any) -> Any:
    """Return JSON types, the same for equal values: a learning rate of 1 is one of 1.0."""
    if dataclasses.is_dataclass(value):
        compared = [f.name for f in dataclasses.fields(value) if f.compare]
        parts = {name: _plain(getattr(value, name)) for name in compared}
        kind = getattr(type(value), "kind", None)
        return {"kind": kind, **parts} if isinstance(kind, str) and "kind" not in parts else parts
    if isinstance(value, tuple):
        return [_plain(part) for part in value]
    return float(value) if isinstance(value, int | float) and type(value) is not bool else value


OPTIMIZERS = {kind.kind: kind for kind in (SGD, Adam, AdamW, RMSprop)}
ARCHITECTURE_KINDS = {kind.kind: kind for kind in ARCHITECTURES.values()} | ARCHITECTURES
RECORDS: dict[str, type[Schedule | StoppingRule]] = {"schedule": Schedule, "stopping": StoppingRule}


def recipe_from_dict(values: Mapping[str, Any]) -> Recipe:
    """Return the recipe of what `Recipe.to_dict` returns, or of some of it.

    Fields that are left out have their defaults. ``optimizer``, ``schedule``, ``stopping`` and
    ``architecture`` are dicts with ``kind``, or a kind's name alone; an architecture may be an
    `Architecture`. A SettingsError says which field is unknown, or cannot be used.
    """
    known = {field.name for field in dataclasses.fields(Recipe)}
    unknown = [name for name in values if name not in known]
    if unknown:
        raise SettingsError(
            f"Recipe has no field {unknown[0]!r}; expected some of {', '.join(sorted(known))}"
        )
    fields = {name: _read(name, value) for name, value in values.items()}
    return Recipe(**fields)


def architecture_from_dict(value: Any) -> Architecture:
    """Return an architecture of its kind's name, or of a dict with ``kind`` and parameters.

    Raises
    ------
    SettingsError
        If there is no such kind, or it has no such parameter.
    """
    if isinstance(value, Architecture):
        return value
    return _of_kind("architecture", value, ARCHITECTURE_KINDS)  # type: ignore[no-any-return]


def _read(name: str, value: Any) -> Any:
    if name == "architecture":
        return architecture_from_dict(value)
    if name == "optimizer":
        return _of_kind(name, value, OPTIMIZERS)
    if name in RECORDS:
        return _made(name, RECORDS[name], {"kind": value} if isinstance(value, str) else value)
    return _unpacked(value)


def _of_kind(name: str, value: Any, kinds: Mapping[str, Any]) -> Any:
    parts = {"kind": value} if isinstance(value, str) else value
    kind = parts.get("kind") if isinstance(parts, Mapping) else None
    if not isinstance(parts, Mapping) or not isinstance(kind, str) or kind not in kinds:
        raise SettingsError(
            f"{name}={shown(value)}: expected one of {', '.join(kinds)}, or a dict with one of "
            "them as its kind, and its parameters"
        )
    own = {key: part for key, part in parts.items() if key != "kind"}
    return _made(name, kinds[kind], own)


def _made(name: str, kind: Any, parts: Any) -> Any:
    if not isinstance(parts, Mapping):
        raise SettingsError(f"{name}={shown(parts)}: expected a name, or a dict of parameters")
    fields = {field.name for field in dataclasses.fields(kind)}
    unknown = [key for key in parts if key not in fields]
    if unknown:
        raise SettingsError(
            f"{name}={shown(dict(parts))}: no parameter {shown(unknown[0])}; expected some of "
            f"{', '.join(sorted(fields))}"
        )
    return kind(**{key: _unpacked(part) for key, part in parts.items()})


def _unpacked(value: Any) -> Any:
    """Return tuples for lists, and whole numbers without a point: JSON does not know them apart."""
    if isinstance(value, list | tuple):
        return tuple(_unpacked(part) for part in value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value
