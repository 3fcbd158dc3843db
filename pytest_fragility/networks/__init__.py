"""Networks: from an architecture to a module with paired initial weights."""

from pytest_fragility.networks.building import build_network
from pytest_fragility.networks.initialization import initial_state, initial_weights
from pytest_fragility.networks.states import NetworkState, state_of

__all__ = ["NetworkState", "build_network", "initial_state", "initial_weights", "state_of"]
