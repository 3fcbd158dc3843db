"""Recipes: everything that decides a training but its data, their number and the seed.

A part of a recipe is a frozen dataclass of plain values, checked when it is made; a field more is
part of every run's identity. Nothing here imports torch: `networks` builds, `training` trains.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_fragility._util.lazy import lazy_face

if TYPE_CHECKING:
    from pytest_fragility.recipes.architectures import ARCHITECTURES as ARCHITECTURES
    from pytest_fragility.recipes.architectures import CNN as CNN
    from pytest_fragility.recipes.architectures import HE_NORMAL as HE_NORMAL
    from pytest_fragility.recipes.architectures import MLP as MLP
    from pytest_fragility.recipes.architectures import Architecture as Architecture
    from pytest_fragility.recipes.architectures import ResNet as ResNet
    from pytest_fragility.recipes.architectures import ScaleInvariantMLP as ScaleInvariantMLP
    from pytest_fragility.recipes.architectures import ViT as ViT
    from pytest_fragility.recipes.factories import OWN as OWN
    from pytest_fragility.recipes.factories import Factory as Factory
    from pytest_fragility.recipes.optimizers import SGD as SGD
    from pytest_fragility.recipes.optimizers import Adam as Adam
    from pytest_fragility.recipes.optimizers import AdamW as AdamW
    from pytest_fragility.recipes.optimizers import Optimizer as Optimizer
    from pytest_fragility.recipes.optimizers import RMSprop as RMSprop
    from pytest_fragility.recipes.optimizers import describe_optimizer as describe_optimizer
    from pytest_fragility.recipes.recipe import INITIALIZATIONS as INITIALIZATIONS
    from pytest_fragility.recipes.recipe import PRECISIONS as PRECISIONS
    from pytest_fragility.recipes.recipe import Recipe as Recipe
    from pytest_fragility.recipes.schedules import Schedule as Schedule
    from pytest_fragility.recipes.schedules import cosine as cosine
    from pytest_fragility.recipes.schedules import exponential as exponential
    from pytest_fragility.recipes.schedules import step_decay as step_decay
    from pytest_fragility.recipes.stopping_rules import StoppingRule as StoppingRule
    from pytest_fragility.recipes.stopping_rules import cross_entropy_below as cross_entropy_below
    from pytest_fragility.recipes.stopping_rules import fixed_steps as fixed_steps
    from pytest_fragility.recipes.stopping_rules import full_train_accuracy as full_train_accuracy

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_face()
