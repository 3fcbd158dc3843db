"""Recipes, and what they are made of."""

from pytest_fragility.recipes.architectures import MLP, Architecture, ScaleInvariantMLP
from pytest_fragility.recipes.optimizers import (
    SGD,
    Adam,
    AdamW,
    Optimizer,
    RMSprop,
    describe_optimizer,
)
from pytest_fragility.recipes.recipe import HE_NORMAL, INITIALIZATIONS, PRECISIONS, Recipe
from pytest_fragility.recipes.schedules import Schedule, cosine, exponential, step_decay
from pytest_fragility.recipes.stopping import (
    StoppingRule,
    cross_entropy_below,
    fixed_steps,
    full_train_accuracy,
)

__all__ = [
    "HE_NORMAL",
    "INITIALIZATIONS",
    "MLP",
    "PRECISIONS",
    "SGD",
    "Adam",
    "AdamW",
    "Architecture",
    "Optimizer",
    "RMSprop",
    "Recipe",
    "ScaleInvariantMLP",
    "Schedule",
    "StoppingRule",
    "cosine",
    "cross_entropy_below",
    "describe_optimizer",
    "exponential",
    "fixed_steps",
    "full_train_accuracy",
    "step_decay",
]
