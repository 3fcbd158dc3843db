"""Recipes: everything that decides a training but its data, their number and the seed.

A part of a recipe is a frozen dataclass of plain values, checked when it is made; a field more is
part of every run's identity. Nothing here imports torch: `networks` builds, `training` trains.
"""

from pytest_fragility.recipes.architectures import (
    ARCHITECTURES,
    CNN,
    HE_NORMAL,
    MLP,
    Architecture,
    ResNet,
    ScaleInvariantMLP,
    ViT,
)
from pytest_fragility.recipes.factories import OWN, Factory
from pytest_fragility.recipes.optimizers import (
    SGD,
    Adam,
    AdamW,
    Optimizer,
    RMSprop,
    describe_optimizer,
)
from pytest_fragility.recipes.recipe import INITIALIZATIONS, PRECISIONS, Recipe
from pytest_fragility.recipes.schedules import Schedule, cosine, exponential, step_decay
from pytest_fragility.recipes.stopping import (
    StoppingRule,
    cross_entropy_below,
    fixed_steps,
    full_train_accuracy,
)

__all__ = [
    "ARCHITECTURES",
    "CNN",
    "HE_NORMAL",
    "INITIALIZATIONS",
    "MLP",
    "OWN",
    "PRECISIONS",
    "SGD",
    "Adam",
    "AdamW",
    "Architecture",
    "Factory",
    "Optimizer",
    "RMSprop",
    "Recipe",
    "ResNet",
    "ScaleInvariantMLP",
    "Schedule",
    "StoppingRule",
    "ViT",
    "cosine",
    "cross_entropy_below",
    "describe_optimizer",
    "exponential",
    "fixed_steps",
    "full_train_accuracy",
    "step_decay",
]
