"""Symmetries: changes of a trained network's weights that leave its function as it is."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, fields

import torch

from pytest_fragility._util.seeds import derive_seed
from pytest_fragility._util.validation import PrintsItsRepr
from pytest_fragility.errors import SettingsError, TrainingError
from pytest_fragility.networks.trained_network import TrainedNetwork
from pytest_fragility.symmetries import weight_changes as changes
from pytest_fragility.symmetries.weight_changes import Models

ROUNDING = 1e-9


@dataclass(frozen=True)
class Symmetry(PrintsItsRepr):
    """A change of weights that leaves a network's function as it is.

    Parameters
    ----------
    name
        What reports call it.
    change
        Changes the trained and the initial module in place, both in float64, with randomness from
        a generator; returns False where there is nothing in the network that it applies to.
    summary
        What it does.
    """

    name: str
    change: Callable[[Models, torch.Generator], bool]
    summary: str

    def __repr__(self) -> str:
        if SYMMETRIES.get(self.name) == self:
            return f"get_symmetry({self.name!r})"
        values = ", ".join(f"{each.name}={getattr(self, each.name)!r}" for each in fields(self))
        return f"{type(self).__qualname__}({values})"

    def __call__(self, network: TrainedNetwork) -> TrainedNetwork | None:
        """Return the changed network, or None where the symmetry does not apply.

        Parameters
        ----------
        network
            In float64, from `in_double`; it is left as it is. The same network is changed in the
            same way each time.

        Raises
        ------
        TrainingError
            If the changed network's probabilities differ by more than rounding.
        """
        if not _is_its_forward_pass(network):
            return None
        model, initial_model = network.models
        models = copy.deepcopy(model), copy.deepcopy(initial_model)
        generator = torch.Generator().manual_seed(
            derive_seed("symmetry", self.name, network.n, network.seed)
        )
        if not self.change(models, generator):
            return None
        changed = network.with_models(*models)
        _require_same_function(network, changed, self.name)
        return changed


def in_double(network: TrainedNetwork) -> TrainedNetwork:
    """Return a copy of a network in float64, in which symmetries are exact to rounding.

    Parameters
    ----------
    network
        Left as it is.
    """
    return network.in_precision(torch.float64)


def _is_its_forward_pass(network: TrainedNetwork) -> bool:
    """Return whether calling a network does what its class's forward pass says, which is read."""
    model, inputs = network.models[0], network.inputs
    # of what torch.jit has made, no trace shows what it does
    if isinstance(model, torch.jit.ScriptModule):
        return False
    with torch.no_grad():
        return torch.equal(model(inputs), type(model).forward(model, inputs))


def _require_same_function(before: TrainedNetwork, after: TrainedNetwork, name: str) -> None:
    with torch.no_grad():
        expected, found = (each.model(each.inputs).log_softmax(dim=1) for each in (before, after))
    farthest = float((expected - found).abs().max() / expected.abs().max().clamp_min(1))
    # a comparison that NaN fails too
    if not farthest <= ROUNDING:
        raise TrainingError(
            f"symmetry {name} changed the log-probabilities of {before} by {farthest:.2g} of "
            f"their size, expected at most {ROUNDING:g}"
        )


SYMMETRIES = {
    symmetry.name: symmetry
    for symmetry in (
        Symmetry("layer-rescaling", changes.rescale_layers, "one layer x 4, the next / 4"),
        Symmetry("neuron-rescaling", changes.rescale_neurons, "neurons x c, their readers / c"),
        Symmetry("permutation", changes.permute_neurons, "hidden neurons in another order"),
        Symmetry("split-neurons", changes.split_neurons, "every neuron twice, each heard half"),
        Symmetry(
            "dead-neurons", changes.add_dead_neurons, "as many neurons more, all cut off by ReLU"
        ),
        Symmetry("silent-neurons", changes.add_silent_neurons, "as many neurons more, unheard"),
        Symmetry(
            "normalization-scale",
            changes.scale_before_normalization,
            "a layer x 4 in front of its normalization",
        ),
        Symmetry("logit-shift", changes.shift_logits, "a constant added to all logits"),
    )
}


def get_symmetry(name: str) -> Symmetry:
    """Return a symmetry by name.

    Parameters
    ----------
    name
        Such as ``layer-rescaling``.

    Raises
    ------
    SettingsError
        If there is no such symmetry.
    """
    if name not in SYMMETRIES:
        raise SettingsError(f"unknown symmetry {name!r}: expected one of {', '.join(SYMMETRIES)}")
    return SYMMETRIES[name]
