"""Measures in the shapes that their authors have them: arguments filled by name."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pytest_fragility.errors import SettingsError
from pytest_fragility.measures.measure import Measure
from pytest_fragility.measures.stacked import StackMeasure

if TYPE_CHECKING:
    from pytest_fragility.trained_networks import TrainedNetwork

BATCH_SIZE = 256
CALL_ATTRIBUTE = "called_with"


def _dataloader(network: TrainedNetwork) -> Any:
    """Return the training samples in batches of 256, in order; global randomness is not used."""
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    from pytest_fragility.randomness import derive_seed

    generator = torch.Generator()
    generator.manual_seed(derive_seed("dataloader", network.rng.initial_seed()))
    samples = TensorDataset(network.inputs, network.labels)
    return DataLoader(samples, batch_size=BATCH_SIZE, generator=generator)


SOURCES: dict[str, Callable[[TrainedNetwork], Any]] = {
    "network": lambda network: network,
    "model": lambda network: network.model,
    "initial_model": lambda network: network.initial_model,
    "dataloader": _dataloader,
    "inputs": lambda network: network.inputs,
    "labels": lambda network: network.labels,
    "accuracy": lambda network: 1.0 - network.train_error,
    "train_loss": lambda network: network.train_loss,
    "train_error": lambda network: network.train_error,
    "n": lambda network: network.n,
    "seed": lambda network: network.seed,
    "recipe": lambda network: network.recipe,
    "rng": lambda network: network.rng,
}
SYNONYMS = {
    "init_model": "initial_model",
    "model_init": "initial_model",
    "data_loader": "dataloader",
    "train_loader": "dataloader",
    "trainloader": "dataloader",
    "loader": "dataloader",
    "acc": "accuracy",
    "train_accuracy": "accuracy",
    "train_acc": "accuracy",
    "targets": "labels",
    "generator": "rng",
}


def adapt(measure: Measure, **arguments: str) -> Measure:
    """Return a measure of one `TrainedNetwork` from a function of other arguments.

    The audit does this by itself where the names of a function's required arguments say what they
    are; this is for functions whose names do not.

    Parameters
    ----------
    measure
        A function such as ``f(net, loader)``.
    **arguments
        What to pass for which argument: ``adapt(f, net="model", x="inputs")``. One of ``network``,
        ``model``, ``initial_model``, ``dataloader`` (batches of 256 training samples, in order),
        ``inputs``, ``labels``, ``accuracy`` (train accuracy), ``train_loss``, ``train_error``,
        ``n``, ``seed``, ``recipe`` and ``rng``. Other required arguments go by their names.

    Raises
    ------
    SettingsError
        If a source or an argument is unknown.
    """
    unknown = [source for source in arguments.values() if source not in SOURCES]
    if unknown:
        raise SettingsError(f"adapt: {unknown[0]!r} is none of {', '.join(SOURCES)}")
    required = _required_arguments(measure) or []
    accepted = _accepted_arguments(measure)
    foreign = [name for name in arguments if accepted is not None and name not in accepted]
    if foreign:
        raise SettingsError(
            f"adapt: {_called(measure)} takes no argument {foreign[0]!r}; it takes "
            f"{', '.join(accepted or [])}"
        )
    plan = {name: arguments.get(name) or _source_of(name, measure) for name in required}
    return _filled(measure, {**plan, **arguments})


def as_measure(measure: Measure) -> Measure:
    """Return a function of one `TrainedNetwork`, whatever arguments the given one takes.

    A function of one required argument gets the network, unless that argument is called
    ``model``; one of several gets each by its name. Arguments with defaults keep them.

    Raises
    ------
    SettingsError
        If a required argument's name says nothing.
    """
    if isinstance(measure, StackMeasure) or hasattr(measure, CALL_ATTRIBUTE):
        return measure
    required = _required_arguments(measure)
    if required is None or (len(required) == 1 and not _is_the_module(measure, required[0])):
        return measure
    if not required:
        raise SettingsError(
            f"measure {_called(measure)} has no required argument: expected a function of one "
            "TrainedNetwork, or of arguments such as model and dataloader"
        )
    return _filled(measure, {name: _source_of(name, measure) for name in required})


def _is_the_module(measure: Measure, argument: str) -> bool:
    """Tell ``f(model)`` from a function of the network; an annotation has the last word."""
    annotation = str(inspect.signature(measure).parameters[argument].annotation)
    return argument == "model" and "Network" not in annotation


def _source_of(argument: str, measure: Measure) -> str:
    source = SYNONYMS.get(argument, argument)
    if source not in SOURCES:
        raise SettingsError(
            f"measure {_called(measure)}: cannot tell what to pass for {argument!r}. Known names "
            f"are {', '.join([*SOURCES, *SYNONYMS])}; or say it: "
            f"adapt({_called(measure)}, {argument}='inputs')"
        )
    return source


def _filled(measure: Measure, plan: dict[str, str]) -> Measure:
    @functools.wraps(measure)
    def filled(network: TrainedNetwork) -> Any:
        return measure(**{name: SOURCES[source](network) for name, source in plan.items()})

    setattr(filled, CALL_ATTRIBUTE, dict(plan))
    return filled


def call_form(measure: Measure) -> str:
    """Return how a measure is called where that is not with a network, such as ``f(model)``."""
    plan: dict[str, str] | None = getattr(measure, CALL_ATTRIBUTE, None)
    if plan is None:
        return ""
    return ", ".join(f"{name}={source}" for name, source in plan.items())


def _required_arguments(measure: Measure) -> list[str] | None:
    """Return the arguments without default; None where they cannot be told, or go by place."""
    try:
        parameters = inspect.signature(measure).parameters.values()
    except (TypeError, ValueError):
        return None
    if any(each.kind is inspect.Parameter.POSITIONAL_ONLY for each in parameters):
        return None
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    if any(each.kind is inspect.Parameter.VAR_POSITIONAL for each in parameters):
        return None
    return [
        each.name
        for each in parameters
        if each.kind not in variable and each.default is inspect.Parameter.empty
    ]


def _accepted_arguments(measure: Measure) -> list[str] | None:
    """Return all names that a function takes; None where it takes any."""
    parameters = inspect.signature(measure).parameters.values()
    if any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters):
        return None
    return [each.name for each in parameters]


def _called(measure: Measure) -> str:
    return str(getattr(measure, "__name__", type(measure).__name__))
