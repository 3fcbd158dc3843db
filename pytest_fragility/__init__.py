"""Audit generalization measures for fragility.

Public names are loaded when they are first used: importing the package imports neither torch nor
NumPy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_fragility.auditing.audit import audit as audit
    from pytest_fragility.auditing.result import AuditResult as AuditResult
    from pytest_fragility.auditing.single_network import trained_network as trained_network
    from pytest_fragility.errors import AuditFailure as AuditFailure
    from pytest_fragility.errors import BudgetError as BudgetError
    from pytest_fragility.errors import CheckBroken as CheckBroken
    from pytest_fragility.errors import CheckInconclusive as CheckInconclusive
    from pytest_fragility.errors import ControlsMisbehave as ControlsMisbehave
    from pytest_fragility.errors import FragilityError as FragilityError
    from pytest_fragility.errors import MeasureError as MeasureError
    from pytest_fragility.errors import SettingsError as SettingsError
    from pytest_fragility.errors import StoreError as StoreError
    from pytest_fragility.errors import TableError as TableError
    from pytest_fragility.errors import TaskError as TaskError
    from pytest_fragility.evaluation.learning_curves import learning_curves as learning_curves
    from pytest_fragility.families.family import Family as Family
    from pytest_fragility.networks.trained_network import TrainedNetwork as TrainedNetwork
    from pytest_fragility.perturbations import Perturbation as Perturbation
    from pytest_fragility.perturbations import get_perturbation as get_perturbation
    from pytest_fragility.perturbations import register_perturbation as register_perturbation
    from pytest_fragility.recipes import CNN as CNN
    from pytest_fragility.recipes import MLP as MLP
    from pytest_fragility.recipes import SGD as SGD
    from pytest_fragility.recipes import Adam as Adam
    from pytest_fragility.recipes import AdamW as AdamW
    from pytest_fragility.recipes import Factory as Factory
    from pytest_fragility.recipes import Recipe as Recipe
    from pytest_fragility.recipes import ResNet as ResNet
    from pytest_fragility.recipes import RMSprop as RMSprop
    from pytest_fragility.recipes import ScaleInvariantMLP as ScaleInvariantMLP
    from pytest_fragility.recipes import ViT as ViT
    from pytest_fragility.recipes import cosine as cosine
    from pytest_fragility.recipes import cross_entropy_below as cross_entropy_below
    from pytest_fragility.recipes import exponential as exponential
    from pytest_fragility.recipes import fixed_steps as fixed_steps
    from pytest_fragility.recipes import full_train_accuracy as full_train_accuracy
    from pytest_fragility.recipes import step_decay as step_decay
    from pytest_fragility.tasks import Ladder as Ladder
    from pytest_fragility.tasks import Task as Task
    from pytest_fragility.tasks import TaskData as TaskData

_HOMES = {
    "auditing.result": ("AuditResult",),
    "auditing.audit": ("audit",),
    "errors": (
        "AuditFailure",
        "BudgetError",
        "CheckBroken",
        "CheckInconclusive",
        "ControlsMisbehave",
        "FragilityError",
        "MeasureError",
        "SettingsError",
        "StoreError",
        "TableError",
        "TaskError",
    ),
    "families.family": ("Family",),
    "evaluation.learning_curves": ("learning_curves",),
    "perturbations": ("Perturbation", "get_perturbation", "register_perturbation"),
    "recipes": (
        "CNN",
        "MLP",
        "SGD",
        "Adam",
        "AdamW",
        "Factory",
        "RMSprop",
        "Recipe",
        "ResNet",
        "ScaleInvariantMLP",
        "ViT",
        "cosine",
        "cross_entropy_below",
        "exponential",
        "fixed_steps",
        "full_train_accuracy",
        "step_decay",
    ),
    "auditing.single_network": ("trained_network",),
    "tasks": ("Ladder", "Task", "TaskData"),
    "networks.trained_network": ("TrainedNetwork",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME_OF)  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME_OF])
