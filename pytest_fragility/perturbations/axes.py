"""Axes: what can be changed in small steps, and the perturbations along each."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_fragility.perturbations.perturbation import Perturbation
from pytest_fragility.perturbations.spelling import parse


@dataclass(frozen=True)
class Axis:
    """Something of a recipe, such as ``lr``, that can be changed by more or less.

    For each direction away from the baseline it has perturbations, the smallest change first.
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


# what sets other values anew comes first where changes are composed
FIRST_AXES = ("optimizer", "stopping")

AXES = {
    name: Axis(
        name,
        tuple(
            tuple(made for each in direction.split() if (made := parse(each)))
            for direction in directions
        ),
    )
    for name, directions in {
        "lr": ("lr-x2 lr-x3 lr-x4 lr-x8 lr-x10 lr-x16", "lr-div2 lr-div3 lr-div4 lr-div10"),
        "batch": ("batch-x2 batch-x4 batch-x8", "batch-div2 batch-div4"),
        "optimizer": (
            "momentum-0.5 momentum momentum-0.95",
            "nesterov",
            "adam adam-x3 adam-x10",
            "adamw",
            "rmsprop",
            "sgd",
        ),
        "weight-decay": (
            "weight-decay-0.0001 weight-decay weight-decay-0.002",
            "decoupled-weight-decay decoupled-weight-decay-0.002",
        ),
        "schedule": ("cosine-4000 cosine-2000", "step-decay-4000 step-decay-2000", "growth-4000"),
        "warmup": ("warmup-100 warmup-400",),
        "init": ("init-x2 init-x4", "init-div2 init-div4"),
        "initialization": (
            "init-he-uniform",
            "init-glorot-normal",
            "init-glorot-uniform",
            "init-lecun-normal",
            "init-orthogonal",
        ),
        "stopping": ("stop-later stop-loss-0.02 stop-loss-0.01", "stop-loss-0.2", "stop-accuracy"),
        "past": ("past-x2 past-x4 past-x16",),
        "label-smoothing": ("label-smoothing-0.01 label-smoothing-0.02 label-smoothing-0.05",),
        "clipping": ("clip-2 clip-1 clip-0.5",),
        "data-order": ("data-order",),
        "width": ("width-x2 width-x4", "width-div2"),
        "depth": ("depth-plus-1", "depth-minus-1"),
    }.items()
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
