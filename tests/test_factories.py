"""Architectures of one's own: what they are called with, and what tells two of them apart."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import textwrap
import types
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from pytest_fragility.errors import SettingsError
from pytest_fragility.perturbations import get_perturbation
from pytest_fragility.recipes import MLP, OWN, Factory, Recipe
from tests.sample_architectures import Encoder, Tied

CODE = """
import torch
from torch import nn
WIDTH = 16
SCALES = {"a": (1, 2.0)}

def helper(width):
    return nn.Linear(width, WIDTH)

class Base(nn.Module):
    gain = 1.5

class Net(Base):
    def __init__(self, input_shape, classes, power=2):
        super().__init__()
        self.first = helper(input_shape[0])
        self.power = power
    def forward(self, inputs):
        return self.first(inputs) ** self.power * self.gain * SCALES["a"][1]
"""


def fingerprint(code: str = CODE, name: str = "Net", **changes: Any) -> str:
    """Return the fingerprint of something that is defined by code."""
    module = types.ModuleType("user_code")
    sys.modules["user_code"] = module
    exec(code, vars(module))
    vars(module).update(changes)
    return Factory(vars(module)[name]).fingerprint


def test_the_same_code_is_the_same_architecture() -> None:
    """Wherever it stands, and whatever is said about it."""
    commented = CODE.replace("    gain", "\n    # how much\n    gain")
    commented = commented.replace("(width):", "( width ):")
    assert fingerprint() == fingerprint() == fingerprint(commented)
    assert fingerprint("import os\n\n\n" + CODE) == fingerprint()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("WIDTH = 16", "WIDTH = 17"),
        ("nn.Linear(width, WIDTH)", "nn.Linear(width, WIDTH, bias=False)"),
        ("gain = 1.5", "gain = 1.6"),
        ("power=2", "power=3"),
        ("** self.power", "* self.power"),
        ("(1, 2.0)", "(1, 2.5)"),
        ("class Net(Base)", "class Net(nn.Module)"),
        ("self.first(inputs)", "self.first(-inputs)"),
    ],
)
def test_another_function_is_another_architecture(old: str, new: str) -> None:
    """In what it refers to, its base classes, constants and defaults as well."""
    assert old in CODE
    assert fingerprint(CODE.replace(old, new)) != fingerprint()


def test_what_is_bound_counts() -> None:
    """Arguments of partials, and what a function closes over."""

    def closing(width: int) -> Factory:
        return Factory(lambda: nn.Linear(width, 2), name="same")

    assert closing(3) == closing(3)
    assert closing(3) != closing(4)
    partials = [Factory(functools.partial(nn.Linear, 3, out)) for out in (2, 2, 5)]
    assert partials[0] == partials[1] != partials[2]
    tensors = [torch.zeros(2), torch.zeros(2), torch.ones(2)]
    held = [Factory(lambda t=t: nn.Linear(len(t), 2), name="same") for t in tensors]
    assert held[0] == held[1] != held[2]
    assert len({hash(each) for each in partials}) == 2


def test_what_is_bound_later_is_no_error() -> None:
    """A closure may still be empty where the architecture is made."""

    def make() -> Factory:
        def build() -> nn.Module:
            return later()

        factory = Factory(build)

        def later() -> nn.Module:
            return nn.Linear(3, 2)

        assert isinstance(factory.make((3,), 2), nn.Linear)
        return factory

    assert make() == make()


def test_fingerprints_are_the_same_in_every_process(tmp_path: Path) -> None:
    """They do not depend on how Python orders its sets."""
    script = tmp_path / "script.py"
    tail = """
    names = {"one", "two", "three", "four"}
    def build():
        return Net((len(names),), 2) if "five" in {"five", "six", "seven"} else None
    from pytest_fragility.recipes import Factory
    print(Factory(build).fingerprint)
    # a process with torch in it takes a second to end, in which it is searched for garbage
    import gc
    gc.freeze()
    """
    script.write_text(CODE + textwrap.dedent(tail), encoding="utf-8")
    found = {
        subprocess.run(
            [sys.executable, str(script)],
            env={
                **os.environ,
                "PYTHONHASHSEED": str(seed),
                "PYTHONPATH": os.pathsep.join(sys.path),
            },
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in (1, 2, 3)
    }
    assert len(found) == 1


def test_a_version_stands_for_the_code() -> None:
    """Where it is given, the code may change."""
    one, other = (Factory(build, name="net", version="3") for build in (Encoder, Tied))
    assert one == other
    assert one != Factory(Encoder, name="net", version="4")


def test_what_cannot_be_told_apart_is_an_error() -> None:
    """It says what to do."""
    generator = (number for number in range(3))
    with pytest.raises(SettingsError, match=r"generator object .* version of its own"):
        hash(Factory(lambda: nn.Linear(next(generator), 2)))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (nn.Linear(2, 3), "a Linear is one network, .* a function that returns a new one"),
        (3, r"build=3: expected a function"),
        (lambda width: nn.Linear(width, 3), r"needs 'width'; .* input_shape and classes"),
        (lambda classes, /: nn.Linear(2, classes), r"needs 'classes'; .* by name"),
    ],
)
def test_what_is_no_factory_is_named(build: Any, message: str) -> None:
    """With what was expected."""
    with pytest.raises(SettingsError, match=message):
        Factory(build)


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (lambda: {}, {}),
        (lambda classes: {"classes": classes}, {"classes": 5}),
        (lambda classes, input_shape: (classes, input_shape), (5, (2, 3))),
        (lambda input_shape=None: input_shape, (2, 3)),
        (lambda *_, **__: "nothing", "nothing"),
    ],
)
def test_functions_get_what_they_have_parameters_for(build: Any, expected: Any) -> None:
    """By name, in any order, optional ones too."""
    assert Factory(build).make((2, 3), 5) == expected


def test_a_recipe_takes_a_function() -> None:
    """It starts as it is built, and says what it is; the rest of the recipe stays."""
    recipe = Recipe(architecture=Encoder, batch_size=4)  # type: ignore[arg-type]
    assert recipe.architecture == Factory(Encoder)
    assert recipe.initialization == OWN
    assert str(recipe).startswith("Encoder, sgd")
    assert recipe.to_dict()["architecture"]["fingerprint"] == Factory(Encoder).fingerprint
    assert hash(recipe) == hash(Recipe(architecture=Factory(Encoder), batch_size=4))
    other = recipe.replace(architecture=MLP())
    assert other == Recipe(batch_size=4)
    assert other.replace(architecture=Factory(Encoder)) == recipe
    drawn = recipe.replace(initialization="orthogonal")
    assert drawn.replace(architecture=MLP()).initialization == "orthogonal"
    with pytest.raises(SettingsError, match=r"initialization='own': expected one of he-normal"):
        Recipe(initialization=OWN)


def test_unknown_names_of_architectures_list_the_known() -> None:
    """And say what else may be given."""
    with pytest.raises(SettingsError, match=r"'rnn': .* mlp, cnn, resnet, vit, scale_invariant"):
        Recipe(architecture="rnn")  # type: ignore[arg-type]


def test_width_and_depth_leave_a_factory_as_it_is() -> None:
    """Nobody knows what its hidden layers are."""
    recipe = Recipe(architecture=Factory(Encoder))
    for name in ("width-x2", "depth-plus-1"):
        assert get_perturbation(name)(recipe) == recipe
