"""Configuration files: texts in ini files, values of their own in TOML, for every option."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pytest_fragility.settings.option import INI
from pytest_fragility.settings.options import OPTIONS
from tests.plugin.conftest import Project

NATIVE = pytest.mark.skipif(pytest.version_tuple < (9,), reason="older pytest has no native TOML")

# by option: what TOML may say, and what an ini file says
VALUES: dict[str, list[tuple[Any, str]]] = {
    "fragility": [(True, "true"), (False, "no")],
    "fragility_locate": [(True, "true"), (False, "false"), (["lr", "batch"], "lr, batch")],
    "fragility_durations": [(True, "on")],
    "fragility_measure": [(["a:b", "c:d"], "a:b c:d"), ("a:b", "a:b")],
    "fragility_dask": [("tcp://host:1", "tcp://host:1")],
    "fragility_report": [("some folder", "some folder")],
    "fragility_baselines": [("folder", "folder")],
    "fragility_profile": [("quick", "quick")],
    "fragility_device": [("cpu", "cpu")],
    "fragility_cache_dir": [("some folder", "some folder")],
    "fragility_seeds": [(6, "6"), ("6", "6"), ([0, 1, 5], "0, 1, 5"), ("auto-34", "auto-34")],
    "fragility_alpha": [(0.1, "0.1"), (1, "1"), ("0.1", "1e-1")],
    "fragility_task": [("digits", "digits")],
    "fragility_architecture": [("cnn", "cnn"), (["cnn", "a=b:c"], "cnn a=b:c")],
    "fragility_perturbations": [(["adam", "lr-x3"], "adam,lr-x3"), ("adam, lr-x3", "adam lr-x3")],
    "fragility_ladder": [("none", "none")],
    "fragility_checkpoints": [(["past-x2"], "past-x2")],
    "fragility_manifest": [("runs.csv", "runs.csv")],
    "fragility_fit": [("theil-sen", "theil-sen")],
    "fragility_budget": [(20, "20"), ("20", "20")],
    "fragility_executor_timeout": [(60, "60"), (0.5, ".5")],
    "fragility_measure_timeout": [(5, "5"), (0.5, ".5"), ("5", "5.0")],
}
FILES = {
    "ini": ("pytest.ini", "[pytest]"),
    "ini_options": ("pyproject.toml", "[tool.pytest.ini_options]"),
    "native": ("pyproject.toml", "[tool.pytest]"),
    "pytest.toml": ("pytest.toml", "[pytest]"),
}
SHOW = """
import json
from pytest_fragility.plugin.options import said
from pytest_fragility.settings.options import OPTIONS

# nothing else is to be configured
def pytest_cmdline_main(config):
    twins = [option for option in OPTIONS if "ini" in option.on]
    print("said:", json.dumps({option.key: said(config, option.name) for option in twins}))
    return 0
"""


def write(folder: Path, kind: str, key: str, value: str) -> None:
    """Write a configuration file with one option; the value as it stands there."""
    name, table = FILES[kind]
    (folder / name).write_text(f"{table}\n{key} = {value}\n", encoding="utf-8")


def said(project: Project, *arguments: str) -> dict[str, Any]:
    """Return what the options of a run say."""
    (project.path / "shown.py").write_text(SHOW, encoding="utf-8")
    text = project.run("-p", "shown", *arguments).stdout.str()
    line = next(line for line in text.splitlines() if line.startswith("said: "))
    found: dict[str, Any] = json.loads(line.removeprefix("said: "))
    return found


def test_every_option_is_listed_here() -> None:
    """So that what is new is tried as well."""
    assert set(VALUES) == {option.key for option in OPTIONS if INI in option.on}


CASES = [
    pytest.param(key, native, text, kind, id=f"{key}-{place}-{kind}", marks=marks)
    for key, values in VALUES.items()
    for place, (native, text) in enumerate(values)
    for kind, marks in (
        ("ini_options", ()),
        ("native", NATIVE),
        # one kind of file for one of each kind of option
        *((("pytest.toml", NATIVE),) if key in ("fragility_seeds", "fragility_locate") else ()),
    )
]


@pytest.mark.parametrize(("key", "native", "text", "kind"), CASES)
@pytest.mark.filterwarnings("ignore:.*native")
def test_values_of_their_own_say_what_texts_say(
    project: Project, monkeypatch: pytest.MonkeyPatch, key: str, native: Any, text: str, kind: str
) -> None:
    """Whichever the file has; what is silent stays so."""
    monkeypatch.syspath_prepend(project.path)
    write(project.path, "ini", key, text)
    expected = said(project)
    (project.path / "pytest.ini").unlink()
    assert [name for name, value in expected.items() if value is not None] == [key]
    write(project.path, kind, key, json.dumps(native))
    assert said(project) == expected


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("fragility", '"perhaps"', "fragility='perhaps': expected true or false"),
        ("fragility", "1", "fragility=1: expected true or false"),
        ("fragility_alpha", '"abc"', "fragility_alpha='abc': expected a number"),
        ("fragility_alpha", "true", "fragility_alpha=True: expected a number"),
        ("fragility_alpha", "[0.1]", "fragility_alpha=[0.1]: expected a number"),
        ("fragility_alpha", "1979-05-27", "fragility_alpha=datetime.date(1979, 5, 27): expected"),
        ("fragility_alpha", '"0_1"', "fragility_alpha='0_1': expected a number"),
        ("fragility_seeds", "true", "fragility_seeds=True: expected a whole number, a list of"),
        ("fragility_seeds", "6.0", "fragility_seeds=6.0: expected a whole number, a list of them"),
        ("fragility_seeds", "[0, true]", "fragility_seeds=[0, True]: expected a whole number"),
        ("fragility_seeds", '["some"]', "seeds='some': expected a number, a list of numbers, auto"),
        ("fragility_budget", "2.5", "fragility_budget=2.5: expected a whole number"),
        ("fragility_device", "0", "fragility_device=0: expected a text"),
        ("fragility_perturbations", "3", "fragility_perturbations=3: expected a list of names"),
        ("fragility_perturbations", "[3]", "fragility_perturbations=[3]: expected a list of names"),
        ("fragility_locate", "{lr = true}", "fragility_locate={'lr': True}: expected true, false"),
        ("fragility_locate", '["rl"]', "locate=['rl']: expected True, or some of lr, batch"),
        ("fragility_ladder", "[1]", "fragility_ladder=[1]: expected a name, or a list of names"),
        ("fragility_report", "true", "fragility_report=True: expected a text"),
    ],
)
@NATIVE
def test_values_of_another_kind_are_usage_errors(
    project: Project, key: str, value: str, message: str
) -> None:
    """That name the option and the value."""
    project.write("def test_plain(): pass\n")
    write(project.path, "native", key, value)
    result = project.run("--fragility", "--co") if key != "fragility" else project.run("--co")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert message in result.stderr.str()
    assert "INTERNALERROR" not in result.stdout.str() + result.stderr.str()


@pytest.mark.parametrize("kind", ["ini", "ini_options"])
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("fragility", "perhaps"),
        ("fragility_alpha", "abc"),
        ("fragility_budget", "many"),
        ("fragility_durations", "perhaps"),
        ("fragility_seeds", "some"),
        ("fragility_locate", "perhaps"),
    ],
)
def test_texts_that_say_nothing_are_usage_errors(
    project: Project, kind: str, key: str, value: str
) -> None:
    """On all releases of pytest."""
    project.write("def test_plain(): pass\n")
    write(project.path, kind, key, value if kind == "ini" else f'"{value}"')
    result = project.run("--fragility", "--co") if key != "fragility" else project.run("--co")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    text = result.stderr.str()
    assert f"'{value}'" in text and key.removeprefix("fragility_") in text
    assert "INTERNALERROR" not in result.stdout.str() + text


@NATIVE
def test_what_overrides_a_file_goes_before_its_values(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Texts for values of TOML's own."""
    monkeypatch.syspath_prepend(project.path)
    write(project.path, "native", "fragility_seeds", "6")
    assert said(project, "-o", "fragility_seeds=7")["fragility_seeds"] == 7
    assert said(project, "-o", "fragility_alpha=0.1")["fragility_seeds"] == 6
    assert said(project, "--fragility-seeds=auto")["fragility_seeds"] == "auto"


def test_seeds_on_the_command_line_may_be_listed(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in files."""
    monkeypatch.syspath_prepend(project.path)
    assert said(project, "--fragility-seeds=0,3,5")["fragility_seeds"] == [0, 3, 5]
