"""Which stacked form a network takes: found out by trying, before anything is trained."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import nn

from pytest_fragility.errors import TrainingError
from pytest_fragility.networks import build_network, state_of
from pytest_fragility.recipes import Architecture, Recipe
from pytest_fragility.training.carried import Carried
from pytest_fragility.training.convolutions import (
    ConvolutionalNetwork,
    Structure,
    convolutional_bytes,
    convolutional_structure,
)
from pytest_fragility.training.mapped import MappedNetwork
from pytest_fragility.training.one_at_a_time import OneAtATime
from pytest_fragility.training.perceptrons import StackedNetwork, as_perceptron
from pytest_fragility.training.sinks import Sink, Tensors

PERCEPTRON, CONVOLUTIONAL = "perceptron", "convolutional"
MAPPED, ONE_AT_A_TIME = "mapped", "one at a time"
PROBE_NETWORKS, PROBE_BATCH = 2, 8
# how far a value may lie off, as a share of the largest
PROBE_TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-8}


class OneAtATimeWarning(UserWarning):
    """Networks of some architecture cannot be trained together, and are trained one by one."""


@dataclass(frozen=True)
class StackedForm:
    """How networks of one architecture are passed through together.

    Parameters
    ----------
    kind
        ``perceptron``, ``convolutional``, ``mapped`` or ``one at a time``.
    reason
        Why it is one at a time; names the module.
    sample_bytes
        What a network keeps of each sample of a batch until the backward pass.
    is_same_in_training
        Whether a network has the same outputs in training mode as in eval mode.
    convolutional
        The structure, where the kind is ``convolutional``.
    """

    kind: str
    reason: str = ""
    sample_bytes: int = 0
    is_same_in_training: bool = True
    convolutional: Structure | None = None

    def stack(self, network: nn.Module, *, label_smoothing: float = 0.0) -> StackedNetwork:
        """Return the stacked form of a network, which gives the structure alone."""
        if self.kind == MAPPED:
            return MappedNetwork(network, label_smoothing)
        if self.convolutional is not None:
            return ConvolutionalNetwork(self.convolutional, label_smoothing)
        if self.kind == ONE_AT_A_TIME:
            return OneAtATime(network, label_smoothing)
        perceptron = as_perceptron(network, label_smoothing=label_smoothing)
        assert perceptron is not None
        return perceptron


def stacked_form(recipe: Recipe, input_shape: tuple[int, ...], classes: int) -> StackedForm:
    """Return how networks of a recipe's architecture are passed through together.

    Raises
    ------
    TrainingError
        If the architecture's network fails on such inputs, or does not return logits.
    """
    dtype = getattr(torch, recipe.precision)
    return _examine(recipe.architecture, input_shape, classes, dtype)


@lru_cache(maxsize=64)
def _examine(
    architecture: Architecture, input_shape: tuple[int, ...], classes: int, dtype: torch.dtype
) -> StackedForm:
    # the caller may be in a mode whose tensors could never take part in a derivative
    with torch.inference_mode(False):
        network = build_network(architecture, input_shape, classes).to(dtype)
        return examine(network, str(architecture), input_shape, classes)


def examine(
    network: nn.Module, name: str, input_shape: tuple[int, ...], classes: int
) -> StackedForm:
    """Return how a network is passed through in stacks; `name` is what messages call it.

    It is passed through alone and mapped, and mapped only where both agree.

    Raises
    ------
    TrainingError
        If it fails on inputs of this shape, or does not return logits.
    """
    probe = _Probe(network, input_shape, classes)
    sizes: list[int] = []
    try:
        with _counting_kept(sizes):
            alone = probe.run(OneAtATime(network))
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise TrainingError(
            f"architecture {name}: its network fails on inputs of shape {input_shape}, in batches "
            f"of {PROBE_BATCH}: {_in_words(error)}"
        ) from error
    if as_perceptron(network) is not None:
        return StackedForm(PERCEPTRON, sample_bytes=_perceptron_bytes(network, input_shape))
    structure = convolutional_structure(network, input_shape)
    if structure is not None:
        kept = convolutional_bytes(structure, network)
        return StackedForm(CONVOLUTIONAL, sample_bytes=kept, convolutional=structure)
    return StackedForm(
        *_mapped_or_not(probe, network, alone),
        sample_bytes=sum(sizes) // (PROBE_NETWORKS * PROBE_BATCH),
        is_same_in_training=alone.is_same_in_training,
    )


@dataclass(frozen=True)
class _Passed:
    """What came out of a probe."""

    logits: torch.Tensor
    gradients: Tensors
    carried: Tensors
    is_same_in_training: bool

    def agrees_with(self, other: _Passed, tolerance: float) -> bool:
        """Return whether all values do, each to a share of the largest of its kind."""
        kinds = (
            ([self.logits], [other.logits]),
            (self.gradients, other.gradients),
            (self.carried, other.carried),
        )
        return all(_agree(ours, theirs, tolerance) for ours, theirs in kinds)


def _agree(ours: Tensors, theirs: Tensors, tolerance: float) -> bool:
    one, other = (
        torch.cat([t.double().flatten() for t in [*each, torch.zeros(1)]])
        for each in (ours, theirs)
    )
    largest = float(other.nan_to_num().abs().max())
    return torch.allclose(one, other, rtol=0, atol=tolerance * largest, equal_nan=True)


class _Probe:
    """A small stack with random weights and samples, for a forward and a backward pass."""

    def __init__(self, network: nn.Module, input_shape: tuple[int, ...], classes: int) -> None:
        self._generator = torch.Generator(device="cpu").manual_seed(0)
        self.classes = classes
        self._trained = [n for n, each in network.named_parameters() if each.requires_grad]
        self._state = state_of(network).copy()
        self.dtype = self._state.weights[self._trained[0]].dtype
        shape = (PROBE_NETWORKS, PROBE_BATCH, *input_shape)
        self.inputs = self._normal(*shape)
        self._labels = torch.randint(classes, shape[:2], generator=self._generator)
        self._weights = [self._near(self._state.weights[name]) for name in self._trained]

    def run(self, stacked: StackedNetwork) -> _Passed:
        """Return logits, gradients and what is carried after one step."""
        states = [self._state.copy() for _ in range(PROBE_NETWORKS)]
        carried = Carried.of_states(states, self._trained, [1, 2], torch.device("cpu"))
        gradients = [torch.zeros_like(weight) for weight in self._weights]
        with torch.no_grad():
            before = stacked.logits(self._weights, carried, self.inputs)
        self._require_logits(before)
        sink = Sink(0, PROBE_NETWORKS, gradients, keep=0)
        scale = torch.ones(PROBE_NETWORKS, dtype=self.dtype)
        losses = stacked.bind(self._weights, [sink], scale, carried)(self.inputs, self._labels)
        logs = before.double().log_softmax(dim=-1)
        found = -logs.gather(-1, self._labels.unsqueeze(-1)).mean(dim=(1, 2))
        return _Passed(
            before,
            gradients,
            list(carried.tensors.values()),
            torch.allclose(found, losses.double(), rtol=1e-5, atol=1e-6),
        )

    def _require_logits(self, logits: torch.Tensor) -> None:
        expected = (PROBE_BATCH, self.classes)
        if tuple(logits.shape[1:]) != expected:
            raise ValueError(
                f"it returned shape {tuple(logits.shape[1:])}; expected logits of shape {expected}"
            )

    def _near(self, weight: torch.Tensor) -> torch.Tensor:
        """Return weights of a stack: built-in networks have none yet, and zeros hide much."""
        return weight + 0.1 * self._normal(PROBE_NETWORKS, *weight.shape)

    def _normal(self, *shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=self._generator, dtype=self.dtype, device="cpu")


def _mapped_or_not(probe: _Probe, network: nn.Module, alone: _Passed) -> tuple[str, str]:
    """Return the kind of form, and the reason where it is one at a time."""
    with _watching(network) as where:
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("error", message=".*performance drop.*")
                together = probe.run(MappedNetwork(network))
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            return ONE_AT_A_TIME, f"{where()}: {_first_sentence(error)}"
    if not together.agrees_with(alone, PROBE_TOLERANCE[probe.dtype]):
        return ONE_AT_A_TIME, f"{where()}: many networks at once have other results than each alone"
    return MAPPED, ""


@contextmanager
def _watching(network: nn.Module) -> Iterator[Callable[[], str]]:
    """Yield what names the innermost module that has been entered and not been left."""
    entered: list[str] = []
    names = {id(module): name for name, module in network.named_modules()}

    def enter(module: nn.Module, _: object) -> None:
        name = names[id(module)]
        kind = type(module).__name__
        entered.append(f"its module {name} ({kind})" if name else f"its network ({kind})")

    def leave(*_: object) -> None:
        entered.pop()

    def where() -> str:
        return entered[-1] if entered else f"its network ({type(network).__name__})"

    handles = [
        handle
        for module in network.modules()
        for handle in (
            module.register_forward_pre_hook(enter),
            module.register_forward_hook(leave),
        )
    ]
    try:
        yield where
    finally:
        for handle in handles:
            handle.remove()


def _in_words(error: BaseException) -> str:
    return str(error) if type(error) is ValueError else f"{type(error).__name__}: {error}"


def _first_sentence(error: BaseException) -> str:
    text = " ".join(str(error).split()).partition(". ")[0].rstrip(".")
    return text or type(error).__name__


@contextmanager
def _counting_kept(sizes: list[int]) -> Iterator[None]:
    """Add the bytes of every tensor that autograd keeps, each memory once."""
    seen: set[int] = set()

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if not isinstance(tensor, nn.Parameter) and storage.data_ptr() not in seen:
            seen.add(storage.data_ptr())
            sizes.append(storage.nbytes())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        yield


def _perceptron_bytes(network: nn.Module, input_shape: tuple[int, ...]) -> int:
    widths = [layer.out_features for layer in network.modules() if isinstance(layer, nn.Linear)]
    inputs = torch.Size(input_shape).numel()
    return (inputs + 2 * sum(widths)) * next(network.parameters()).element_size()
