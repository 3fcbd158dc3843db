"""A small stack of networks that is tried on samples of a task before anything is trained."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from pytest_fragility.networks import NetworkState, state_of
from pytest_fragility.tasks.task import TaskData
from pytest_fragility.training.buffers import Carried
from pytest_fragility.training.gradients import Sink, Tensors
from pytest_fragility.training.one_by_one import seeded
from pytest_fragility.training.perceptron_stacks import StackedNetwork
from pytest_fragility.training.vmapped import mode, trained_names

PASSES, NETWORKS, BATCH = 2, 2, 8
SEEDS = (1, 2)
# how far a value may lie off, as a share of the largest of its kind
ROUNDING = {torch.float32: 1e-4, torch.float64: 1e-10}
# of gradients: where rounding gives a ReLU's input another sign, a sample's part comes or goes
AT_KINKS = 10


@dataclass(frozen=True)
class ProbeSamples:
    """Samples of a task that an architecture's networks are tried on.

    Parameters
    ----------
    data
        The fingerprint of the task's data, by which samples are told apart.
    inputs, labels
        Shapes (PASSES, NETWORKS, BATCH, *input shape) and (PASSES, NETWORKS, BATCH).
    classes
        Number of logits.
    """

    data: str
    inputs: torch.Tensor = field(compare=False, repr=False)
    labels: torch.Tensor = field(compare=False, repr=False)
    classes: int = field(compare=False)

    @classmethod
    def of(cls, data: TaskData) -> ProbeSamples:
        """Return samples from all over a task's pool; those of a small pool come repeatedly."""
        shape = (PASSES, NETWORKS, BATCH)
        count, pool = math.prod(shape), len(data.train_labels)
        rows = np.arange(count) * max(1, pool // count) % pool
        return cls(
            data.fingerprint,
            torch.from_numpy(data.train_inputs[rows]).view(*shape, *data.input_shape),
            torch.from_numpy(data.train_labels[rows]).view(shape),
            data.classes,
        )

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input."""
        return tuple(self.inputs.shape[3:])


@dataclass(frozen=True)
class Passed:
    """What came out of a probe: lists of tensors with one network per row."""

    logits: Tensors
    losses: Tensors
    gradients: Tensors
    # what is trained and what is carried along, after all passes
    state: Tensors

    def agrees_with(self, other: Passed) -> bool:
        """Return whether all values do, to rounding: each to a share of the largest of its kind."""
        rounding = ROUNDING[self.logits[0].dtype]
        return (
            agree(self.logits, other.logits, rounding)
            and agree(self.losses, other.losses, rounding)
            and agree(self.gradients, other.gradients, AT_KINKS * rounding)
            and agree(self.state, other.state, rounding)
        )

    def is_same_in_training(self, labels: torch.Tensor) -> bool:
        """Return whether the first loss, in training mode, is that of the logits in eval mode."""
        logs = self.logits[0].double().log_softmax(dim=-1)
        expected = -logs.gather(-1, labels[0].unsqueeze(-1)).mean(dim=(1, 2))
        return torch.allclose(expected, self.losses[0].double(), rtol=1e-5, atol=1e-6)


def agree(ours: Tensors, theirs: Tensors, tolerance: float) -> bool:
    """Return whether tensors differ by no more than a share of the largest value of `theirs`."""
    if [each.shape for each in ours] != [each.shape for each in theirs]:
        return False
    one, other = (
        torch.cat([t.detach().double().flatten() for t in [*each, torch.zeros(1)]])
        for each in (ours, theirs)
    )
    largest = float(other.nan_to_num().abs().max())
    return torch.allclose(one, other, rtol=0, atol=tolerance * largest, equal_nan=True)


class Probe:
    """Two networks with weights of their own, for a few passes.

    Twice they are passed forward and backward in training mode; before and after that, their
    logits are taken in eval mode.

    Parameters
    ----------
    network
        A network of the architecture, whose weights and buffers the two begin with, nearly.
    samples
        What they are tried on.
    """

    def __init__(self, network: nn.Module, samples: ProbeSamples) -> None:
        generator = torch.Generator(device="cpu").manual_seed(0)
        self._trained = trained_names(network)
        self._state = state_of(network).copy()
        self._dtype = self._state.weights[self._trained[0]].dtype
        # copies: what was made in inference mode takes part in no derivative
        self._inputs = samples.inputs.to(self._dtype, copy=True)
        self._labels, self._classes = samples.labels.clone(), samples.classes
        self._weights = [self._near(self._state.weights[name], generator) for name in self._trained]

    def run(self, stacked: StackedNetwork) -> Passed:
        """Return what comes out of a stacked form."""
        # copies: a forward pass may write to what it is given
        given, weights = self._inputs.clone(), [weight.clone() for weight in self._weights]
        states = [self._state.copy() for _ in range(NETWORKS)]
        carried = Carried.of_states(states, self._trained, SEEDS, torch.device("cpu"))
        gradients = [torch.zeros_like(weight) for weight in self._weights]
        sink = Sink(0, NETWORKS, gradients, keep=0)
        scale = torch.ones(NETWORKS, dtype=self._dtype)
        losses_of = stacked.bind(weights, [sink], scale, carried)
        passed = Passed([], [], [], [])
        with torch.no_grad():
            passed.logits.append(stacked.logits(weights, carried, given[0]))
        for inputs, labels in zip(given, self._labels, strict=True):
            passed.losses.append(losses_of(inputs, labels).clone())
            passed.gradients.extend(gradient.clone() for gradient in gradients)
        with torch.no_grad():
            passed.logits.append(stacked.logits(weights, carried, given[-1]))
        passed.state.extend([*weights, *carried.tensors.values()])
        return passed

    def run_each(self, networks: Sequence[nn.Module]) -> Passed:
        """Return what comes out of networks by themselves, each a module of its own.

        Raises
        ------
        ValueError
            If one does not return logits, or writes to its inputs.
        """
        alone = [self._run_alone(network, place) for place, network in enumerate(networks)]
        kinds = ([*zip(*parts, strict=True)] for parts in zip(*alone, strict=True))
        return Passed(*([torch.stack(values) for values in kind] for kind in kinds))

    def _run_alone(self, network: nn.Module, place: int) -> tuple[Tensors, ...]:
        """Return logits, losses, gradients and what is carried, of one network."""
        own = {
            name: weight[place] for name, weight in zip(self._trained, self._weights, strict=True)
        }
        NetworkState({**self._state.weights, **own}, self._state.buffers).load_into(network)
        parameters = dict(network.named_parameters())
        logits: Tensors = []
        losses: Tensors = []
        gradients: Tensors = []
        with torch.no_grad(), mode(network, training=False):
            # the second network is looked at once more, which must make no difference
            looks = [self._logits(network, self._inputs[0, place]) for _ in range(1 + place)]
            logits.append(looks[-1])
        for step, labels in enumerate(self._labels):
            network.zero_grad()
            with torch.enable_grad():
                outputs = self.pass_forward(network, place, step)
                loss = functional.cross_entropy(outputs, labels[place])
            torch.autograd.backward(loss)
            losses.append(loss.detach())
            gradients += [_gradient(parameters[name]) for name in self._trained]
        with torch.no_grad(), mode(network, training=False):
            logits.append(self._logits(network, self._inputs[-1, place]))
        after = state_of(network)
        held = {**after.weights, **after.buffers}
        if odd := sorted(held.keys() ^ {**self._state.weights, **self._state.buffers}.keys()):
            raise ValueError(
                f"its forward pass adds or removes parameters or buffers ({', '.join(odd)}); "
                "register them where it is made"
            )
        rest = [name for name in held if name not in own]
        return logits, losses, gradients, [held[name] for name in (*own, *rest)]

    def pass_forward(self, network: nn.Module, place: int = 0, step: int = 0) -> torch.Tensor:
        """Return the logits of one network by itself in training mode."""
        with (
            torch.enable_grad(),
            mode(network, training=True),
            seeded(torch.tensor(SEEDS[place]), torch.tensor(step)),
        ):
            return self._logits(network, self._inputs[step, place])

    def is_all_state(self, used: nn.Module, unused: nn.Module) -> bool:
        """Return whether a network that has been used does what a new one does in its state."""
        state_of(used).load_into(unused)
        passed = []
        for network in (used, unused):
            with torch.no_grad(), mode(network, training=False):
                passed.append(self._logits(network, self._inputs[0, 0]))
        return agree(passed[:1], passed[1:], ROUNDING[self._dtype])

    def _logits(self, network: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
        given = inputs.clone()
        logits: Any = network(given)
        if not torch.equal(given, inputs):
            raise ValueError(
                "it writes to its inputs, which others read too: copy them first, or give its "
                "first layers inplace=False"
            )
        is_tensor, expected = isinstance(logits, torch.Tensor), (BATCH, self._classes)
        if not is_tensor or tuple(logits.shape) != expected:
            found = f"shape {tuple(logits.shape)}" if is_tensor else type(logits).__name__
            raise ValueError(f"it returned {found}; expected logits of shape {expected}")
        passed: torch.Tensor = logits
        return passed

    def _near(self, weight: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Return weights of a stack: built-in networks have none yet, and zeros hide much."""
        shape = (NETWORKS, *weight.shape)
        noise = torch.randn(shape, generator=generator, dtype=self._dtype, device="cpu")
        return weight + 0.1 * noise


def _gradient(parameter: nn.Parameter) -> torch.Tensor:
    if parameter.grad is None:
        return torch.zeros_like(parameter.detach())
    return parameter.grad.to_dense().clone()
