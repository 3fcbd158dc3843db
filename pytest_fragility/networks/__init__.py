"""Networks: modules with paired initial weights, trained runs, and what a measure sees of them.

`building` makes a module of an architecture; a new built-in one is a file beside `perceptrons`.
`TrainedNetwork` and `NetworkStack` are what measures are handed. How weights come to their values
is the affair of `training`.
"""

from pytest_fragility.networks.building import build_network
from pytest_fragility.networks.initialization import InitialStates
from pytest_fragility.networks.states import NetworkState, state_of

__all__ = [
    "InitialStates",
    "NetworkState",
    "build_network",
    "state_of",
]
