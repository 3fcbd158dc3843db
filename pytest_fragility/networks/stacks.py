"""What a measure over stacks sees: several networks of one structure at once."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch

from pytest_fragility._util.seeds import derive_seed
from pytest_fragility.errors import SettingsError, UndefinedMeasureError
from pytest_fragility.networks.runs import TrainedRun
from pytest_fragility.networks.trained_network import (
    TrainedNetwork,
    drawn_seed,
    dtype_of,
    replaced,
    unless_unknown,
)
from pytest_fragility.recipes import Recipe

if TYPE_CHECKING:
    from pytest_fragility.tasks.task import TaskData


# fields with a tensor, or a value, for each network
TENSORS = ("weights", "initial_weights", "buffers", "initial_buffers")
PER_NETWORK = ("seeds", "train_losses", "rng_seeds", "sample_ids")
Tensors = dict[str, torch.Tensor]
Samples = tuple[torch.Tensor, torch.Tensor]
Result = TypeVar("Result")


@dataclass(frozen=True, eq=False)
class NetworkStack:
    """K trained networks of one structure, recipe and training set size.

    Parameters
    ----------
    structure
        A module in eval mode that gives the layers; its own weights mean nothing.
    weights, initial_weights
        Parameters by name in the structure's order, each of shape (K, *shape), float32 unless the
        networks are not.
    buffers, initial_buffers
        Buffers by name, such as running statistics, each of shape (K, *shape).
    recipe
        How the networks were trained.
    n
        Training set size.
    seeds
        Their seeds.
    train_losses
        Mean cross-entropy over the training samples, in nats, one per network.
    rng_seeds
        What each network's randomness derives from; see `generator`.
    sample_ids
        Equal for networks, of this stack or another of the same family, with the same samples.
    load_samples
        Returns the inputs and labels.
    shared
        What the stacks of a family have worked out together; see `once_for_samples`.
    of_structure
        What depends on the structure alone; see `once_for_structure`.
    """

    structure: torch.nn.Module
    weights: Tensors
    initial_weights: Tensors
    buffers: Tensors
    initial_buffers: Tensors
    recipe: Recipe
    n: int
    seeds: tuple[int, ...]
    train_losses: tuple[float, ...]
    rng_seeds: tuple[int, ...] = field(repr=False)
    sample_ids: tuple[Hashable, ...] = field(repr=False)
    load_samples: Callable[[], Samples] = field(repr=False)
    shared: dict[Any, Any] = field(repr=False, default_factory=dict)
    of_structure: dict[Any, Any] = field(repr=False, default_factory=dict)
    _results: dict[Any, Any] = field(repr=False, default_factory=dict)

    @classmethod
    def of_network(cls, network: TrainedNetwork) -> NetworkStack:
        """Return a stack of one network; it shares the network's tensors."""

        def load_samples() -> Samples:
            return network.inputs.unsqueeze(0), network.labels.unsqueeze(0)

        model, initial_model = network.models
        made, extra = _class_for(cls, vars(network).get("unknown", {}))
        return made(
            structure=model,
            weights=_stack_of_one(model.named_parameters()),
            initial_weights=_stack_of_one(initial_model.named_parameters()),
            buffers=_stack_of_one(model.named_buffers()),
            initial_buffers=_stack_of_one(initial_model.named_buffers()),
            recipe=vars(network)["recipe"],
            n=network.n,
            seeds=(network.seed,),
            train_losses=(vars(network)["train_loss"],),
            rng_seeds=(network.rng.initial_seed(),),
            sample_ids=(object(),),
            load_samples=load_samples,
            **extra,
        )

    @classmethod
    def of_networks(cls, networks: Sequence[TrainedNetwork]) -> NetworkStack:
        """Return the stack of networks of one structure and training set size.

        Parameters
        ----------
        networks
            At least one; what a measure may know of them is copied.

        Raises
        ------
        SettingsError
            If there is none, or if they differ in n or in a parameter's or buffer's shape.
        """
        alone = [cls.of_network(network) for network in networks]
        if not alone:
            raise SettingsError("a stack needs at least one network")
        _require_same_shapes(alone)
        inputs = torch.cat([stack.inputs for stack in alone])
        labels = torch.cat([stack.labels for stack in alone])
        # also what is not known of networks trained elsewhere, and stays so
        own = [vars(stack) for stack in alone]
        return replaced(
            alone[0],
            **{name: _joined([each[name] for each in own]) for name in TENSORS},
            **{name: tuple(each[name][0] for each in own) for name in PER_NETWORK},
            load_samples=lambda: (inputs, labels),
            shared={},
            _results={},
        )

    @classmethod
    def of_runs(
        cls, runs: Sequence[TrainedRun], device: torch.device, shared: dict[Any, Any]
    ) -> NetworkStack:
        """Return the stack of runs of one task, architecture and n; see `StacksOfRuns.of`."""
        first = runs[0].run
        structure = first.build_network()
        # a run from a store has its tensors in alphabetical order
        names = [name for name, _ in structure.named_parameters()]
        buffer_names = [name for name, _ in structure.named_buffers()]
        unknown = {part: text for run in runs for part, text in run.unknown.items()}

        def load_samples() -> Samples:
            if "inputs" in unknown:
                raise UndefinedMeasureError(unknown["inputs"])
            data, rows = first.task.data, np.stack([run.run.rows() for run in runs])
            if device.type == "cpu":
                inputs = torch.from_numpy(data.train_inputs[rows])
                labels = torch.from_numpy(data.train_labels[rows])
            else:
                pool_inputs, pool_labels = _pool(data, device, shared)
                places = torch.from_numpy(rows).to(device)
                inputs, labels = pool_inputs[places], pool_labels[places]
            return inputs.to(dtype_of(runs[0])), labels

        made, extra = _class_for(cls, unknown)
        return made(
            structure=structure.to(device, dtype_of(runs[0])).eval(),
            weights=_stack(names, [run.weights for run in runs], device),
            initial_weights=_stack(names, [run.initial_weights for run in runs], device),
            buffers=_stack(buffer_names, [run.state.buffers for run in runs], device),
            initial_buffers=_stack(
                buffer_names, [run.initial_state.buffers for run in runs], device
            ),
            recipe=first.recipe,
            n=first.n,
            seeds=tuple(run.run.seed for run in runs),
            train_losses=tuple(run.record.train_loss for run in runs),
            rng_seeds=tuple(derive_seed("measure", run.run.identity) for run in runs),
            sample_ids=tuple(run.run.samples_id for run in runs),
            load_samples=load_samples,
            shared=shared,
            **extra,
        )

    def __len__(self) -> int:
        return len(self.seeds)

    def __getstate__(self) -> dict[str, Any]:
        """Return what another process gets: samples, and nothing of what was worked out."""
        nothing: dict[str, Any] = {"shared": {}, "of_structure": {}, "_results": {}}
        return {**vars(self), **nothing, "load_samples": _loaded(self.load_samples)}

    @property
    def inputs(self) -> torch.Tensor:
        """The training samples, shape (K, n, *input shape); made anew at each use."""
        return self.load_samples()[0]

    @property
    def labels(self) -> torch.Tensor:
        """Their labels, shape (K, n), int64; made anew at each use."""
        return self.once("labels", lambda: self.load_samples()[1]).clone()

    @property
    def device(self) -> torch.device:
        """Where the networks live."""
        return next(iter(self.weights.values())).device

    def generator(self, place: int, purpose: str) -> torch.Generator:
        """Return the randomness of one network, a stream of its own for each purpose.

        The same whatever the network is stacked with, and however often it is asked for.
        """
        generator = torch.Generator(device=self.device)
        return generator.manual_seed(derive_seed(purpose, self.rng_seeds[place]))

    def with_draw(self, draw: int) -> NetworkStack:
        """Return the stack with other random numbers for its measure; draw 0 is its own."""
        if draw == 0:
            return self
        rng_seeds = tuple(drawn_seed(seed, draw) for seed in self.rng_seeds)
        return self.once(("draw", draw), lambda: replaced(self, rng_seeds=rng_seeds, _results={}))

    def at_initialization(self) -> NetworkStack:
        """Return the stack with the initial weights and buffers in the place of the trained."""
        return self.once(
            "at initialization",
            lambda: replaced(
                self, weights=self.initial_weights, buffers=self.initial_buffers, _results={}
            ),
        )

    def repeated(self, rng_seeds: Sequence[Sequence[int]]) -> NetworkStack:
        """Return a stack with each network several times, each time with randomness of its own.

        Parameters
        ----------
        rng_seeds
            For each network, what its randomness derives from each time; as often for all.
        """
        times = len(rng_seeds[0])
        own = vars(self)

        def repeat(tensors: Tensors) -> Tensors:
            return {name: each.repeat_interleave(times, dim=0) for name, each in tensors.items()}

        def load_samples() -> Samples:
            inputs, labels = (each.repeat_interleave(times, dim=0) for each in self.load_samples())
            return inputs, labels

        seeds = tuple(seed for each in rng_seeds for seed in each)
        return replaced(
            self,
            **{name: repeat(own[name]) for name in TENSORS},
            seeds=tuple(seed for seed in self.seeds for _ in range(times)),
            train_losses=tuple(loss for loss in own["train_losses"] for _ in range(times)),
            rng_seeds=seeds,
            # what is drawn for the same samples is drawn anew each time
            sample_ids=tuple(
                (self.sample_ids[place // times], seed) for place, seed in enumerate(seeds)
            ),
            load_samples=load_samples,
            _results={},
        )

    def once(self, key: Hashable, compute: Callable[[], Result]) -> Result:
        """Return what `compute` returns, worked out once for all measures of this stack."""
        return _once(self._results, key, compute)

    def once_for_structure(self, key: Hashable, compute: Callable[[], Result]) -> Result:
        """Return what depends on the structure alone, worked out once.

        The stack's parts, and its networks with other weights or random numbers, have it too.
        """
        return _once(self.of_structure, key, compute)

    def once_for_samples(self, place: int, key: Hashable, compute: Callable[[], Result]) -> Result:
        """Return what depends on a network's samples alone, worked out once for the family."""
        return _once(self.shared, (self.sample_ids[place], key), compute)


def _once(results: dict[Any, Any], key: Hashable, compute: Callable[[], Result]) -> Result:
    if key not in results:
        results[key] = compute()
    result: Result = results[key]
    return result


@dataclass(frozen=True, eq=False)
class IncompleteStack(NetworkStack):
    """A stack of networks that were trained elsewhere, some of whose parts are not known.

    Parameters
    ----------
    unknown
        By part: what to say where it is asked for.
    """

    unknown: Mapping[str, str] = field(default_factory=dict)

    initial_weights = unless_unknown("initial_weights")
    initial_buffers = unless_unknown("initial_buffers")
    recipe = unless_unknown("recipe")
    train_losses = unless_unknown("train_losses")


# what a stack calls the parts of a network
_PARTS = {
    "initial_model": ("initial_weights", "initial_buffers"),
    "recipe": ("recipe",),
    "train_loss": ("train_losses",),
}


def _class_for(
    cls: type[NetworkStack], unknown: Mapping[str, str]
) -> tuple[type[NetworkStack], dict[str, Any]]:
    """Return which class of stack is made where parts of its networks are not known."""
    if not unknown:
        return cls, {}
    parts = {
        name: unknown[part] for part, names in _PARTS.items() if part in unknown for name in names
    }
    return IncompleteStack, {"unknown": parts}


def _pool(data: TaskData, device: torch.device, shared: dict[Any, Any]) -> Samples:
    """Return a task's training pool on a device, where it stays for all stacks."""
    inputs, labels = data.train_inputs, data.train_labels
    # by the object itself: parts of one task's data have one fingerprint
    return _once(
        shared,
        ("pool", data),
        lambda: (torch.tensor(inputs, device=device), torch.tensor(labels, device=device)),
    )


def _loaded(load: Callable[[], Samples]) -> Callable[[], Samples]:
    """Return what gives the samples, or says that they are not known, wherever it is called."""
    try:
        return partial(_given, load())
    except UndefinedMeasureError as error:
        return partial(_refused, str(error))


def _given(samples: Samples) -> Samples:
    return samples


def _refused(reason: str) -> Samples:
    raise UndefinedMeasureError(reason)


def _stack_of_one(named: Any) -> Tensors:
    return {name: tensor.detach().unsqueeze(0) for name, tensor in named}


def _joined(parts: Sequence[Tensors]) -> Tensors:
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def _require_same_shapes(stacks: Sequence[NetworkStack]) -> None:
    first = _shapes(stacks[0])
    for place, stack in enumerate(stacks):
        here = _shapes(stack)
        odd = [name for name in {**first, **here} if first.get(name) != here.get(name)]
        if odd:
            raise SettingsError(
                f"networks 0 and {place} do not stack: {odd[0]} is {first.get(odd[0])} in one and "
                f"{here.get(odd[0])} in the other"
            )


def _shapes(stack: NetworkStack) -> dict[str, tuple[int, ...]]:
    tensors = {**stack.weights, **stack.buffers, "inputs": stack.inputs}
    return {name: tuple(tensor.shape[1:]) for name, tensor in tensors.items()}


def _stack(names: list[str], states: Sequence[Tensors], device: torch.device) -> Tensors:
    return {name: torch.stack([state[name] for state in states]).to(device) for name in names}
