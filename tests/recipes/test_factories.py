"""Architectures of one's own: what they are called with, and what tells two of them apart."""

from __future__ import annotations

import collections
import dataclasses
import functools
import os
import re
import subprocess
import sys
import textwrap
import threading
import types
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import nn

from pytest_fragility._util.fingerprints import code_fingerprint
from pytest_fragility.errors import SettingsError
from pytest_fragility.families.plan import FamilyPlan
from pytest_fragility.families.train import train_families
from pytest_fragility.perturbations import get_perturbation
from pytest_fragility.recipes import (
    MLP,
    OWN,
    Factory,
    Recipe,
    fixed_steps,
)
from pytest_fragility.tasks import Task
from tests.in_turn import in_turn
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


@in_turn(
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


class Sized:
    """Makes networks; it says nothing of their size."""

    def __init__(self, width: int) -> None:
        self.width = width

    def __repr__(self) -> str:
        return "Sized()"

    def __call__(self) -> nn.Module:
        """Return a network."""
        return nn.Linear(3, self.width)

    def build(self) -> nn.Module:
        """Return a network."""
        return self()


class Slotted:
    """Has no dict of attributes."""

    __slots__ = ("width",)

    def __init__(self, width: int) -> None:
        self.width = width


class Named(NamedTuple):
    """A tuple with a name."""

    width: int


class Listed(list[int]):
    """A list that may know more."""


class Silent(int):
    """A number that does not show."""

    def __repr__(self) -> str:
        return "a number"


@dataclasses.dataclass
class Config:
    """What is compared is not all that it holds."""

    width: int = dataclasses.field(repr=False, compare=False)


def holding(value: Any) -> Callable[[], Any]:
    """Return a function that closes over a value."""

    def build() -> Any:
        return value

    return build


def called_as_torch_is(width: int) -> Callable[[], Any]:
    """Return a function that takes its name from another."""
    build: Callable[[], Any] = functools.wraps(nn.Linear)(lambda: nn.Linear(3, width))
    return build


def with_arguments(names: str) -> Any:
    """Return a function whose arguments have these names, in this order."""
    space: dict[str, Any] = {}
    exec(f"def scaled({names}): return width / depth", space)
    return space["scaled"]


def long_array(last: float) -> np.ndarray:
    """Return so many numbers that most of them are not shown."""
    return np.append(np.zeros(5000), [last, 0.0, 0.0, 0.0, 0.0])


def layer(seed: int) -> nn.Module:
    """Return a trained layer, as it were."""
    torch.manual_seed(seed)
    return nn.Linear(3, 2)


def with_attribute(width: int) -> Any:
    """Return a function that knows a number."""
    build = holding(None)
    build.width = width  # type: ignore[attr-defined]
    return build


def nested(depth: int) -> list[Any]:
    """Return a list in a list, and so on."""
    inner: list[Any] = []
    for _ in range(depth):
        inner = [inner]
    return inner


DIFFERENT: dict[str, Callable[[int], Any]] = {
    "array that is shown in part": lambda i: holding(long_array(i)),
    "array of objects": lambda i: holding(np.array([str(i), None], dtype=object)),
    "tensor that is shown rounded": lambda i: holding(torch.tensor([1 + i * 1e-7])),
    "tensor in another precision": lambda i: holding(
        torch.zeros(2, dtype=(torch.float32, torch.bfloat16)[i])
    ),
    "weights of a module": lambda i: holding(layer(i)),
    "number": lambda i: holding((0.1, 0.1 + 2e-17)[i]),
    "sign of zero": lambda i: holding((0.0, -0.0)[i]),
    "type of a number": lambda i: holding((1, True)[i]),
    "number of many digits": lambda i: holding(10**5000 + i),
    "number that does not show": lambda i: holding(Silent(i)),
    "callable object": Sized,
    "method of an object": lambda i: Sized(i).build,
    "method of a built-in object": lambda i: {"width": i}.get,
    "object with slots": lambda i: holding(Slotted(i)),
    "list of one's own": lambda i: holding(Listed([i])),
    "dataclass": lambda i: holding(Config(i)),
    "partial": lambda i: functools.partial(nn.Linear, 3, i),
    "lambda of one line": lambda i: (lambda: 0, lambda: 1)[i],
    "function that took another's name": called_as_torch_is,
    "function that a library wraps": lambda i: torch.no_grad()(holding(i)),
    "function whose results are kept": lambda i: functools.lru_cache(holding(i)),
    "attribute of a function": with_attribute,
    "names of arguments": lambda i: holding(with_arguments(("width, depth", "depth, width")[i])),
    "class of a loop": lambda i: type("Net", (nn.Module,), {"width": i}),
    "class that a library makes": lambda i: dataclasses.make_dataclass("C", [("w", int, i)]),
    "tuple with names": lambda i: holding(Named(i)),
    "pattern": lambda i: holding(re.compile(str(i))),
    "path": lambda i: holding(Path(str(i))),
    "generator of random numbers": lambda i: holding(np.random.default_rng(i)),
    "default of a dict": lambda i: holding(collections.defaultdict((int, list)[i])),
}


@in_turn("make", DIFFERENT.values())
def test_content_tells_apart_what_is_called_and_shown_alike(make: Callable[[int], Any]) -> None:
    """And nothing else does: the same content is the same architecture."""
    found = [code_fingerprint(make(i)) for i in (0, 0, 1)]
    assert found[0] == found[1] != found[2]


def test_addresses_are_used_again(tmp_path: Path) -> None:
    """What has gone is not taken for what stands in its place."""
    found = {code_fingerprint(holding(Sized(width))) for width in range(50)}
    assert len(found) == 50


@in_turn(
    "build",
    [
        holding(threading.Lock()),
        holding(torch.eye(2).to_sparse()),
        holding(weakref.ref(Sized)),
        holding(nested(5000)),
    ],
)
def test_what_cannot_be_read_needs_a_version(build: Any) -> None:
    """It is never taken for another."""
    with pytest.raises(SettingsError, match=r"rests on .* version of its own: Factory\(function"):
        hash(Factory(build, name="net"))
    assert Factory(build, name="net", version="1").fingerprint == "1"


BY_MODULE = {
    "attribute": "import user_models\ndef build(): return user_models.make()",
    "import when called": "def build():\n    from user_models import make\n    return make()",
    "another name": "import user_models as m\ndef build(): return m.make()",
    "module among values": "import user_models\nALL = [user_models]\n"
    "def build(): return ALL[0].make()",
}


@in_turn("code", BY_MODULE.values())
def test_modules_of_ones_own_are_read(code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By what is used of them, and by what that uses in turn."""
    models = types.ModuleType("user_models")
    monkeypatch.setitem(sys.modules, "user_models", models)

    def found(source: str) -> str:
        exec(source, vars(models))
        return fingerprint(code, "build")

    helper = "import threading\nlock = threading.Lock()\nWIDTH = 4\nunused = 1\n"
    make = "def make(): return WIDTH\n"
    first = found(helper + make)
    assert found(helper.replace("unused = 1", "unused = 2") + make) == first
    assert found(helper.replace("= 4", "= 32") + make) != first


def test_what_changes_before_networks_are_made_is_noticed(blobs: Task) -> None:
    """A notebook's global, or an object's state: networks would be kept under another's name."""
    sized = Sized(2)
    build = Factory(lambda: nn.Linear(6, sized.width), name="net")
    recipe = Recipe(architecture=build, stopping=fixed_steps(1))
    plan = FamilyPlan(blobs, {"baseline": recipe}, (8, 16), (0,))
    # before it is first looked at it may be anything
    sized.width = 3
    train_families([plan], device=torch.device("cpu"))
    sized.width = 4
    with pytest.raises(SettingsError, match=r"has changed since .* make the recipe anew"):
        train_families([plan], device=torch.device("cpu"))


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
    """Not on how Python orders its sets, nor on what a library's own objects hold right now."""
    script = tmp_path / "script.py"
    tail = """
    from functools import partial
    from os import environ
    from random import random, shuffle
    from numpy.random import normal
    names = {"one", "two", "three", "four"}
    drawn = partial(shuffle)
    def build(draw=random):
        drawn([normal(), environ.get("five"), draw()])
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
        for seed in (1, 2)
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


@in_turn(
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


def test_width_and_depth_leave_a_factory_as_it_is() -> None:
    """Nobody knows what its hidden layers are."""
    recipe = Recipe(architecture=Factory(Encoder))
    for name in ("width-x2", "depth-plus-1"):
        assert get_perturbation(name)(recipe) == recipe
