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
    from pytest_fragility.networks.trained_network import TrainedNetwork

BATCH_SIZE = 256
CALL_ATTRIBUTE = "called_with"


def _dataloader(network: TrainedNetwork) -> Any:
    """Return the training samples in batches of 256, in order; global randomness is not used."""
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    from pytest_fragility._util.seeds import derive_seed

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
    parameters = _parameters(measure)
    if parameters is None:
        raise SettingsError(
            f"adapt: {_called(measure)} does not say which arguments it takes; wrap it in a "
            "function that does"
        )
    names = [each.name for each in parameters]
    foreign = [name for name in arguments if name not in names]
    if foreign and not any(each.kind is each.VAR_KEYWORD for each in parameters):
        raise SettingsError(
            f"adapt: {_called(measure)} takes no argument {foreign[0]!r}; it takes "
            f"{', '.join(names)}"
        )
    plan = {
        each.name: arguments.get(each.name) or _source_of(each.name, measure)
        for each in _required(parameters)
    }
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
    parameters = _parameters(measure)
    if parameters is None:
        return measure
    required = _required(parameters)
    if not required and any(each.kind is each.VAR_POSITIONAL for each in parameters):
        return measure
    if not required:
        raise SettingsError(
            f"measure {_called(measure)} has no required argument: expected a function of one "
            "TrainedNetwork, or of arguments such as model and dataloader"
        )
    if len(required) == 1 and not _is_the_module(required[0]):
        by_name = required[0].kind is inspect.Parameter.KEYWORD_ONLY
        return _filled(measure, {required[0].name: "network"}) if by_name else measure
    return _filled(measure, {each.name: _source_of(each.name, measure) for each in required})


def _is_the_module(parameter: inspect.Parameter) -> bool:
    """Tell ``f(model)`` from a function of the network; an annotation has the last word."""
    annotation = parameter.annotation
    name = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
    is_network = name.rpartition(".")[2] in ("TrainedNetwork", "OracleNetwork")
    return parameter.name == "model" and not is_network


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
    parameters = _parameters(measure) or []
    by_place = [each.name for each in parameters if each.kind is each.POSITIONAL_ONLY]

    @functools.wraps(measure)
    def filled(network: TrainedNetwork) -> Any:
        values = {name: SOURCES[source](network) for name, source in plan.items()}
        first = [values.pop(name) for name in by_place if name in values]
        return measure(*first, **values)

    # what has no name of its own is not to be called "filled"
    setattr(filled, "__name__", getattr(measure, "__name__", None) or "<unnamed>")  # noqa: B010
    setattr(filled, CALL_ATTRIBUTE, dict(plan))
    return filled


def call_form(measure: Measure) -> str:
    """Return how a measure is called where that is not with a network, such as ``f(model)``."""
    plan: dict[str, str] | None = getattr(measure, CALL_ATTRIBUTE, None)
    if plan is None:
        return ""
    return ", ".join(f"{name}={source}" for name, source in plan.items())


def _parameters(measure: Measure) -> list[inspect.Parameter] | None:
    """Return a function's parameters; None where they cannot be told."""
    try:
        return list(inspect.signature(measure).parameters.values())
    except (TypeError, ValueError):
        return None


def _required(parameters: list[inspect.Parameter]) -> list[inspect.Parameter]:
    """Return those that have a name and no default."""
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [
        each
        for each in parameters
        if each.kind not in variable and each.default is inspect.Parameter.empty
    ]


def _called(measure: Measure) -> str:
    return str(getattr(measure, "__name__", type(measure).__name__))
