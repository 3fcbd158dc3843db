"""Small training changes: the catalogue, its axes, and changes of one's own."""

from pytest_fragility.perturbations.axes import AXES, Axis
from pytest_fragility.perturbations.catalogue import (
    CATALOGUE,
    as_perturbation,
    get_perturbation,
    register_perturbation,
    resolve_perturbations,
)
from pytest_fragility.perturbations.perturbation import BASELINE, Perturbation

__all__ = [
    "AXES",
    "BASELINE",
    "CATALOGUE",
    "Axis",
    "Perturbation",
    "as_perturbation",
    "get_perturbation",
    "register_perturbation",
    "resolve_perturbations",
]
