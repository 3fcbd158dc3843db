"""Small training changes: the catalogue, its axes, and changes of one's own.

To add one, give it a name in `spelling`, say what it does in `recipe_changes`, and put it on its
axis in `axes`. Recipes themselves stand below, in `recipes`.
"""

from pytest_fragility.perturbations.axes import (
    AXES,
    FIRST_AXES,
    Axis,
    along_axis,
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
from pytest_fragility.perturbations.spelling import between

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
