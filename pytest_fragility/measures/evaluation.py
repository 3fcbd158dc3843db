"""Calling a measure on a network, and holding it to its word: one real number, nothing changed."""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from pytest_fragility.durations import MEASURES, spent_on
from pytest_fragility.errors import MeasureError, UndefinedMeasureError
from pytest_fragility.families import Family
from pytest_fragility.measures.adapters import as_measure, call_form
from pytest_fragility.measures.measure import Measure, is_oracle
from pytest_fragility.measures.side_by_side import one_thread_each
from pytest_fragility.measures.stacked import StackMeasure
from pytest_fragility.network_stacks import NetworkStack
from pytest_fragility.quoting import error_text, shown
from pytest_fragility.runs import TrainedRun
from pytest_fragility.trained_networks import TrainedNetwork

SHOWN = 60


def evaluate(
    measure: Measure,
    name: str,
    family: Family,
    recipe: str,
    *,
    scale: str = "log",
    sizes: Sequence[int] | None = None,
    draw: int = 0,
) -> np.ndarray:
    """Return a measure's values under one recipe: shape (sizes, seeds), float64.

    Parameters
    ----------
    measure
        Called once per network, each time on a copy of its own; a `StackMeasure` once per size, on
        all seeds' networks together.
    name
        What error messages call it.
    family
        Where the networks come from.
    recipe
        The recipe's name.
    scale
        ``"log"`` demands positive values, ``"linear"`` finite ones.
    sizes
        Some of the family's; None takes all.
    draw
        Which random numbers a measure gets that draws some; an audit takes the first, 0.

    Raises
    ------
    MeasureError
        If the measure raises, or returns anything but one usable real number; the run is named.
    """
    chosen = family.sizes if sizes is None else sizes
    asked = spent_on(MEASURES, name, len(chosen) * len(family.seeds))
    with asked, torch.inference_mode(False), torch.enable_grad():
        if isinstance(measure, StackMeasure):
            rows = [_evaluate_stack(measure, name, family, recipe, n, scale, draw) for n in chosen]
        else:
            rows = [
                _evaluate_each(as_measure(measure), name, family, recipe, n, scale, draw)
                for n in chosen
            ]
    return np.array(rows)


def _evaluate_stack(
    measure: StackMeasure, name: str, family: Family, recipe: str, n: int, scale: str, draw: int
) -> list[float]:
    """Return one value per seed from one call for all of them."""
    stack = family.stack(recipe, n).with_draw(draw)
    before = _versions(stack)
    try:
        with one_thread_each(stack):
            values: list[float] = measure.over_stack(stack).tolist()
    except UndefinedMeasureError as error:
        raise MeasureError(
            f"measure {name} on {family.describe(recipe, n, family.seeds[error.place])}: {error}"
        ) from None
    except Exception as error:
        raise MeasureError(
            f"measure {name} on {family.describe(recipe, n, *family.seeds)}: "
            f"raised {error_text(error)}"
        ) from error
    changed = [part for part, version in _versions(stack).items() if version != before[part]]
    if changed:
        raise MeasureError(
            f"measure {name} on {family.describe(recipe, n, *family.seeds)}: changed the stack it "
            f"was handed ({changed[0]}), which other measures share; clone what is to change"
        )
    for value, seed in zip(values, family.seeds, strict=True):
        require_usable(value, f"measure {name} on {family.describe(recipe, n, seed)}", scale)
    return values


def _versions(stack: NetworkStack) -> dict[str, int]:
    """Return how often each tensor of a stack was changed in place, as torch counts."""
    parts = ("weights", "initial_weights", "buffers", "initial_buffers")
    return {
        f"{part}, {name}": tensor._version
        for part in parts
        for name, tensor in getattr(stack, part).items()
    }


def _evaluate_each(
    measure: Measure, name: str, family: Family, recipe: str, n: int, scale: str, draw: int
) -> list[float]:
    """Return one value per seed, each from a call on a copy of its network."""
    values = []
    for seed in family.seeds:
        network = (
            family.oracle_network(recipe, n, seed)
            if is_oracle(measure)
            else family[family.task.name, recipe, n, seed]
        )
        original = family.trained_run(recipe, n, seed)
        asked = network.with_draw(draw)
        values.append(_evaluate_one(measure, name, asked, original, scale))
    return values


def _evaluate_one(
    measure: Measure, name: str, network: TrainedNetwork, original: TrainedRun, scale: str
) -> float:
    where = f"measure {name} on {network}"
    if call_form(measure):
        where += f", called with {call_form(measure)}"
    try:
        value = measure(network)
    except UndefinedMeasureError as error:
        raise MeasureError(f"{where}: {error}") from None
    except Exception as error:
        raise MeasureError(f"{where}: raised {error_text(error)}") from error
    changed = _changed_part(network, original)
    if changed:
        raise MeasureError(
            f"{where}: changed the network it was handed ({changed}). It was a copy, so no "
            "harm is done, but a measure only reads: work on copy.deepcopy(network.model)"
        )
    number = as_number(value, where)
    require_usable(number, where, scale)
    return number


def _changed_part(network: TrainedNetwork, original: TrainedRun) -> str | None:
    """Return what of a network differs from what was trained, in words; None where nothing does."""
    for part in ("inputs", "labels"):
        # torch counts in-place changes, which spares a comparison with a copy of all samples
        if getattr(network, part)._version:
            return part
    models = (
        ("model", network.model, original.weights),
        ("initial_model", network.initial_model, original.initial_weights),
    )
    for name, model, weights in models:
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


def as_number(value: Any, where: str) -> float:
    """Return what a measure returned as a float.

    Parameters
    ----------
    value
        A real number, a NumPy scalar, or an array or tensor without dimensions.
    where
        What error messages begin with.

    Raises
    ------
    MeasureError
        If it is anything else.
    """
    if isinstance(value, torch.Tensor):
        if value.is_meta:
            raise MeasureError(f"{where}: returned a tensor on the meta device, which has no value")
        if value.dim() != 0:
            raise MeasureError(
                f"{where}: returned a tensor of shape {tuple(value.shape)}, expected one number; "
                "reduce it, for instance by .sum() or .mean()"
            )
        value = value.item()
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value.item()
    is_real = isinstance(value, numbers.Real | np.floating | np.integer)
    if not is_real or isinstance(value, bool | np.bool_):
        kind = type(value).__name__
        shape = f" of shape {value.shape}" if isinstance(value, np.ndarray) else ""
        raise MeasureError(
            f"{where}: returned {kind}{shape} ({shown(value, SHOWN)}), expected one real number "
            "(float, NumPy scalar or tensor without dimensions)"
        )
    try:
        return float(value)
    except OverflowError:
        raise MeasureError(
            f"{where}: returned {shown(value, SHOWN)}, which is too large for a float"
        ) from None


def require_usable(number: float, where: str, scale: str) -> None:
    """Raise a MeasureError where a number is not finite, or has no logarithm where it needs one."""
    if math.isnan(number) or math.isinf(number):
        raise MeasureError(
            f"{where}: returned {number}, expected a finite number; "
            "nothing is left out silently, so that one such value ends the audit"
        )
    if scale == "log" and number <= 0:
        raise MeasureError(
            f"{where}: returned {number:g}, which has no logarithm; exponents need positive "
            "values. Exponentiate a measure that is a logarithm, or ask for scale='linear', "
            "which leaves exponent, spread, stopping and complexity out"
        )
