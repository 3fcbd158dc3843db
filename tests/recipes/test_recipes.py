"""Recipes: validation, identity and description."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable

import pytest

from pytest_fragility.errors import SettingsError
from pytest_fragility.recipes import (
    MLP,
    SGD,
    Adam,
    AdamW,
    Optimizer,
    Recipe,
    RMSprop,
    ScaleInvariantMLP,
    Schedule,
    StoppingRule,
    cosine,
    cross_entropy_below,
    describe_optimizer,
    exponential,
    fixed_steps,
    full_train_accuracy,
    step_decay,
)
from tests.tables import each

DIFFERENT: list[Recipe] = [
    Recipe(),
    Recipe(architecture=MLP(hidden=(64,))),
    Recipe(architecture=MLP(hidden=())),
    Recipe(architecture=ScaleInvariantMLP()),
    Recipe(architecture=ScaleInvariantMLP(hidden=(64,))),
    Recipe(optimizer=SGD(lr=0.1)),
    Recipe(optimizer=SGD(momentum=0.9)),
    Recipe(optimizer=SGD(momentum=0.9, nesterov=True)),
    Recipe(optimizer=SGD(weight_decay=0.01)),
    Recipe(optimizer=SGD(weight_decay=0.01, decoupled=True)),
    Recipe(optimizer=Adam()),
    Recipe(optimizer=Adam(weight_decay=0.01)),
    Recipe(optimizer=Adam(betas=(0.8, 0.999))),
    Recipe(optimizer=Adam(eps=1e-7)),
    Recipe(optimizer=AdamW()),
    Recipe(optimizer=RMSprop()),
    Recipe(optimizer=RMSprop(alpha=0.9)),
    Recipe(batch_size=32),
    Recipe(schedule=cosine(100)),
    Recipe(schedule=step_decay(100)),
    Recipe(schedule=step_decay(100, factor=0.1)),
    Recipe(schedule=exponential(100, factor=0.1)),
    Recipe(schedule=exponential(100, factor=0.1000000001)),
    Recipe(schedule=Schedule(warmup=100)),
    Recipe(initialization="glorot-uniform"),
    Recipe(initialization_scale=2.0),
    Recipe(label_smoothing=0.1),
    Recipe(gradient_clipping=1.0),
    Recipe(sample_order=1),
    Recipe(precision="float64"),
    Recipe(stopping=cross_entropy_below(0.1).with_overtime(2)),
    Recipe(stopping=cross_entropy_below(0.2)),
    Recipe(stopping=cross_entropy_below(0.1, step_limit=30)),
    Recipe(stopping=full_train_accuracy()),
    Recipe(stopping=fixed_steps(30)),
]


@each(
    ("build", "message"),
    [
        (lambda: SGD(lr=0), r"SGD\.lr=0: expected a positive number"),
        (lambda: SGD(lr=float("nan")), r"SGD\.lr=nan: expected a positive number"),
        (lambda: SGD(lr=float("inf")), r"SGD\.lr=inf: expected a positive number"),
        (lambda: SGD(momentum=1.0), r"SGD\.momentum=1\.0: expected a number in \[0, 1\)"),
        (lambda: SGD(momentum=-0.1), r"SGD\.momentum=-0\.1"),
        (lambda: SGD(weight_decay=-1), r"SGD\.weight_decay=-1: expected zero or more"),
        (lambda: SGD(nesterov=True), r"SGD\.nesterov=True needs momentum > 0"),
        (lambda: SGD(nesterov=1, momentum=0.9), r"SGD\.nesterov=1: expected True or False"),  # type: ignore[arg-type]
        (lambda: SGD(decoupled=True), r"SGD\.decoupled=True needs weight_decay > 0"),
        (lambda: Adam(lr=-0.5), r"Adam\.lr=-0\.5"),
        (lambda: Adam(eps=0), r"Adam\.eps=0: expected a positive number"),
        (lambda: Adam(betas=(0.9, 1.0)), r"Adam\.betas=\(0\.9, 1\.0\): expected two numbers"),
        (lambda: Adam(betas=(0.9,)), r"Adam\.betas=\(0\.9,\)"),  # type: ignore[arg-type]
        (lambda: Adam(weight_decay=-1), r"Adam\.weight_decay=-1"),
        (lambda: AdamW(lr=0), r"AdamW\.lr=0"),
        (lambda: AdamW(weight_decay=-1), r"AdamW\.weight_decay=-1"),
        (lambda: RMSprop(lr=0), r"RMSprop\.lr=0"),
        (lambda: RMSprop(alpha=1), r"RMSprop\.alpha=1"),
        (lambda: RMSprop(eps=-1), r"RMSprop\.eps=-1"),
        (lambda: RMSprop(weight_decay=-1), r"RMSprop\.weight_decay=-1"),
        (lambda: StoppingRule(kind="mood"), r"StoppingRule\.kind='mood': expected one of"),
        (lambda: StoppingRule(kind="accuracy", target=1.1), r"target=1\.1: expected an accuracy"),
        (
            lambda: StoppingRule(kind="steps", target=0.5),
            r"target=0\.5: fixed steps have no target",
        ),
        (lambda: cross_entropy_below(0), r"StoppingRule\.target=0: expected a positive number"),
        (lambda: fixed_steps(0), r"StoppingRule\.step_limit=0: expected a whole number"),
        (lambda: MLP(hidden=(8, 0)), r"MLP\.hidden=\(8, 0\): expected a tuple of positive"),
        (lambda: MLP(hidden=(8.5,)), r"MLP\.hidden=\(8\.5,\)"),  # type: ignore[arg-type]
        (lambda: Recipe(batch_size=0), r"Recipe\.batch_size=0: expected a whole number"),
        (lambda: Recipe(initialization_scale=0), r"Recipe\.initialization_scale=0"),
        (lambda: Recipe().replace(batch_size=-4), r"Recipe\.batch_size=-4"),
        (lambda: Recipe(initialization="warm"), r"\.initialization='warm': expected one of he-nor"),
        (lambda: Recipe(label_smoothing=1.0), r"Recipe\.label_smoothing=1\.0: expected a number"),
        (lambda: Recipe(label_smoothing=-0.1), r"Recipe\.label_smoothing=-0\.1"),
        (lambda: Recipe(gradient_clipping=0), r"\.gradient_clipping=0: expected None or positive"),
        (lambda: Recipe(gradient_clipping=float("inf")), r"Recipe\.gradient_clipping=inf"),
        (
            lambda: Recipe(sample_order=-1),
            r"Recipe\.sample_order=-1: expected a whole number, zero",
        ),
        (lambda: Recipe(sample_order=0.5), r"\.sample_order=0\.5"),  # type: ignore[arg-type]
        (lambda: Recipe(precision="float16"), r"Recipe\.precision='float16': expected one of flo"),
        (lambda: Recipe(schedule=0.9), r"\.schedule=0\.9: expected Sch"),  # type: ignore[arg-type]
        (lambda: Recipe(optimizer="sgd"), r"Recipe\.optimizer='sgd'"),  # type: ignore[arg-type]
        (lambda: Recipe(architecture=8), r"\.architecture=8: expected an arch"),  # type: ignore[arg-type]
        (lambda: Recipe(stopping=100), r"Recipe\.stopping=100: expected"),  # type: ignore[arg-type]
        (
            lambda: StoppingRule(overtime=0.5),
            r"StoppingRule\.overtime=0\.5: expected a number from 1 to 10,000",
        ),
        (lambda: fixed_steps(5).with_overtime(0), r"StoppingRule\.overtime=0"),
        (lambda: fixed_steps(5).with_overtime(float("inf")), r"StoppingRule\.overtime=inf"),
    ],
)
def test_values_out_of_range_are_named(build: Callable[[], object], message: str) -> None:
    """The error names the setting, the value and what was expected."""
    with pytest.raises(SettingsError, match=message):
        build()


def test_defaults_are_torchs_own() -> None:
    """Optimizers' hyperparameters default to what torch.optim documents; SGD's rate is ours."""
    assert dataclasses.asdict(Adam()) == {
        "lr": 1e-3,
        "betas": (0.9, 0.999),
        "eps": 1e-8,
        "weight_decay": 0,
    }
    assert AdamW().weight_decay == 0.01
    assert dataclasses.asdict(RMSprop()) == {
        "lr": 1e-3,
        "alpha": 0.99,
        "eps": 1e-8,
        "weight_decay": 0,
    }


@each("recipe", DIFFERENT)
def test_dicts_are_plain_json(recipe: Recipe) -> None:
    """A recipe survives a way through JSON, and a recipe built again has the same dict."""
    found = recipe.to_dict()
    assert json.loads(json.dumps(found)) == found
    again = dataclasses.replace(recipe)
    assert again == recipe and again is not recipe
    assert again.to_dict() == found


def test_different_recipes_have_different_dicts_and_descriptions() -> None:
    """Whatever decides a training shows in the dict."""
    dicts = {json.dumps(recipe.to_dict(), sort_keys=True) for recipe in DIFFERENT}
    assert len(dicts) == len(DIFFERENT) == len(set(DIFFERENT))


def test_a_dict_can_be_changed_without_harm() -> None:
    """The recipe hands out copies."""
    recipe = Recipe(optimizer=Adam())
    recipe.to_dict()["optimizer"]["betas"].append(0.5)
    assert recipe.to_dict()["optimizer"]["betas"] == [0.9, 0.999]


def test_replace_returns_another_recipe() -> None:
    """The recipe itself stays as it is, what it has said of itself before included."""
    recipe = Recipe()
    before = recipe.to_dict()
    changed = recipe.replace(batch_size=64)
    assert changed.batch_size == changed.to_dict()["batch_size"] == 64
    assert recipe.to_dict() == before == Recipe().to_dict()


@each(
    ("recipe", "text"),
    [
        (Recipe(), "mlp 64-64, sgd lr=0.05, batch 16, stop at train cross-entropy < 0.1"),
        (
            Recipe(
                architecture=MLP(hidden=()),
                optimizer=SGD(momentum=0.9, weight_decay=0.01),
                initialization_scale=0.5,
                stopping=fixed_steps(30),
            ),
            "linear, sgd lr=0.05 momentum=0.9 weight_decay=0.01, batch 16, initialization x0.5, "
            "stop at 30 steps",
        ),
        (
            Recipe(optimizer=AdamW(), batch_size=4, stopping=full_train_accuracy()),
            "mlp 64-64, adamw lr=0.001 weight_decay=0.01, batch 4, stop at 100 % train accuracy",
        ),
        (
            Recipe(
                architecture=ScaleInvariantMLP(hidden=(32, 16)),
                optimizer=SGD(weight_decay=0.01, decoupled=True),
                schedule=cosine(500),
                initialization="orthogonal",
                initialization_scale=2.0,
                label_smoothing=0.1,
                gradient_clipping=0.5,
                sample_order=3,
                precision="float64",
                stopping=cross_entropy_below(0.01).with_overtime(4),
            ),
            "scale-invariant mlp 32-16, sgd lr=0.05 decoupled_weight_decay=0.01, "
            "cosine to x0.1 in 500 steps, batch 16, initialization orthogonal, initialization x2, "
            "label smoothing 0.1, gradients clipped at 0.5, sample order 3, float64, "
            "stop at train cross-entropy < 0.01 and on to x4 the steps",
        ),
    ],
)
def test_descriptions(recipe: Recipe, text: str) -> None:
    """A recipe reads as a person would write it."""
    assert str(recipe) == text


@each(
    ("optimizer", "text"),
    [
        (SGD(lr=0.5, momentum=0.9, nesterov=True), "sgd lr=0.5 nesterov=0.9"),
        (Adam(lr=0.01), "adam lr=0.01"),
        (RMSprop(weight_decay=5e-4), "rmsprop lr=0.001 weight_decay=0.0005"),
    ],
)
def test_optimizer_descriptions(optimizer: Optimizer, text: str) -> None:
    """Only what is switched on is mentioned."""
    assert describe_optimizer(optimizer) == text
