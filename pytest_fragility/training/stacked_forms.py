"""Which stacked form a network takes: found out by trying, before anything is trained."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from pytest_fragility._util.text import first_sentence
from pytest_fragility.errors import FragilityWarning, TrainingError
from pytest_fragility.networks import build_network
from pytest_fragility.recipes import Architecture, Recipe
from pytest_fragility.tasks.task import TaskData
from pytest_fragility.training.convolution_stacks import (
    ConvolutionalNetwork,
    Structure,
    convolutional_bytes,
    convolutional_structure,
)
from pytest_fragility.training.one_by_one import OneAtATime
from pytest_fragility.training.perceptron_stacks import StackedNetwork, as_perceptron
from pytest_fragility.training.probe import BATCH, NETWORKS, Passed, Probe, ProbeSamples
from pytest_fragility.training.vmapped import MappedNetwork

PERCEPTRON, CONVOLUTIONAL = "perceptron", "convolutional"
MAPPED, ONE_AT_A_TIME = "mapped", "one at a time"
_DISAGREEMENTS = {
    PERCEPTRON: "written out as a perceptron, it has other results than by itself",
    CONVOLUTIONAL: "written out as convolutions, it has other results than by itself",
    MAPPED: "many networks at once have other results than each alone",
    ONE_AT_A_TIME: "with the weights of several networks in turn, it has other results than each",
}
_ADVICE = (
    "What it computes depends on more than its parameters, its buffers and torch's global random "
    "numbers: on a counter, a generator of its own, or a hook that it adds to itself, for "
    "instance. Register such state as a buffer, or leave it out"
)


class SlowerFormWarning(FragilityWarning):
    """Networks of some architecture are trained in a slower form than it seemed they could be."""


class OneAtATimeWarning(SlowerFormWarning):
    """Networks of some architecture cannot be trained together, and are trained one by one."""


@dataclass(frozen=True)
class StackedForm:
    """How networks of one architecture are passed through together.

    Parameters
    ----------
    kind
        ``perceptron``, ``convolutional``, ``mapped`` or ``one at a time``.
    reason
        Why it is not a faster one that was tried; names the module. Empty where there was none.
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
        if perceptron is None:
            raise TrainingError(
                "an architecture's function builds another network than it did before; where two "
                "functions have one name, version= has to tell them apart"
            )
        return perceptron


def stacked_form(recipe: Recipe, data: TaskData) -> StackedForm:
    """Return how networks of a recipe's architecture are passed through together.

    Parameters
    ----------
    recipe
        Gives the architecture and the precision.
    data
        What they are trained on; they are tried on samples of it.

    Raises
    ------
    TrainingError
        See `examine`.
    """
    dtype = getattr(torch, recipe.precision)
    return _examine(recipe.architecture, dtype, ProbeSamples.of(data))


@lru_cache(maxsize=64)
def _examine(architecture: Architecture, dtype: torch.dtype, samples: ProbeSamples) -> StackedForm:
    def make() -> nn.Module:
        return build_network(architecture, samples.input_shape, samples.classes).to(dtype)

    # the caller may be in a mode whose tensors could never take part in a derivative
    with torch.inference_mode(False):
        return examine(make, str(architecture), samples)


def examine(make: Callable[[], nn.Module], name: str, samples: ProbeSamples) -> StackedForm:
    """Return how networks are passed through in stacks: the fastest form that computes the same.

    Each form is compared with the networks themselves, on samples of the task: their logits and,
    in training mode and with the same random numbers, the loss, the gradients and what becomes of
    weights and buffers.

    Parameters
    ----------
    make
        Returns a network of the architecture, a new one each time.
    name
        What messages call it.
    samples
        What the networks are tried on.

    Raises
    ------
    TrainingError
        If the networks fail on the samples, do not return logits, or depend on more than their
        parameters and buffers.
    """
    network, unused, *alone = (make() for _ in range(2 + NETWORKS))
    try:
        probe = Probe(network, samples)
        expected = probe.run_each(alone)
        is_all_state = probe.is_all_state(alone[0], unused)
        kept = _bytes_kept(partial(probe.pass_forward, unused))
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise TrainingError(
            f"architecture {name}: its network fails on inputs of shape {samples.input_shape}, in "
            f"batches of {BATCH}: {_in_words(error)}"
        ) from error
    if not is_all_state:
        raise TrainingError(
            f"architecture {name} cannot be trained: once trained, its network does something else "
            f"than a new one with the same parameters and buffers. {_ADVICE}"
        )
    is_same = expected.is_same_in_training(samples.labels)
    objection = ""
    for form in _candidates(network, samples.input_shape, kept // BATCH):
        reason, objection = objection, _objection(probe, form, make(), expected)
        if not objection:
            return replace(form, reason=reason, is_same_in_training=is_same)
    advice = ""
    if objection.endswith(_DISAGREEMENTS[ONE_AT_A_TIME]):
        advice = f". {_ADVICE}"
    raise TrainingError(f"architecture {name} cannot be trained: {objection}{advice}")


def _candidates(
    network: nn.Module, input_shape: tuple[int, ...], sample_bytes: int
) -> Iterator[StackedForm]:
    """Yield the forms that a network may take, the fastest first."""
    structure = convolutional_structure(network, input_shape)
    if as_perceptron(network) is not None:
        yield StackedForm(PERCEPTRON, sample_bytes=_perceptron_bytes(network, input_shape))
    elif structure is not None:
        kept = convolutional_bytes(structure, network)
        yield StackedForm(CONVOLUTIONAL, sample_bytes=kept, convolutional=structure)
    yield StackedForm(MAPPED, sample_bytes=sample_bytes)
    yield StackedForm(ONE_AT_A_TIME, sample_bytes=sample_bytes)


def _objection(probe: Probe, form: StackedForm, network: nn.Module, expected: Passed) -> str:
    """Return why a network does not take a form, naming the module; empty where it does."""
    stacked = form.stack(network)
    with _watching(network) as where:
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("error", message=".*performance drop.*")
                found = probe.run(stacked)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            return f"{where()}: {first_sentence(error)}"
    return "" if found.agrees_with(expected) else f"{where()}: {_DISAGREEMENTS[form.kind]}"


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
        # torch lets nobody watch these
        if not isinstance(module, torch.jit.ScriptModule)
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


def _bytes_kept(pass_forward: Callable[[], object]) -> int:
    """Return the bytes of all tensors that autograd keeps of a forward pass, each memory once."""
    sizes: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if not isinstance(tensor, nn.Parameter):
            sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    try:
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            # its graph keeps them: no memory is used for two
            outputs = pass_forward()
    except RuntimeError:
        # a pass with derivatives of its own, by torch.func, lets nobody see what is kept
        return _bytes_made(pass_forward)
    del outputs
    return sum(sizes.values())


def _bytes_made(pass_forward: Callable[[], object]) -> int:
    """Return the bytes of all results of a forward pass's operations: more than are kept."""
    sizes: list[int] = []

    class Counting(TorchDispatchMode):  # type: ignore[no-untyped-call]
        def __torch_dispatch__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            results = func(*args, **(kwargs or {}))
            sizes.extend(each.nbytes for each in tree_leaves(results) if torch.is_tensor(each))
            return results

    with Counting():  # type: ignore[no-untyped-call]
        pass_forward()
    return sum(sizes)


def _perceptron_bytes(network: nn.Module, input_shape: tuple[int, ...]) -> int:
    widths = [layer.out_features for layer in network.modules() if isinstance(layer, nn.Linear)]
    inputs = torch.Size(input_shape).numel()
    return (inputs + 2 * sum(widths)) * next(network.parameters()).element_size()
