"""How names spell perturbations: ``adam`` is one, and ``lr-x4`` one for any number."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

from pytest_fragility.errors import SettingsError
from pytest_fragility.perturbations import recipe_changes as changes
from pytest_fragility.perturbations.perturbation import Change, Perturbation, recalled
from pytest_fragility.perturbations.recipe_changes import replacing
from pytest_fragility.recipes import SGD, Adam, AdamW, RMSprop, cosine, exponential, step_decay

_NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?(e-?[0-9]+)?")


@dataclass(frozen=True)
class _Numbered:
    """Perturbations whose name ends in a number.

    `words` is the summary, with a place for the number; `size` counts its small steps. `neutral` is
    the number that the default recipe has; None for 1 where it is a factor, else 0.
    """

    axis: str
    prefix: str
    change: Callable[[Any], Change]
    words: str
    size: Callable[[float], float]
    is_whole: bool = False
    neutral: float | None = None

    @property
    def is_factor(self) -> bool:
        """Whether something is multiplied or divided by the number."""
        return self.prefix.endswith(("-x", "-div"))

    def make(self, text: str) -> Perturbation | None:
        """Return the perturbation with this number; None where the text is no such number."""
        if not _NUMBER.fullmatch(text):
            return None
        value = float(text)
        size = self.size(value) if value > 0 else 0.0
        if not size > 0 or (self.is_whole and not value.is_integer()):
            return None
        name = self.prefix + text
        neutral = float(self.is_factor) if self.neutral is None else self.neutral
        return Perturbation(
            name,
            self.change(int(value) if self.is_whole else value),
            self.words.format(text),
            size,
            self.axis,
            recalled(name),
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


def _factor(axis: str, change: Callable[[float], Change], words: str) -> tuple[_Numbered, ...]:
    """Return how names spell that something is multiplied, and that it is divided."""
    return (
        _Numbered(axis, f"{axis}-x", change, words.format("x {}"), _doublings),
        _Numbered(axis, f"{axis}-div", lambda f: change(1 / f), words.format("/ {}"), _doublings),
    )


_DECAY = _from_zero(5e-4)

_NUMBERED = (
    *_factor("lr", changes.scale_lr, "learning rate {}"),
    *_factor("batch", changes.scale_batch, "batch size {}"),
    _Numbered("optimizer", "momentum-", changes.use_momentum, "SGD with momentum {}", _memory),
    _Numbered(
        "optimizer",
        "adam-x",
        lambda f: replacing(optimizer=Adam(lr=0.001 * f)),
        "Adam at 0.001 x {}",
        lambda f: 2 + _doublings(f),
    ),
    _Numbered("weight-decay", "weight-decay-", changes.decay_weights, "weight decay {}", _DECAY),
    _Numbered(
        "weight-decay",
        "decoupled-weight-decay-",
        changes.decay_weights_decoupled,
        "weight decay {}, decoupled from the gradient",
        _DECAY,
    ),
    *(
        _Numbered(
            "schedule",
            prefix,
            partial(changes.schedule, made),
            words,
            lambda steps: 1 + _from_zero(steps)(2000),
            is_whole=True,
        )
        for prefix, made, words in (
            ("cosine-", cosine, "cosine schedule to a tenth of the rate in {} steps"),
            ("step-decay-", step_decay, "half the rate every {} steps"),
            (
                "growth-",
                partial(exponential, factor=2.0),
                "rate exponentially increasing, twice as large every {} steps",
            ),
        )
    ),
    _Numbered(
        "warmup",
        "warmup-",
        changes.warm_up,
        "{} steps of warm-up",
        _from_zero(100),
        is_whole=True,
    ),
    *_factor("init", changes.scale_initialization, "initial weights {}"),
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
        lambda share: replacing(label_smoothing=share),
        "label smoothing {}",
        lambda share: _from_zero(0.02)(share) if share < 1 else 0.0,
    ),
    _Numbered(
        "clipping",
        "clip-",
        lambda norm: replacing(gradient_clipping=norm),
        "gradients clipped at norm {}",
        lambda norm: _from_zero(1.0)(1 / norm),
    ),
    _Numbered(
        "data-order",
        "data-order-",
        lambda order: replacing(sample_order=order),
        "the seed's order of samples number {}",
        lambda order: 1.0,
        is_whole=True,
    ),
    *_factor("width", changes.scale_width, "hidden layers {} as wide"),
    _Numbered(
        "depth", "depth-plus-", changes.change_depth, "{} more hidden layers", float, is_whole=True
    ),
    _Numbered(
        "depth",
        "depth-minus-",
        lambda layers: changes.change_depth(-layers),
        "{} fewer hidden layers",
        float,
        is_whole=True,
    ),
)


def _plain(axis: str, name: str, change: Change, summary: str, size: float = 1.0) -> Perturbation:
    return Perturbation(name, change, summary, size, axis, recalled(name))


_SCHEMES = ("he-uniform", "glorot-normal", "glorot-uniform", "lecun-normal", "orthogonal")
_PLAIN = (
    _plain("optimizer", "sgd", replacing(optimizer=SGD()), "SGD at 0.05"),
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
    _plain("optimizer", "adam", replacing(optimizer=Adam()), "Adam at 0.001", 2.0),
    _plain("optimizer", "adamw", replacing(optimizer=AdamW()), "AdamW at 0.001", 2.0),
    _plain("optimizer", "rmsprop", replacing(optimizer=RMSprop()), "RMSprop at 0.001", 2.0),
    _plain("weight-decay", "weight-decay", changes.decay_weights(5e-4), "weight decay 0.0005"),
    _plain(
        "weight-decay",
        "decoupled-weight-decay",
        changes.decay_weights_decoupled(5e-4),
        "weight decay 0.0005, decoupled from the gradient",
    ),
    *(
        _plain("initialization", f"init-{s}", replacing(initialization=s), f"initial weights {s}")
        for s in _SCHEMES
    ),
    _plain(
        "stopping", "stop-accuracy", changes.stop_at_full_accuracy, "stop at 100 % train accuracy"
    ),
    _plain("stopping", "stop-later", changes.scale_target(1 / 2), "half the target cross-entropy"),
    _plain("data-order", "data-order", replacing(sample_order=1), "another order of samples"),
)

PLAIN = {each.name: each for each in _PLAIN}


@cache
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


def between(smaller: Perturbation | None, larger: Perturbation) -> Perturbation | None:
    """Return the change half-way, on a log scale, between two of one direction.

    None where their names have no numbers, or the number would have to be whole and is not; two
    digits are kept. Without a smaller change, it is the factor one.
    """
    numbered = next((each for each in _NUMBERED if larger.name.startswith(each.prefix)), None)
    if numbered is None or numbered.is_whole:
        return None
    if not (smaller.name.startswith(numbered.prefix) if smaller else numbered.is_factor):
        return None
    low = float(smaller.name.removeprefix(numbered.prefix)) if smaller else 1.0
    middle = math.sqrt(low * float(larger.name.removeprefix(numbered.prefix)))
    name = f"{numbered.prefix}{middle:.2g}"
    return None if name in (larger.name, smaller.name if smaller else "") else parse(name)
