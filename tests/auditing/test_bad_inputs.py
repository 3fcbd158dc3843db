r"""The bad inputs that were tried: what is put in, and what the user sees.

Each row of a table is one input with a readable id, and the beginning of the error that a user gets
for it: its type and, as a regular expression, its text. What a terminal shows stands in
``tests/plugin/test_bad_inputs.py``.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save, save_file

from pytest_fragility._util.text import error_text, shown
from pytest_fragility.errors import (
    FragilityError,
    MeasureError,
    SettingsError,
    StoreError,
    TaskError,
    TrainingError,
    printable,
)
from pytest_fragility.evaluation.measured_curves import learning_curves
from pytest_fragility.families.family import Family
from pytest_fragility.families.plan import FamilyPlan
from pytest_fragility.families.train import train_families
from pytest_fragility.measures.measure import measure_name
from pytest_fragility.networks import build_network
from pytest_fragility.perturbations import Perturbation
from pytest_fragility.recipes import (
    CNN,
    MLP,
    Factory,
    Recipe,
    fixed_steps,
)
from pytest_fragility.settings import resolve_settings
from pytest_fragility.store import DamagedEntryWarning, Store
from pytest_fragility.store.entries import MISTAKEN, seal
from pytest_fragility.store.store import RUNS
from pytest_fragility.tasks import (
    Ladder,
    Task,
    digits,
    from_arrays,
)
from tests.in_turn import in_turn
from tests.tables import odd, raising, rows, sees

CPU = torch.device("cpu")
NAN, INF = math.nan, math.inf
# more digits than Python writes, and more than a float holds
HUGE = 10**5000
LARGE = 10**400


# ---------------------------------------------------------------------------------- names

BAD_NAMES = {
    "empty": "",
    "newline": "one\ntwo",
    "carriage return": "good\rbad",
    "escape sequence": "\x1b[31mred\x1b[0m",
    "terminal title": "\x1b]0;title\x07",
    "backspace": "kept\b\b\b\bbroken",
    "null": "a\0b",
    "bidi override": "\u202edaerb",
    "bidi isolate": "\u2066x\u2069",
    "zero width": "a\u200bb",
    "line separator": "a\u2028b",
    "lone surrogate": "\ud800",
    "very long": "x" * 100_000,
    "no text": 5,
    "none": None,
}
NAMED: dict[str, tuple[type[Exception], Callable[[Any], Any]]] = {
    "task": (TaskError, lambda name: Task(name, lambda: odd(None))),
    "task from arrays": (TaskError, lambda name: from_arrays(name, [[1.0]], [0], test_size=1)),
    "ladder": (TaskError, lambda name: Ladder(name, [digits(), digits(label_noise=0.2)])),
    "perturbation": (SettingsError, lambda name: Perturbation(name, lambda recipe: recipe)),
    "axis": (SettingsError, lambda axis: Perturbation("x", lambda recipe: recipe, axis=axis)),
    "measure": (SettingsError, lambda name: measure_name(len, name)),
    "architecture": (SettingsError, lambda name: Factory(torch.nn.Identity, name=name)),
}
# where nothing is given, the name of the function or of the perturbation stands in
MAY_BE_LEFT_OUT = {
    ("axis", "empty"),
    ("axis", "none"),
    ("measure", "none"),
    ("architecture", "empty"),
    ("architecture", "none"),
}


@in_turn("name", BAD_NAMES)
@in_turn("what", NAMED)
def test_names_that_cannot_be_shown_are_refused(what: str, name: str) -> None:
    """Whatever has a name is refused when it is made, so that no report has to escape it."""
    if (what, name) in MAY_BE_LEFT_OUT:
        return
    error, make = NAMED[what]
    text = sees(error, "name|axis|called", lambda: make(BAD_NAMES[name]))
    assert len(text) < 500


@in_turn("name", ["../../etc/passwd", "<script>", "a b", "naïve", "数字", "x" * 200])
def test_names_that_can_be_shown_are_names(name: str) -> None:
    """They lead nowhere: files are named by digests, and texts are never markup."""
    assert Task(name, lambda: odd(None)).name == name
    assert Factory(torch.nn.Identity, name=name).name == name


@in_turn(
    ("value", "expected"),
    rows(
        ("number with too many digits", HUGE, "<int that cannot be shown>"),
        ("long text", "x" * 1000, "'" + "x" * 196 + "..."),
        ("control characters", "\x1b\r\n", r"'\x1b\r\n'"),
        ("object whose repr raises", type("Odd", (), {"__repr__": lambda _: 1 / 0})(), "<Odd that"),
        ("object whose repr has lines", np.zeros((2, 2)), "array([[0., 0.],        [0., 0.]])"),
    ),
)
def test_any_value_can_be_quoted(value: object, expected: str) -> None:
    """On one line, cut, without control characters, and without an error of its own."""
    assert shown(value).startswith(expected)
    assert len(shown(value)) <= 200


def test_any_text_can_be_printed() -> None:
    """Lines and tabs stay; what a terminal would obey is spelled out; what is too long is cut."""
    assert printable("a\n\tb \x1b[31m\r\u202e\u2028é") == "a\n\tb \\x1b[31m\\r\\u202e é"
    assert printable("x" * 20_000).endswith("x... (10,000 more characters)")
    mute = type("Mute", (Exception,), {"__str__": lambda _: 1 / 0})
    assert error_text(mute()) == "Mute (its text cannot be shown)"
    assert str(FragilityError("\x1b[2J")) == "\\x1b[2J"


# ------------------------------------------------------------------------------- settings

SETTINGS = rows(
    ("sizes: zero", {"sizes": [0, 4]}, r"sizes=\[0, 4\]: expected a list of whole numbers"),
    ("sizes: NaN", {"sizes": [NAN, 8]}, r"sizes=\[nan, 8\]: expected"),
    ("sizes: a number", {"sizes": 32}, "sizes=32: expected a list"),
    ("sizes: twice", {"sizes": [8, 8]}, r"sizes=\[8, 8\]: a value is given twice"),
    ("sizes: too many digits", {"sizes": [4, HUGE]}, "sizes=<list that cannot be shown>: expected"),
    ("sizes: beyond 64 bits", {"sizes": [4, 2**63]}, "expected a list of whole numbers"),
    ("seeds: none", {"seeds": 0}, "seeds=0: expected at least two"),
    ("seeds: more than memory", {"seeds": 10**12}, "seeds=1000000000000: expected at most 10,000"),
    (
        "seeds: auto with digits",
        {"seeds": "auto-" + "9" * 5000},
        "seeds='auto-9+\\.\\.\\.: expected",
    ),
    ("seeds: auto too large", {"seeds": "auto-99999"}, "5 or more and at most 10,000"),
    ("seeds: other digits", {"seeds": "auto-٦"}, "seeds='auto-٦': expected"),
    ("seeds: newline", {"seeds": "auto\n"}, r"seeds='auto\\n': expected"),
    ("alpha: NaN", {"alpha": NAN}, "alpha=nan: expected a number between 0 and 1"),
    ("alpha: too small", {"alpha": 1e-320}, "alpha=1e-320: expected .* at least 1e-09"),
    ("alpha: huge", {"alpha": HUGE}, "alpha=<int that cannot be shown>: expected"),
    ("tolerance: infinite", {"exponent_tolerance": INF}, "exponent_tolerance=inf: expected"),
    ("margin: infinite", {"error_margin": INF}, "error_margin=inf: expected .* not infinite"),
    ("tolerance: huge", {"spread_tolerance": LARGE}, r"spread_tolerance=10+\.\.\.: expected"),
    ("sensitivity: zero", {"least_sensitivity": 0}, "least sensitivity 0.0: expected"),
    ("budget: huge", {"budget": HUGE}, "budget=<int that cannot be shown>: expected"),
    ("device: newline", {"device": "cpu\n"}, r"device='cpu\\n': expected"),
    ("device: too many digits", {"device": "cuda:" + "9" * 30}, "device='cuda:9+': expected"),
    ("device: other digits", {"device": "cuda:٣"}, "device='cuda:٣': expected"),
    ("cache: null", {"cache_dir": "a\0b"}, r"cache_dir='a\\x00b': expected the name of a folder"),
    ("cache: bytes", {"cache_dir": b"x"}, "cache_dir=b'x': expected a path"),
    ("task: unknown", {"task": "\x1b[31mdigits"}, "task name|unknown task"),
    ("task: a class", {"task": Task}, "task=<class .*>: expected a name"),
    ("task: number too long", {"task": f"teacher-relu-{'9' * 100}"}, "unknown task"),
    ("task: huge noise", {"task": "digits+label-noise-1e999"}, "label noise inf: expected"),
    ("task: many operations", {"task": "digits" + "+binary" * 5000}, "task name .* of 35,006 char"),
    ("perturbation: infinite", {"perturbations": ["lr-x1e999"]}, "SGD.lr=inf: expected"),
    ("perturbation: layer too wide", {"perturbations": ["width-x1e30"]}, "MLP.hidden=.*: expected"),
    (
        "perturbation: batch too large",
        {"perturbations": ["batch-x9999999999"]},
        "Recipe.batch_size",
    ),
    ("perturbation: endless training", {"perturbations": ["past-x1e300"]}, "StoppingRule.overtime"),
    ("perturbation: many", {"perturbations": ["adam" + "+lr-x3" * 3000]}, "of 18,004 characters"),
    ("architecture: a module", {"architecture": torch.nn.Linear(2, 2)}, "is one network"),
    ("architecture: a place", {"architecture": "os:system"}, "the function needs 'command'"),
    ("architecture: no function", {"architecture": "math:pi"}, "architecture=3.14.*: expected"),
    ("architecture: a path", {"architecture": "../x:y"}, "expected MODULE:FUNCTION"),
    ("checks: huge", {"checks": [HUGE]}, "unknown check <int that cannot be shown>"),
    ("locate: misspelt", {"locate": ["rl"]}, "locate=.*: expected True, or some of"),
    ("scale: control", {"scale": "\x1b[31m"}, r"scale='\\x1b\[31m': expected log, linear"),
    ("profile: huge", {"profile": HUGE}, "profile=<int that cannot be shown>: expected quick"),
    ("ladder: a number", {"ladder": 5}, "ladder=5: expected a name"),
    ("option: misspelt", {"siezs": [1]}, r"'siezs' \(did you mean 'sizes'\?\)"),
    ("option: very long", {"x" * 100_000: 1}, r"unknown argument 'x+\.\.\.; expected task"),
)


@in_turn(("options", "message"), SETTINGS)
def test_settings(options: dict[str, Any], message: str) -> None:
    """An option's value, or name, that cannot be used is named with what was expected."""
    sees(FragilityError, message, lambda: resolve_settings(options))


# ---------------------------------------------------------------------------- own networks


class Says(torch.nn.Module):
    """A network that returns what a function makes of its logits."""

    def __init__(self, change: Callable[[torch.Tensor], Any]) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(6, 3)
        self.change = change

    def forward(self, inputs: torch.Tensor) -> Any:
        """Return anything."""
        return self.change(self.layer(inputs))


ONE_MODULE = torch.nn.Linear(6, 3)
FACTORIES = rows(
    ("none", lambda: None, SettingsError, "the function returned NoneType"),
    ("a class", lambda: torch.nn.Linear, SettingsError, "the function returned type"),
    ("the same each time", lambda: ONE_MODULE, SettingsError, "returned the same module as before"),
    ("nothing to train", torch.nn.Identity, SettingsError, "it has no parameter to train"),
    ("lazy", lambda: torch.nn.LazyLinear(3), SettingsError, "the parameter weight is lazy"),
    (
        "without values",
        lambda: torch.nn.Linear(6, 3, device="meta"),
        SettingsError,
        "weight is on the meta device",
    ),
    (
        "complex",
        lambda: torch.nn.Linear(6, 3, dtype=torch.complex64),
        SettingsError,
        "the parameter weight is complex",
    ),
    (
        "larger than memory",
        lambda: torch.nn.Linear(10**10, 10**10),
        SettingsError,
        "the function raised RuntimeError: Storage size",
    ),
    (
        "raises",
        raising(ValueError("no\x1b[31m\rnetwork")),
        SettingsError,
        r"the function raised ValueError: no\\x1b\[31m\\rnetwork",
    ),
    (
        "forward raises",
        lambda: Says(raising(RuntimeError("boom\x1b["))),
        TrainingError,
        r"its network fails on inputs of shape \(6,\), .*RuntimeError: boom\\x1b\[",
    ),
    ("other inputs", lambda: torch.nn.Linear(5, 3), TrainingError, "cannot be multiplied"),
    (
        "too many logits",
        lambda: torch.nn.Linear(6, 5),
        TrainingError,
        r"returned shape \(8, 5\); expected logits of shape \(8, 3\)",
    ),
    ("one number", lambda: Says(torch.sum), TrainingError, r"returned shape \(\)"),
    (
        "two outputs",
        lambda: Says(lambda y: (y, y)),
        TrainingError,
        "returned tuple; expected",
    ),
    (
        "no output",
        lambda: Says(lambda y: None),
        TrainingError,
        "returned NoneType; expected",
    ),
    ("no gradient", lambda: Says(torch.detach), TrainingError, "does not require grad"),
)


@pytest.mark.parametrize(("build", "error", "message"), FACTORIES)
def test_networks_of_ones_own(
    blobs: Task, build: Any, error: type[Exception], message: str, request: pytest.FixtureRequest
) -> None:
    """A factory, or its network, that cannot be trained is named with what is wrong."""
    name = request.node.callspec.id
    recipe = Recipe(architecture=Factory(build, name=name, version="1"), stopping=fixed_steps(2))
    plan = FamilyPlan(blobs, {"baseline": recipe}, (8, 16), (0, 1))
    text = sees(error, message, lambda: train_families([plan], device=CPU))
    assert text.startswith(f"architecture {name}: ")


def test_networks_that_cannot_be_built_are_refused() -> None:
    """A layer that is larger than memory, of which nothing is allocated; inputs without sides."""
    sees(SettingsError, r"\(5,\) are no images", lambda: build_network(CNN(), (5,), 3))
    expected = "a layer of 1000000 x 1000000 weights: expected at most 1,000,000,000"
    sees(SettingsError, expected, lambda: build_network(MLP(hidden=(10**6, 10**6)), (6,), 3))


def test_networks_of_nan_diverge(blobs: Task) -> None:
    """Weights that are no numbers are trained, and their record says how that went."""

    def build() -> torch.nn.Module:
        network = torch.nn.Linear(6, 3)
        torch.nn.init.constant_(network.weight, NAN)
        return network

    recipe = Recipe(architecture=Factory(build, version="1"), stopping=fixed_steps(2))
    plan = FamilyPlan(blobs, {"baseline": recipe}, (8,), (0,))
    record = train_families([plan], device=CPU)[0].trained_run("baseline", 8, 0).record
    assert record.diverged and math.isnan(record.train_loss)


# ------------------------------------------------------------------------------- measures


def change_weights(network: Any) -> float:
    """Change the network that other measures see too."""
    with torch.no_grad():
        next(network.model.parameters()).add_(1)
    return 1.0


async def later() -> float:
    """Return a number, later."""
    return 1.0


LATER = later()
# it is never awaited, on purpose
LATER.close()


def generator(network: Any) -> Iterator[float]:
    """Return numbers, one after the other."""
    yield 1.0


class Unshowable:
    """Something whose repr raises."""

    def __repr__(self) -> str:
        raise ValueError("no repr")


MEASURES = rows(
    ("none", lambda network: None, r"returned NoneType \(None\)"),
    ("text", lambda network: "1", r"returned str \('1'\)"),
    ("complex", lambda network: 1j, r"returned complex \(1j\)"),
    ("array", lambda network: np.ones(2), r"returned ndarray of shape \(2,\)"),
    ("array of one", lambda network: np.ones(1), r"returned ndarray of shape \(1,\)"),
    ("tensor of one", lambda network: torch.ones(1), r"returned a tensor of shape \(1,\)"),
    ("tensor without value", lambda network: torch.tensor(1.0, device="meta"), "has no value"),
    ("list", lambda network: [1.0], r"returned list \(\[1\.0\]\)"),
    ("bool", lambda network: True, r"returned bool \(True\)"),
    ("NaN", lambda network: NAN, "returned nan, expected a finite number"),
    ("infinite", lambda network: -INF, "returned -inf, expected a finite number"),
    ("zero", lambda network: 0, "returned 0, which has no logarithm"),
    ("negative", lambda network: -1, "returned -1, which has no logarithm"),
    ("no float", lambda network: LARGE, "which is too large for a float"),
    ("too many digits", lambda network: -HUGE, "<int that cannot be shown>, which is too large"),
    ("no repr", lambda network: Unshowable(), "<Unshowable that cannot be shown>"),
    ("the model", lambda network: network.model, r"returned Sequential \(Sequential\("),
    ("coroutine", lambda network: LATER, "returned coroutine"),
    ("generator", generator, "returned generator"),
    ("a class", int, "raised TypeError: int"),
    ("raises", raising(ValueError("\x1b[31m\r\u202e")), r"ValueError: \\x1b\[31m\\r\\u202e"),
    ("raises a novel", raising(ValueError("x" * 10**6)), r"x\.\.\. \([\d,]+ more characters\)"),
    ("stops iterating", raising(StopIteration()), "raised StopIteration"),
    ("has no memory", raising(MemoryError()), "raised MemoryError"),
    ("changes weights", change_weights, r"changed the network it was handed \(model's"),
    ("sets a field", lambda network: setattr(network, "n", 5), "raised FrozenInstanceError"),
)


@in_turn(("measure", "message"), MEASURES)
def test_measures(small_family: Family, measure: Any, message: str) -> None:
    """What is no usable number names the measure and the run."""
    curves = learning_curves(measure, small_family, name="mine")
    text = sees(MeasureError, message, lambda: curves.measure["baseline"])
    assert text.startswith("measure mine on task blobs, recipe baseline (mlp 8,")
    assert "n=16, seed 0" in text


def test_an_interruption_ends_the_program(small_family: Family) -> None:
    """It is no error of the measure."""
    curves = learning_curves(raising(KeyboardInterrupt()), small_family, name="mine")
    with pytest.raises(KeyboardInterrupt):
        _ = curves.measure["baseline"]


@in_turn(
    ("measure", "message"),
    rows(
        ("no argument", lambda: 1, "has no required argument"),
        ("unknown arguments", lambda a, b: 1, "cannot tell what to pass for 'a'"),
        ("no function", 5, "measure 5: expected a function"),
        ("lambda without a name", lambda network: 1, "is called '<lambda>'"),
        ("text", "\x1b[31m", r"measure '\\x1b\[31m': expected a function"),
    ),
)
def test_functions_that_are_no_measures(small_family: Family, measure: Any, message: str) -> None:
    """They are refused before they are called."""
    name = "mine" if "called" not in message else None

    def ask() -> Any:
        return learning_curves(measure, small_family, name=name).measure["baseline"]

    sees(SettingsError, message, ask)


@in_turn("value", [Fraction(1, 2), np.float32(0.5), torch.tensor(0.5, requires_grad=True), 5e-324])
def test_odd_numbers_are_numbers(small_family: Family, value: Any) -> None:
    """Whatever is one real number will do."""
    curve = learning_curves(lambda network: value, small_family, name="mine").measure["baseline"]
    expected = value.item() if isinstance(value, torch.Tensor) else float(value)
    assert np.all(curve.values == expected)


# ---------------------------------------------------------------------------------- store


class Bomb:
    """What leaves a file where it is unpickled."""

    def __reduce__(self) -> Any:
        return Path.touch, (Path("exploded"),)


SMALL = Recipe(architecture=MLP(hidden=(4,)), batch_size=8, stopping=fixed_steps(5))


def train_in(store: Store, blobs: Task) -> Family:
    """Return a family of one run, trained or read."""
    plan = FamilyPlan(blobs, {"baseline": SMALL}, (16,), (0,))
    return train_families([plan], device=CPU, store=store)[0]


def record_with(**changes: Any) -> Callable[[Path], None]:
    """Return a damage that changes an entry's record."""

    def damage(path: Path) -> None:
        def change(metadata: dict[str, str]) -> None:
            metadata["record"] = json.dumps(json.loads(metadata["record"]) | changes)

        rewrite(path, change)

    return damage


def rewrite(
    path: Path,
    metadata_change: Callable[[dict[str, str]], Any] = lambda metadata: None,
    change: Callable[[dict[str, torch.Tensor]], Any] = lambda tensors: None,
) -> None:
    """Write an entry anew, with its checksum, whole but for what was changed."""
    with safe_open(path, framework="pt") as entry:
        metadata = dict(entry.metadata())
    tensors = load_file(path)
    metadata_change(metadata)
    change(tensors)
    path.write_bytes(seal(save(tensors, metadata)))


def metadata_with(name: str, text: str) -> Callable[[Path], None]:
    """Return a damage that replaces one of an entry's texts."""
    return lambda path: rewrite(path, lambda metadata: metadata.update({name: text}))


def tensor_with(
    name: str, change: Callable[[torch.Tensor], torch.Tensor]
) -> Callable[[Path], None]:
    """Return a damage that changes one of an entry's tensors."""
    return lambda path: rewrite(
        path, change=lambda tensors: tensors.update({name: change(tensors[name])})
    )


def replaced_by(make: Callable[[Path], Any]) -> Callable[[Path], None]:
    """Return a damage that puts something else in an entry's place."""

    def damage(path: Path) -> None:
        path.unlink()
        make(path)

    return damage


def lie_about_the_header(path: Path) -> None:
    """Say that the header is larger than the file."""
    path.write_bytes((1 << 40).to_bytes(8, "little") + path.read_bytes()[8:])


def lie_about_a_tensor(path: Path) -> None:
    """Say that a tensor lies behind the end of the file."""
    content = path.read_bytes()
    path.write_bytes(seal(content.replace(b'"data_offsets":[0,', b'"data_offsets":[9,')))


def flip_the_last_byte(path: Path) -> None:
    """Change one of the tensors, and nothing else."""
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 255]))


def grow(path: Path) -> None:
    """Make it a file of 100 GB, with next to nothing in it."""
    os.truncate(path, 100 << 30)


ENTRIES = rows(
    ("a folder", replaced_by(Path.mkdir), "it is no plain file"),
    ("a pipe", replaced_by(os.mkfifo), "it is no plain file"),
    ("a link to a device", replaced_by(lambda path: path.symlink_to("/dev/zero")), "no plain file"),
    ("100 GB", grow, r"it has 107,374,182,400 bytes, where at most [\d,]+ are needed"),
    (
        "a pickle",
        replaced_by(lambda path: torch.save({"record": Bomb()}, path)),
        "it is no safetensors file",
    ),
    ("a page", replaced_by(lambda path: path.write_text("<html>")), "it is no safetensors file"),
    ("a header beyond the file", lie_about_the_header, "it is no safetensors file"),
    ("a tensor beyond the file", lie_about_a_tensor, "(?i)invalid ?offset"),
    ("no metadata", lambda path: save_file(load_file(path), path), "it has no checksum"),
    (
        "no record",
        lambda path: rewrite(path, lambda metadata: metadata.pop("record")),
        "its record is missing",
    ),
    ("another byte", flip_the_last_byte, "its checksum is not that of its contents"),
    ("a record that is no JSON", metadata_with("record", "{steps"), "Expecting property name"),
    ("a record that is a list", metadata_with("record", "[]"), "its record has other fields"),
    ("a record without end", metadata_with("record", "[" * 200_000), "no JSON that can be read"),
    ("a record with a field more", record_with(mood=1), "its record has other fields"),
    ("steps: text", record_with(steps="5"), "its record's steps cannot be '5'"),
    ("steps: huge", record_with(steps=LARGE), "its record's steps cannot be 10+"),
    ("loss: text", record_with(train_loss="low"), "its record's train_loss cannot be 'low'"),
    ("loss: huge", record_with(train_loss=LARGE), "its record's train_loss cannot be 10+"),
    ("loss: NaN, not diverged", record_with(train_loss=NAN), "contradict each other"),
    ("error: NaN", record_with(train_error=NAN), "its record's train_error cannot be nan"),
    ("mistakes: negative", record_with(test_mistakes=-1), "test_mistakes cannot be -1"),
    ("mistakes: others", record_with(test_mistakes=60), "its mistakes are not the 60"),
    ("test size: another", record_with(test_size=61), "it was tested on 61 samples"),
    ("of another run", metadata_with("run", '{"task": "blobs", "n": 8}'), "it is of another run"),
    (
        "weights of another shape",
        tensor_with("weights/1.weight", lambda weight: weight[:2]),
        "its weights '1.weight' have another shape or type",
    ),
    (
        "initial weights of another type",
        tensor_with("initial/1.bias", torch.Tensor.double),
        "its weights '1.bias' have another shape or type",
    ),
    (
        "a weight missing",
        lambda path: rewrite(path, change=lambda tensors: tensors.pop("weights/1.bias")),
        "its weights are missing, or those of another network",
    ),
    (
        "a weight more",
        lambda path: rewrite(
            path, change=lambda tensors: tensors.update({"weights/x": torch.ones(1)})
        ),
        "its weights are missing, or those of another network",
    ),
    (
        "a buffer more",
        lambda path: rewrite(
            path, change=lambda tensors: tensors.update({"buffers/x": torch.ones(1)})
        ),
        "its buffers are missing, or those of another network",
    ),
    (
        "weights of NaN",
        tensor_with("weights/1.weight", lambda weight: weight * NAN),
        "its weights '1.weight' are NaN, though it did not diverge",
    ),
    (
        "mistakes of another type",
        tensor_with(MISTAKEN, lambda mistaken: mistaken.to(torch.int64)),
        "its mistakes are not those on 60 test samples",
    ),
)


@in_turn(("damage", "reason"), ENTRIES)
def test_stored_entries(
    blobs: Task,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    damage: Callable[[Path], None],
    reason: str,
) -> None:
    """An entry that is not what it has to be is set aside with a reason, and trained again."""
    monkeypatch.chdir(tmp_path)
    store = Store(tmp_path / "kept")
    first = train_in(store, blobs).trained_run("baseline", 16, 0)
    (path,) = store.folder.rglob("*.safetensors")
    damage(path)
    with pytest.warns(DamagedEntryWarning, match=reason) as caught:
        again = train_in(store, blobs).trained_run("baseline", 16, 0)
    assert "set aside" in str(caught[0].message)
    assert not Path("exploded").exists()
    assert again.record == first.record
    torch.testing.assert_close(again.weights, first.weights, rtol=0, atol=0)
    assert len(list((store.folder / "damaged").iterdir())) == 1


def make_lock_a_folder(folder: Path) -> None:
    """Put a folder where the lock is."""
    (folder / "training.lock").mkdir(parents=True)
    (folder / "CACHEDIR.TAG").write_text("")


def link(name: str) -> Callable[[Path], None]:
    """Return what makes a part of a store a link to somewhere else."""

    def make(folder: Path) -> None:
        folder.mkdir()
        elsewhere = folder.parent / "elsewhere"
        elsewhere.mkdir()
        (folder / name).symlink_to(elsewhere / "file" if "." in name else elsewhere)

    return make


def make_runs_a_file(folder: Path) -> None:
    """Put a file where entries should be."""
    folder.mkdir()
    (folder / RUNS).write_text("")


STORES = rows(
    ("a file", lambda folder: folder.write_text(""), "cannot keep trained runs in"),
    ("a link to itself", lambda folder: folder.symlink_to(folder), "cannot keep trained runs in"),
    ("a pipe", os.mkfifo, "cannot keep trained runs in"),
    ("runs is a file", make_runs_a_file, "cannot keep trained runs in"),
    ("runs is a link", link(RUNS), f"{RUNS} is a symbolic link"),
    ("damaged is a link", link("damaged"), "damaged is a symbolic link"),
    ("unfinished is a link", link("unfinished"), "unfinished is a symbolic link"),
    ("the lock is a link", link("training.lock"), "training.lock is a symbolic link"),
    ("the tag is a link", link("CACHEDIR.TAG"), "CACHEDIR.TAG is a symbolic link"),
    ("the lock is a folder", make_lock_a_folder, "cannot lock .*training.lock"),
)


@in_turn(("make", "message"), STORES)
def test_stores(blobs: Task, tmp_path: Path, make: Callable[[Path], Any], message: str) -> None:
    """A store that cannot be one is refused, and nothing outside of it is written."""
    make(tmp_path / "kept")
    sees(StoreError, message, lambda: train_in(Store(tmp_path / "kept"), blobs))
    assert not [path for path in (tmp_path / "elsewhere").rglob("*") if path.is_file()]


def test_folders_whose_names_are_too_long(blobs: Task, tmp_path: Path) -> None:
    """A path that the system refuses is a store that cannot be made."""
    sees(StoreError, "cannot keep trained runs in", lambda: Store(tmp_path / ("x" * 5000)))


def test_entries_in_linked_folders_are_not_written(blobs: Task, tmp_path: Path) -> None:
    """A link among the folders of entries would lead out of the store."""
    store = Store(tmp_path / "kept")
    train_in(store, blobs)
    (path,) = store.folder.rglob("*.safetensors")
    path.unlink()
    path.parent.rmdir()
    (tmp_path / "elsewhere").mkdir()
    path.parent.symlink_to(tmp_path / "elsewhere")
    sees(StoreError, "is a symbolic link", lambda: train_in(store, blobs))
    assert not list((tmp_path / "elsewhere").iterdir())


def test_an_entry_that_cannot_be_set_aside(blobs: Task, tmp_path: Path) -> None:
    """Where something is in the way, the run that is trained again takes its place."""
    store = Store(tmp_path / "kept")
    first = train_in(store, blobs).trained_run("baseline", 16, 0)
    (path,) = store.folder.rglob("*.safetensors")
    path.write_text("<html>")
    (store.folder / "damaged" / f"{path.parent.name}{path.name}").mkdir(parents=True)
    with pytest.warns(DamagedEntryWarning, match="it could not be set aside .Is a directory"):
        train_in(store, blobs)
    again = train_in(store, blobs).trained_run("baseline", 16, 0)
    torch.testing.assert_close(again.weights, first.weights, rtol=0, atol=0)
