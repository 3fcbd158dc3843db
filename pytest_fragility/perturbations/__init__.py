"""Small training changes: the catalogue, its axes, and changes of one's own.

To add one, give it a name in `spelling`, say what it does in `recipe_changes`, and put it on its
axis in `axes`. Recipes themselves stand below, in `recipes`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_fragility._util.lazy import lazy_face

if TYPE_CHECKING:
    from pytest_fragility.perturbations.axes import AXES as AXES
    from pytest_fragility.perturbations.axes import FIRST_AXES as FIRST_AXES
    from pytest_fragility.perturbations.axes import Axis as Axis
    from pytest_fragility.perturbations.axes import along_axis as along_axis
    from pytest_fragility.perturbations.axes import smaller_changes as smaller_changes
    from pytest_fragility.perturbations.catalogue import CATALOGUE as CATALOGUE
    from pytest_fragility.perturbations.catalogue import as_perturbation as as_perturbation
    from pytest_fragility.perturbations.catalogue import get_perturbation as get_perturbation
    from pytest_fragility.perturbations.catalogue import (
        register_perturbation as register_perturbation,
    )
    from pytest_fragility.perturbations.catalogue import (
        resolve_perturbations as resolve_perturbations,
    )
    from pytest_fragility.perturbations.effects import changes_recipe as changes_recipe
    from pytest_fragility.perturbations.effects import perturbed as perturbed
    from pytest_fragility.perturbations.perturbation import BASELINE as BASELINE
    from pytest_fragility.perturbations.perturbation import Perturbation as Perturbation
    from pytest_fragility.perturbations.spelling import between as between

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_face()
