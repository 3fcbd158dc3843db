"""Axes: what can be changed in small steps, and the perturbations along each."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

from pytest_fragility.errors import SettingsError
from pytest_fragility.perturbations import recipe_changes as changes
from pytest_fragility.perturbations.perturbation import Change, Perturbation
from pytest_fragility.recipes import (
    SGD,
    Adam,
    AdamW,
    RMSprop,
    cosine,
    exponential,
    step_decay,
)

_NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?(e-?[0-9]+)?")


@dataclass(frozen=True)
class Axis:
    """Something of a recipe that can be changed by more or less.

    Parameters
    ----------
    name
        Such as ``lr``.
    directions
        Perturbations, the smallest change first, for each direction away from the baseline.
    """

    name: str
    directions: tuple[tuple[Perturbation, ...], ...]

    @property
    def perturbations(self) -> tuple[Perturbation, ...]:
        """All of them, the smallest change first."""
        every = (each for direction in self.directions for each in direction)
        return tuple(sorted(every, key=lambda each: each.size))

    def __repr__(self) -> str:
        return f"AXES[{self.name!r}]"


@dataclass(frozen=True)
class _Numbered:
    """Perturbations whose name ends in a number.

    Parameters
    ----------
    axis
        What is changed.
    prefix
        The name without the number.
    change
        From the number to the change.
    words
        The summary, with a place for the number.
    size
        From the number to the number of small steps.
    is_whole
        Whether the number counts something.
    neutral
        The number that the default recipe has; None for 1 where it is a factor, else 0.
    """

    axis: str
    prefix: str
    change: Callable[[float], Change]
    words: str
    size: Callable[[float], float]
    is_whole: bool = False
    neutral: float | None = None

    def make(self, text: str) -> Perturbation | None:
        """Return the perturbation with this number; None where the text is no such number."""
        if not _NUMBER.fullmatch(text):
            return None
        value = float(text)
        size = self.size(value) if value > 0 else 0.0
        if not size > 0 or (self.is_whole and not value.is_integer()):
            return None
        name = self.prefix + text
        is_factor = self.prefix.endswith(("-x", "-div"))
        neutral = float(is_factor) if self.neutral is None else self.neutral
        code = f"get_perturbation({name!r})"
        return Perturbation(
            name,
            self.change(value),
            self.words.format(text),
            size,
            self.axis,
            code,
            heading=f"{self.prefix} {'down' if value < neutral else 'up'}",
        )


def _doublings(factor: float) -> float:
    return abs(math.log2(factor))


def _from_zero(unit: float) -> Callable[[float], float]:
    """Count doublings of something that the baseline has none of, from a first small step."""
    return lambda value: math.log2(1 + value / unit)


def _memory(momentum: float) -> float:
    """Count doublings of the number of gradients that momentum averages over."""
    return math.log2(1 / (1 - momentum)) if momentum < 1 else 0.0


_NUMBERED = (
    _Numbered("lr", "lr-x", changes.scale_lr, "learning rate x {}", _doublings),
    _Numbered("lr", "lr-div", lambda f: changes.scale_lr(1 / f), "learning rate / {}", _doublings),
    _Numbered("batch", "batch-x", changes.scale_batch, "batch size x {}", _doublings),
    _Numbered(
        "batch", "batch-div", lambda f: changes.scale_batch(1 / f), "batch size / {}", _doublings
    ),
    _Numbered("optimizer", "momentum-", changes.use_momentum, "SGD with momentum {}", _memory),
    _Numbered(
        "optimizer",
        "adam-x",
        lambda f: changes.use(Adam(lr=0.001 * f)),
        "Adam at 0.001 x {}",
        lambda f: 2 + _doublings(f),
    ),
    _Numbered(
        "weight-decay",
        "weight-decay-",
        changes.decay_weights,
        "weight decay {}",
        _from_zero(5e-4),
    ),
    _Numbered(
        "weight-decay",
        "decoupled-weight-decay-",
        changes.decay_weights_decoupled,
        "weight decay {}, decoupled from the gradient",
        _from_zero(5e-4),
    ),
    _Numbered(
        "schedule",
        "cosine-",
        lambda steps: changes.schedule(cosine(int(steps))),
        "cosine schedule to a tenth of the rate in {} steps",
        lambda steps: 1 + _from_zero(steps)(2000),
        is_whole=True,
    ),
    _Numbered(
        "schedule",
        "step-decay-",
        lambda steps: changes.schedule(step_decay(int(steps))),
        "half the rate every {} steps",
        lambda steps: 1 + _from_zero(steps)(2000),
        is_whole=True,
    ),
    _Numbered(
        "schedule",
        "growth-",
        lambda steps: changes.schedule(exponential(int(steps), factor=2.0)),
        "rate exponentially increasing, twice as large every {} steps",
        lambda steps: 1 + _from_zero(steps)(2000),
        is_whole=True,
    ),
    _Numbered(
        "warmup",
        "warmup-",
        lambda steps: changes.warm_up(int(steps)),
        "{} steps of warm-up",
        _from_zero(100),
        is_whole=True,
    ),
    _Numbered("init", "init-x", changes.scale_initialization, "initial weights x {}", _doublings),
    _Numbered(
        "init",
        "init-div",
        lambda f: changes.scale_initialization(1 / f),
        "initial weights / {}",
        _doublings,
    ),
    _Numbered(
        "stopping",
        "stop-loss-",
        changes.stop_at_loss,
        "stop at train cross-entropy {}",
        lambda target: max(0.5, _doublings(target / 0.1)),
        neutral=0.1,
    ),
    _Numbered("past", "past-x", changes.train_past, "trained on for x {} the steps", math.log2),
    _Numbered(
        "label-smoothing",
        "label-smoothing-",
        changes.smooth_labels,
        "label smoothing {}",
        lambda share: _from_zero(0.02)(share) if share < 1 else 0.0,
    ),
    _Numbered(
        "clipping",
        "clip-",
        changes.clip_gradients,
        "gradients clipped at norm {}",
        lambda norm: _from_zero(1.0)(1 / norm),
    ),
    _Numbered(
        "data-order",
        "data-order-",
        lambda order: changes.reorder_samples(int(order)),
        "the seed's order of samples number {}",
        lambda order: 1.0,
        is_whole=True,
    ),
    _Numbered("width", "width-x", changes.scale_width, "hidden layers x {} as wide", _doublings),
    _Numbered(
        "width",
        "width-div",
        lambda f: changes.scale_width(1 / f),
        "hidden layers / {} as wide",
        _doublings,
    ),
    _Numbered(
        "depth",
        "depth-plus-",
        lambda layers: changes.change_depth(int(layers)),
        "{} more hidden layers",
        float,
        is_whole=True,
    ),
    _Numbered(
        "depth",
        "depth-minus-",
        lambda layers: changes.change_depth(-int(layers)),
        "{} fewer hidden layers",
        float,
        is_whole=True,
    ),
)


def _plain(axis: str, name: str, change: Change, summary: str, size: float = 1.0) -> Perturbation:
    return Perturbation(name, change, summary, size, axis, f"get_perturbation({name!r})")


_PLAIN = (
    _plain("optimizer", "sgd", changes.use(SGD()), "SGD at 0.05"),
    _plain(
        "optimizer", "momentum", changes.use_momentum(0.9), "SGD with momentum 0.9", _memory(0.9)
    ),
    _plain(
        "optimizer",
        "nesterov",
        changes.use_momentum(0.9, nesterov=True),
        "SGD with Nesterov momentum 0.9",
        _memory(0.9),
    ),
    _plain("optimizer", "adam", changes.use(Adam()), "Adam at 0.001", 2.0),
    _plain("optimizer", "adamw", changes.use(AdamW()), "AdamW at 0.001", 2.0),
    _plain("optimizer", "rmsprop", changes.use(RMSprop()), "RMSprop at 0.001", 2.0),
    _plain("weight-decay", "weight-decay", changes.decay_weights(5e-4), "weight decay 0.0005"),
    _plain(
        "weight-decay",
        "decoupled-weight-decay",
        changes.decay_weights_decoupled(5e-4),
        "weight decay 0.0005, decoupled from the gradient",
    ),
    *(
        _plain(
            "initialization",
            f"init-{scheme}",
            changes.initialize(scheme),
            f"initial weights {scheme}",
        )
        for scheme in (
            "he-uniform",
            "glorot-normal",
            "glorot-uniform",
            "lecun-normal",
            "orthogonal",
        )
    ),
    _plain(
        "stopping", "stop-accuracy", changes.stop_at_full_accuracy, "stop at 100 % train accuracy"
    ),
    _plain("stopping", "stop-later", changes.scale_target(1 / 2), "half the target cross-entropy"),
    _plain("data-order", "data-order", changes.reorder_samples(1), "another order of samples"),
)

PLAIN = {each.name: each for each in _PLAIN}


def parse(name: str) -> Perturbation | None:
    """Return the perturbation that a name such as ``lr-x4`` stands for; None where none does."""
    if name in PLAIN:
        return PLAIN[name]
    for numbered in _NUMBERED:
        if name.startswith(numbered.prefix):
            try:
                made = numbered.make(name.removeprefix(numbered.prefix))
            except SettingsError as error:
                raise SettingsError(f"perturbation {name!r}: {error}") from None
            if made is not None:
                return made
    return None


def name_patterns() -> list[str]:
    """Return what names can look like, such as ``lr-x<number>``."""
    return [*PLAIN, *(f"{numbered.prefix}<number>" for numbered in _NUMBERED)]


def _axis(name: str, *directions: str) -> Axis:
    found = [[parse(each) for each in direction.split()] for direction in directions]
    return Axis(name, tuple(tuple(each for each in one if each) for one in found))


# what sets other values anew comes first where changes are composed
FIRST_AXES = ("optimizer", "stopping")

AXES = {
    axis.name: axis
    for axis in (
        _axis("lr", "lr-x2 lr-x3 lr-x4 lr-x8 lr-x10 lr-x16", "lr-div2 lr-div3 lr-div4 lr-div10"),
        _axis("batch", "batch-x2 batch-x4 batch-x8", "batch-div2 batch-div4"),
        _axis(
            "optimizer",
            "momentum-0.5 momentum momentum-0.95",
            "nesterov",
            "adam adam-x3 adam-x10",
            "adamw",
            "rmsprop",
            "sgd",
        ),
        _axis(
            "weight-decay",
            "weight-decay-0.0001 weight-decay weight-decay-0.002",
            "decoupled-weight-decay decoupled-weight-decay-0.002",
        ),
        _axis(
            "schedule", "cosine-4000 cosine-2000", "step-decay-4000 step-decay-2000", "growth-4000"
        ),
        _axis("warmup", "warmup-100 warmup-400"),
        _axis("init", "init-x2 init-x4", "init-div2 init-div4"),
        _axis(
            "initialization",
            "init-he-uniform",
            "init-glorot-normal",
            "init-glorot-uniform",
            "init-lecun-normal",
            "init-orthogonal",
        ),
        _axis(
            "stopping", "stop-later stop-loss-0.02 stop-loss-0.01", "stop-loss-0.2", "stop-accuracy"
        ),
        _axis("past", "past-x2 past-x4 past-x16"),
        _axis("label-smoothing", "label-smoothing-0.01 label-smoothing-0.02 label-smoothing-0.05"),
        _axis("clipping", "clip-2 clip-1 clip-0.5"),
        _axis("data-order", "data-order"),
        _axis("width", "width-x2 width-x4", "width-div2"),
        _axis("depth", "depth-plus-1", "depth-minus-1"),
    )
}


def smaller_changes(perturbation: Perturbation) -> list[Perturbation]:
    """Return the smaller changes in the same direction along a perturbation's axis, largest first.

    None for a composed one, or for one whose direction the catalogue does not know.
    """
    axis = AXES.get(perturbation.axis)
    for direction in axis.directions if axis else ():
        headings = {each.heading for each in direction} - {""}
        if perturbation in direction or perturbation.heading in headings:
            return [each for each in reversed(direction) if each.size < perturbation.size]
    return []


def along_axis(perturbation: Perturbation) -> list[Perturbation]:
    """Return a perturbation with all that the catalogue has on its axis; alone where it has none.

    What is trained together is trained faster than one after the other.
    """
    axis = AXES.get(perturbation.axis)
    others = axis.perturbations if axis else ()
    return [perturbation, *(each for each in others if each.name != perturbation.name)]


def between(smaller: Perturbation | None, larger: Perturbation) -> Perturbation | None:
    """Return the change half-way, on a log scale, between two of one direction.

    None where their names have no numbers, or the number would have to be whole and is not; two
    digits are kept. Without a smaller change, it is the factor one.
    """
    numbered = next((each for each in _NUMBERED if larger.name.startswith(each.prefix)), None)
    if numbered is None or numbered.is_whole:
        return None
    if smaller is None and not numbered.prefix.endswith(("-x", "-div")):
        return None
    if smaller is not None and not smaller.name.startswith(numbered.prefix):
        return None
    low = float(smaller.name.removeprefix(numbered.prefix)) if smaller else 1.0
    middle = math.sqrt(low * float(larger.name.removeprefix(numbered.prefix)))
    name = f"{numbered.prefix}{middle:.2g}"
    return None if name in (larger.name, smaller.name if smaller else "") else parse(name)
