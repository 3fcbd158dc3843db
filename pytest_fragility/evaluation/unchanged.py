"""Whether a measure has left what it was handed as it was: it may only read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch

from pytest_fragility.errors import MeasureError
from pytest_fragility.networks.stacks import NetworkStack
from pytest_fragility.networks.trained_network import TrainedNetwork


@contextmanager
def left_as_it_is(about: TrainedNetwork | NetworkStack, where: str) -> Iterator[None]:
    """Have a measure change nothing of a network, or of a stack of them.

    Raises
    ------
    MeasureError
        If it does.
    """
    if isinstance(about, NetworkStack):
        before = _versions(about)
        yield
        after = _versions(about)
        changed = next((part for part in after if after[part] != before[part]), None)
        whose = "the stack it was handed ({}), which other measures share; clone what is to change"
    else:
        state = _state_of(about)
        yield
        changed = _changed_part(about, state)
        whose = (
            "the network it was handed ({}). It was a copy, so no harm is done, but a measure only "
            "reads: work on copy.deepcopy(network.model)"
        )
    if changed:
        raise MeasureError(f"{where}: changed {whose.format(changed)}")


def _versions(stack: NetworkStack) -> dict[str, int]:
    """Return how often each tensor of a stack was changed in place, as torch counts."""
    parts = ("weights", "initial_weights", "buffers", "initial_buffers")
    return {
        f"{part}, {name}": tensor._version
        for part in parts
        for name, tensor in vars(stack)[part].items()
    }


class _State(NamedTuple):
    """What a measure may not change; torch counts changes in place, which spares copying samples.

    Parameters
    ----------
    versions
        Of the samples.
    weights
        Copies of those of both models.
    """

    versions: dict[str, int]
    weights: tuple[dict[str, torch.Tensor], ...]


def _state_of(network: TrainedNetwork) -> _State:
    samples = {part: vars(network)[part]._version for part in ("inputs", "labels")}
    return _State(
        samples,
        tuple(
            {name: each.detach().cpu().clone() for name, each in model.named_parameters()}
            for model in network.models
        ),
    )


def _changed_part(network: TrainedNetwork, before: _State) -> str | None:
    """Return what of a network differs from what it was, in words; None where nothing does."""
    for part, version in before.versions.items():
        if vars(network)[part]._version != version:
            return part
    names = ("model", "initial_model")
    for name, model, weights in zip(names, network.models, before.weights, strict=True):
        state = model.state_dict()
        for key, weight in weights.items():
            value = state.get(key)
            if value is None or not _is_same(value, weight):
                return f"{name}'s {key}"
        if any(module.training for module in model.modules()):
            return f"{name}'s train mode"
    return None


def _is_same(value: torch.Tensor, weight: torch.Tensor) -> bool:
    """Compare bit by bit; a diverged network's NaN is the same as itself."""
    if value.is_meta or value.dtype != weight.dtype or value.shape != weight.shape:
        return False
    return torch.allclose(value.cpu(), weight, rtol=0, atol=0, equal_nan=True)
