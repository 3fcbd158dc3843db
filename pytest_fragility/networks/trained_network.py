"""What a measure sees."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from pytest_fragility._util.seeds import derive_seed
from pytest_fragility._util.validation import PrintsItsRepr
from pytest_fragility.errors import TrainingError, UndefinedMeasureError
from pytest_fragility.networks import NetworkState
from pytest_fragility.networks.attachments import shared_with_copies
from pytest_fragility.networks.runs import TrainedRun, TrainingRecord
from pytest_fragility.networks.states import compute_again
from pytest_fragility.recipes import Recipe

if TYPE_CHECKING:
    from typing_extensions import Self


Record = TypeVar("Record")


def unless_unknown(part: str) -> Any:
    """Return a property of what has `unknown`: by part, what to say where it is asked for."""

    def get(holder: Any) -> Any:
        if part in holder.unknown:
            raise UndefinedMeasureError(holder.unknown[part])
        return vars(holder)[part]

    def keep(holder: Any, value: Any) -> None:
        vars(holder)[part] = value

    return property(get, keep)


def replaced(record: Record, **changes: Any) -> Record:
    """Return a copy of a dataclass with some fields replaced; what is not known stays unknown."""
    own = vars(record)
    kept = {each.name: own[each.name] for each in fields(record) if each.init}  # type: ignore[arg-type]
    return type(record)(**{**kept, **changes})


@dataclass(frozen=True, eq=False, repr=False)
class TrainedNetwork(PrintsItsRepr):
    """A trained network with all that a measure may know: everything but test data.

    Parameters
    ----------
    model
        The trained network, in the recipe's precision, in eval mode, gradients allowed.
    initial_model
        The same network before training.
    inputs
        The samples it was trained on, shape (n, *input shape), of the same dtype.
    labels
        Their labels, shape (n,), int64.
    recipe
        How it was trained.
    recipe_name
        ``baseline`` or the perturbation's name.
    task_name
        What it has learned.
    n
        Training set size.
    seed
        The run's seed.
    steps
        Optimizer steps taken.
    train_loss, train_error
        Mean cross-entropy in nats, and fraction of mistakes, over the training samples.
    rng
        The only randomness that a measure needs, on the network's device: seeded from the run's
        identity, fresh for every measure.
    """

    model: torch.nn.Module
    initial_model: torch.nn.Module
    inputs: torch.Tensor
    labels: torch.Tensor
    recipe: Recipe
    recipe_name: str
    task_name: str
    n: int
    seed: int
    steps: int
    train_loss: float
    train_error: float
    rng: torch.Generator

    @classmethod
    def build(cls, trained: TrainedRun, recipe_name: str, device: torch.device) -> TrainedNetwork:
        """Return the network of a trained run, its tensors copied to `device`."""
        known = _common_fields(trained, recipe_name, device)
        if trained.unknown:
            return IncompleteNetwork(**known, unknown=trained.unknown)
        return cls(**known)

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights and inputs."""
        return _dtype(self.model.parameters())

    @property
    def models(self) -> tuple[torch.nn.Module, torch.nn.Module]:
        """The trained and the initial network; a copy of the former where no other is known."""
        return self.model, self.initial_model

    def with_models(self, model: torch.nn.Module, initial_model: torch.nn.Module) -> Self:
        """Return the network with others in the place of its `models`."""
        return replaced(self, model=model, initial_model=initial_model)

    def with_draw(self, draw: int) -> Self:
        """Return the network with other random numbers for its measure; draw 0 is its own."""
        if draw == 0:
            return self
        generator = torch.Generator(device=self.rng.device)
        return replaced(self, rng=generator.manual_seed(drawn_seed(self.rng.initial_seed(), draw)))

    def in_precision(self, dtype: torch.dtype) -> Self:
        """Return a copy whose weights and inputs have another dtype.

        Raises
        ------
        UndefinedMeasureError
            If the copy would share modules with the network.
        """
        for each in self.models:
            shared = shared_with_copies(each)
            if shared:
                raise UndefinedMeasureError(
                    f"the network cannot be copied: {shared} holds on to the network it was made "
                    "for, and would do so in a copy. Use what it is called with instead, or bind "
                    "it by types.MethodType"
                )
        model, initial_model = (_copy(each).to(dtype) for each in self.models)
        for each in (model, initial_model):
            compute_again(each)
        return replaced(
            self, model=model, initial_model=initial_model, inputs=self.inputs.to(dtype)
        )

    def __repr__(self) -> str:
        return (
            f"trained_network(task={self.task_name!r}, recipe={self.recipe!r}, n={self.n}, "
            f"seed={self.seed})"
        )

    def __str__(self) -> str:
        return (
            f"task {self.task_name}, recipe {self.recipe_name} ({self.recipe}), "
            f"n={self.n}, seed {self.seed}"
        )


@dataclass(frozen=True, eq=False, repr=False)
class OracleNetwork(TrainedNetwork):
    """A trained network that also carries the test set: for control measures alone.

    Parameters
    ----------
    test_inputs, test_labels
        The held-out samples.
    test_record
        How training went, test mistakes included.
    """

    test_inputs: torch.Tensor
    test_labels: torch.Tensor
    test_record: TrainingRecord

    @classmethod
    def build(cls, trained: TrainedRun, recipe_name: str, device: torch.device) -> OracleNetwork:
        """Return the network of a trained run with its test set."""
        data = trained.run.task.data
        return cls(
            **_common_fields(trained, recipe_name, device),
            test_inputs=torch.tensor(data.test_inputs, device=device, dtype=dtype_of(trained)),
            test_labels=torch.tensor(data.test_labels, device=device),
            test_record=trained.record,
        )

    def in_precision(self, dtype: torch.dtype) -> Self:
        """Return a copy whose weights and inputs, those of the test set too, have another dtype."""
        return replaced(super().in_precision(dtype), test_inputs=self.test_inputs.to(dtype))


@dataclass(frozen=True, eq=False, repr=False)
class IncompleteNetwork(TrainedNetwork):
    """A network that was trained elsewhere, some of whose parts are not known.

    A measure that asks for one of them is not defined there, and the error says what to add to the
    manifest: `unknown` has by part what to say. The others are those of a `TrainedNetwork`.
    """

    unknown: Mapping[str, str] = field(default_factory=dict)

    initial_model = unless_unknown("initial_model")
    inputs = unless_unknown("inputs")
    labels = unless_unknown("labels")
    recipe = unless_unknown("recipe")
    steps = unless_unknown("steps")
    train_loss = unless_unknown("train_loss")
    train_error = unless_unknown("train_error")

    @property
    def models(self) -> tuple[torch.nn.Module, torch.nn.Module]:
        """The trained and the initial network; a copy of the former where no other is known."""
        return vars(self)["model"], vars(self)["initial_model"]

    def __repr__(self) -> str:
        return f"<network trained elsewhere: {self}>"

    def __str__(self) -> str:
        described = "" if "recipe" in self.unknown else f" ({self.recipe})"
        return (
            f"task {self.task_name}, recipe {self.recipe_name}{described}, n={self.n}, "
            f"seed {self.seed}"
        )


def _common_fields(trained: TrainedRun, recipe_name: str, device: torch.device) -> dict[str, Any]:
    run = trained.run
    generator = torch.Generator(device=device)
    generator.manual_seed(derive_seed("measure", run.identity))
    return {
        "model": _module(trained, trained.state, device),
        "initial_model": _module(trained, trained.initial_state, device),
        **_samples(trained, device),
        "recipe": run.recipe,
        "recipe_name": recipe_name,
        "task_name": run.task.name,
        "n": run.n,
        "seed": run.seed,
        "steps": trained.record.steps,
        "train_loss": trained.record.train_loss,
        "train_error": trained.record.train_error,
        "rng": generator,
    }


def _samples(trained: TrainedRun, device: torch.device) -> dict[str, torch.Tensor]:
    if "inputs" in trained.unknown:
        nothing = torch.empty(0, device=device)
        return {"inputs": nothing, "labels": nothing}
    data, rows = trained.run.task.data, trained.run.rows()
    return {
        "inputs": torch.from_numpy(data.train_inputs[rows]).to(device, dtype_of(trained)),
        "labels": torch.from_numpy(data.train_labels[rows]).to(device),
    }


def _module(trained: TrainedRun, state: NetworkState, device: torch.device) -> torch.nn.Module:
    network = trained.run.build_network()
    try:
        state.load_into(network.to(dtype_of(trained)))
    except ValueError as error:
        raise TrainingError(
            f"{trained.run}: its architecture's function builds another network than the one that "
            f"was trained ({error}); what a function builds may depend on nothing but its arguments"
        ) from error
    return network.to(device).eval()


def _copy(model: torch.nn.Module) -> torch.nn.Module:
    # otherwise copies of what torch.jit has made would have a graph behind them
    with torch.no_grad():
        copied = copy.deepcopy(model)
    for own, other in zip(model.parameters(), copied.parameters(), strict=True):
        other.requires_grad_(own.requires_grad)
    return copied


def drawn_seed(seed: int, draw: int) -> int:
    """Return what a network's randomness derives from at another draw than its own."""
    return derive_seed("draw", seed, draw)


def dtype_of(trained: TrainedRun) -> torch.dtype:
    """Return the dtype of a trained run's weights, and of the inputs it was trained on."""
    return _dtype(trained.weights.values())


def _dtype(weights: Iterable[torch.Tensor]) -> torch.dtype:
    # a parameter that is not trained may be a whole number
    return next(each.dtype for each in weights if each.is_floating_point())
