"""Recipes: validation, identity and description."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

from torch import nn

from pytest_fragility.errors import SettingsError
from pytest_fragility.recipes import (
    CNN,
    MLP,
    OWN,
    SGD,
    Adam,
    AdamW,
    Factory,
    Optimizer,
    Recipe,
    RMSprop,
    ScaleInvariantMLP,
    Schedule,
    StoppingRule,
    ViT,
    cosine,
    cross_entropy_below,
    describe_optimizer,
    exponential,
    fixed_steps,
    full_train_accuracy,
    step_decay,
)
from tests.in_turn import in_turn
from tests.tables import odd, sees


def changed(kind: type) -> Any:
    """Return a class of one's own, which does something else."""
    return type("Changed", (kind,), {"multiplier": lambda self, step: 0.0})


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


NAN, INF = float("nan"), float("inf")
HUGE, LARGE = 10**5000, 10**400
# a part of a recipe, what it is given, and what its error says behind the part's name
OUT_OF_RANGE: list[tuple[Callable[..., Any], dict[str, Any], str]] = [
    (SGD, {"lr": 0}, r"lr=0: expected a positive number"),
    (SGD, {"lr": NAN}, r"lr=nan: expected a positive number"),
    (SGD, {"lr": INF}, r"lr=inf: expected a positive number"),
    (SGD, {"lr": LARGE}, r"lr=10+\.\.\.: expected"),
    (SGD, {"lr": HUGE}, r"lr=<int that cannot be shown>: expected"),
    (SGD, {"lr": "0.1"}, r"lr='0.1': expected"),
    (SGD, {"lr": True}, r"lr=True: expected"),
    (SGD, {"momentum": 1.0}, r"momentum=1\.0: expected a number in \[0, 1\)"),
    (SGD, {"weight_decay": -1}, r"weight_decay=-1: expected zero or more"),
    (SGD, {"nesterov": True}, r"nesterov=True needs momentum > 0"),
    (SGD, {"nesterov": 1, "momentum": 0.9}, r"nesterov=1: expected True or False"),
    (SGD, {"decoupled": True}, r"decoupled=True needs weight_decay > 0"),
    (Adam, {"lr": -0.5}, r"lr=-0\.5"),
    (Adam, {"eps": 0}, r"eps=0: expected a positive number"),
    (Adam, {"betas": (0.9, 1.0)}, r"betas=\(0\.9, 1\.0\): expected two numbers"),
    (Adam, {"betas": (0.9, NAN)}, r"betas=.*: expected two numbers"),
    (Adam, {"betas": (0.9,)}, r"betas=\(0\.9,\)"),
    (Adam, {"betas": [0.9, 0.99]}, r"betas=.*: expected two numbers"),
    (Adam, {"weight_decay": -1}, r"weight_decay=-1"),
    (AdamW, {"weight_decay": -1}, r"weight_decay=-1"),
    (RMSprop, {"lr": 0}, r"lr=0"),
    (RMSprop, {"alpha": 1}, r"alpha=1"),
    (RMSprop, {"eps": -1}, r"eps=-1"),
    (RMSprop, {"weight_decay": -1}, r"weight_decay=-1"),
    (StoppingRule, {"kind": "mood"}, r"kind='mood': expected one of"),
    (StoppingRule, {"kind": "accuracy", "target": 1.1}, r"target=1\.1: expected an accuracy"),
    (StoppingRule, {"kind": "steps", "target": 0.5}, r"target=0\.5: fixed steps have no target"),
    (StoppingRule, {"target": NAN}, r"target=nan: expected"),
    (StoppingRule, {"step_limit": 0}, r"step_limit=0: expected a whole number"),
    (StoppingRule, {"step_limit": LARGE}, r"step_limit=10+\.\.\.: expected"),
    (StoppingRule, {"overtime": 0.5}, r"overtime=0\.5: expected a number from 1 to 10,000"),
    (StoppingRule, {"overtime": INF}, r"overtime=inf"),
    (fixed_steps(5).with_overtime, {"times": LARGE}, r"overtime=10+"),
    (Schedule, {"kind": "cosine", "steps": -1}, r"steps=-1: expected"),
    (Schedule, {"kind": "step", "factor": 1}, r"expected a factor other than 1"),
    (Schedule, {"factor": 2.0}, r"neither steps nor factor for a constant one"),
    (MLP, {"hidden": (8, 0)}, r"hidden=\(8, 0\): expected a tuple of positive"),
    (MLP, {"hidden": (8.5,)}, r"hidden=\(8\.5,\)"),
    (MLP, {"hidden": [64]}, r"hidden=\[64\]: expected a tuple"),
    (MLP, {"hidden": (10**30,)}, r"hidden=.*: expected a tuple"),
    (ScaleInvariantMLP, {"hidden": (2,)}, r"hidden=\(2,\): expected one layer or more"),
    (CNN, {"channels": ()}, r"channels=\(\): expected"),
    (CNN, {"kernel_size": 2}, r"kernel_size=2: expected an odd number"),
    (ViT, {"heads": 3}, r"width=32: expected a multiple of heads=3"),
    (Recipe, {"batch_size": 0}, r"batch_size=0: expected a whole number"),
    (Recipe, {"batch_size": 1.5}, r"batch_size=1.5: expected"),
    (Recipe, {"batch_size": HUGE}, r"batch_size=<int that cannot"),
    (Recipe().replace, {"batch_size": -4}, r"batch_size=-4"),
    (Recipe, {"initialization_scale": 0}, r"initialization_scale=0"),
    (Recipe, {"initialization": "warm"}, r"initialization='warm': expected one of he-nor"),
    (Recipe, {"initialization": OWN}, r"initialization='own': expected one of he-normal"),
    (Recipe, {"label_smoothing": 1.0}, r"label_smoothing=1\.0: expected a number"),
    (Recipe, {"gradient_clipping": 0}, r"gradient_clipping=0: expected None or positive"),
    (Recipe, {"gradient_clipping": NAN}, r"gradient_clipping=nan"),
    (Recipe, {"sample_order": -1}, r"sample_order=-1: expected a whole number, zero"),
    (Recipe, {"sample_order": 0.5}, r"sample_order=0\.5"),
    (Recipe, {"precision": "float16"}, r"precision='float16': expected one of flo"),
    (Recipe, {"schedule": 0.9}, r"schedule=0\.9: expected Sch"),
    (Recipe, {"optimizer": "sgd"}, r"optimizer='sgd'"),
    (Recipe, {"architecture": None}, r"architecture=None: expected an arch"),
    (Recipe, {"architecture": "rnn"}, r"'rnn': .* mlp, cnn, resnet, vit, scale_invariant"),
    (Recipe, {"stopping": 100}, r"stopping=100: expected"),
    # what their methods do would not be part of a run's identity
    (Recipe, {"optimizer": changed(SGD)()}, r"optimizer=Changed"),
    (Recipe, {"schedule": changed(Schedule)()}, r"schedule=Changed"),
    (Recipe, {"stopping": changed(StoppingRule)()}, r"stopping=Changed"),
    (Recipe, {"architecture": changed(MLP)()}, r"architecture=Changed"),
    (Recipe, {"architecture": changed(Factory)(nn.Identity)}, r"architecture=Factory\(Identity\)"),
    (Factory, {"build": nn.Linear(2, 3)}, r"a Linear is one network, .* returns a new one"),
    (Factory, {"build": 3}, r"build=3: expected a function"),
    (Factory, {"build": lambda width: None}, r"needs 'width'; .* input_shape and classes"),
    (Factory, {"build": lambda classes, /: None}, r"needs 'classes'; .* by name"),
    (Factory, {"build": nn.Identity, "version": 5}, r"version=5, expected a text"),
]


@in_turn(("kind", "fields", "message"), OUT_OF_RANGE)
def test_values_out_of_range_are_named(
    kind: Callable[..., Any], fields: dict[str, Any], message: str
) -> None:
    """The error names the part, the setting, the value and what was expected."""
    text = sees(SettingsError, message, lambda: kind(**fields))
    if isinstance(kind, type) and kind is not Factory:
        assert text.startswith(kind.__name__)


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


@in_turn("recipe", DIFFERENT)
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


def test_an_architecture_may_be_named() -> None:
    """With its defaults."""
    assert Recipe(architecture=odd("vit")) == Recipe(architecture=ViT())


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


@in_turn(
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
            Recipe(
                architecture=CNN(kernel_size=5, hidden=(9,)).with_width(0.5),
                optimizer=AdamW(),
                batch_size=4,
                stopping=full_train_accuracy(),
            ),
            "cnn 4-8 (5 x 5) mlp 4, adamw lr=0.001 weight_decay=0.01, batch 4, "
            "stop at 100 % train accuracy",
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


@in_turn(
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
