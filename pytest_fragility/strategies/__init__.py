"""Hypothesis strategies: perturbations, recipes, tasks, symmetries, networks, learning curves.

Importing this module registers strategies for the types, so that ``st.from_type(Perturbation)``
and ``@given(...)`` with type hints work, and the settings profile ``fragility``: no deadline, and
no complaint where drawing a network takes long because it is trained. Nothing global is changed.
"""

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from pytest_fragility.auditing.single_network import trained_network
from pytest_fragility.networks.trained_network import TrainedNetwork
from pytest_fragility.perturbations import Perturbation, get_perturbation
from pytest_fragility.recipes import Recipe
from pytest_fragility.strategies.data import tasks
from pytest_fragility.strategies.drawn_changes import perturbations, recipes, symmetries
from pytest_fragility.strategies.networks import (
    curves_under,
    learning_curves,
    trained_networks,
)
from pytest_fragility.symmetries import Symmetry, get_symmetry
from pytest_fragility.tasks import Task, get_task

__all__ = [
    "curves_under",
    "get_perturbation",
    "get_symmetry",
    "get_task",
    "learning_curves",
    "perturbations",
    "recipes",
    "symmetries",
    "tasks",
    "trained_network",
    "trained_networks",
]

PROFILE = "fragility"

settings.register_profile(
    PROFILE,
    settings(),
    deadline=None,
    max_examples=50,
    suppress_health_check=[*settings().suppress_health_check, HealthCheck.too_slow],
)

st.register_type_strategy(Perturbation, lambda _: perturbations())
st.register_type_strategy(Recipe, lambda _: recipes())
st.register_type_strategy(Task, lambda _: tasks())
st.register_type_strategy(Symmetry, lambda _: symmetries())
st.register_type_strategy(TrainedNetwork, lambda _: trained_networks())
