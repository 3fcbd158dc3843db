"""Small training changes: the catalogue, its axes, and changes of one's own."""

from pytest_fragility.perturbations.axes import (
    AXES,
    FIRST_AXES,
    Axis,
    along_axis,
    between,
    smaller_changes,
)
from pytest_fragility.perturbations.catalogue import (
    CATALOGUE,
    as_perturbation,
    get_perturbation,
    register_perturbation,
    resolve_perturbations,
)
from pytest_fragility.perturbations.effects import changes_recipe, perturbed
from pytest_fragility.perturbations.perturbation import BASELINE, Perturbation

__all__ = [
    "AXES",
    "BASELINE",
    "CATALOGUE",
    "FIRST_AXES",
    "Axis",
    "Perturbation",
    "along_axis",
    "as_perturbation",
    "between",
    "changes_recipe",
    "get_perturbation",
    "perturbed",
    "register_perturbation",
    "resolve_perturbations",
    "smaller_changes",
]
