"""Audit generalization measures for fragility: everything that users import stands here.

A name is loaded when it is first used, so that importing the package imports neither torch nor
NumPy. A new public name is one line below, and one in the README (``python -m tests.api_table``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_fragility._util.lazy import lazy_face

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
    from pytest_fragility.evaluation.measured_curves import learning_curves as learning_curves
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

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_face()
