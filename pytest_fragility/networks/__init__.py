"""Networks: from an architecture to a module with paired initial weights."""

from pytest_fragility.networks.building import build_network
from pytest_fragility.networks.initialization import InitialStates
from pytest_fragility.networks.states import NetworkState, state_of

__all__ = [
    "InitialStates",
    "NetworkState",
    "build_network",
    "state_of",
]
