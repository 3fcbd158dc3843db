"""Configuration files: texts in ini files, values of their own in TOML, for every option."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
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
import pytest
from pytest_fragility.plugin.command_line import said
from pytest_fragility.settings.options import OPTIONS

def value(config, option):
    try:
        return said(config, option.name)
    except pytest.UsageError as error:
        return {"error": str(error)}

# nothing else is to be configured
def pytest_cmdline_main(config):
    twins = [option for option in OPTIONS if "ini" in option.on]
    print("said:", json.dumps({option.key: value(config, option) for option in twins}))
    return 0
"""


def write(folder: Path, kind: str, values: Mapping[str, str]) -> None:
    """Write a configuration file of a kind, and remove the others; values as they stand there."""
    for name, _ in FILES.values():
        (folder / name).unlink(missing_ok=True)
    name, table = FILES[kind]
    lines = [table, *(f"{key} = {value}" for key, value in values.items()), ""]
    (folder / name).write_text("\n".join(lines), encoding="utf-8")


def said(project: Project, *arguments: str) -> dict[str, Any]:
    """Return what the options of a run say."""
    (project.path / "shown.py").write_text(SHOW, encoding="utf-8")
    text = project.run("-p", "shown", *arguments).stdout.str()
    line = next(line for line in text.splitlines() if line.startswith("said: "))
    found: dict[str, Any] = json.loads(line.removeprefix("said: "))
    return found


def rounds(values: Mapping[str, Sequence[tuple[Any, str]]]) -> Iterator[dict[str, tuple[Any, str]]]:
    """Yield one pair for each option, until all are used; the last stands again at the end."""
    for place in range(max(map(len, values.values()))):
        yield {key: pairs[min(place, len(pairs) - 1)] for key, pairs in values.items()}


def test_every_option_is_listed_here() -> None:
    """So that what is new is tried as well."""
    assert set(VALUES) == {option.key for option in OPTIONS if INI in option.on}


@pytest.mark.parametrize(
    "kind",
    [
        "ini_options",
        pytest.param("native", marks=NATIVE),
        pytest.param("pytest.toml", marks=NATIVE),
    ],
)
@pytest.mark.filterwarnings("ignore:.*native")
def test_values_of_their_own_say_what_texts_say(
    project: Project, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Whichever the file has; what is silent stays so."""
    monkeypatch.syspath_prepend(project.path)
    for chosen in rounds(VALUES):
        write(project.path, "ini", {key: text for key, (_, text) in chosen.items()})
        expected = said(project)
        assert all(value is not None for value in expected.values())
        write(project.path, kind, {key: json.dumps(native) for key, (native, _) in chosen.items()})
        assert said(project) == expected
    write(project.path, kind, {})
    assert set(said(project).values()) == {None}


# by option: what TOML says, and what the error names
OF_ANOTHER_KIND: dict[str, list[tuple[str, str]]] = {
    "fragility": [
        ('"perhaps"', "fragility='perhaps': expected true or false"),
        ("1", "fragility=1: expected true or false"),
    ],
    "fragility_alpha": [
        ('"abc"', "fragility_alpha='abc': expected a number"),
        ("true", "fragility_alpha=True: expected a number"),
        ("[0.1]", "fragility_alpha=[0.1]: expected a number"),
        ("1979-05-27", "fragility_alpha=datetime.date(1979, 5, 27): expected"),
        ('"0_1"', "fragility_alpha='0_1': expected a number"),
    ],
    "fragility_seeds": [
        ("true", "fragility_seeds=True: expected a whole number, a list of"),
        ("6.0", "fragility_seeds=6.0: expected a whole number, a list of them"),
        ("[0, true]", "fragility_seeds=[0, True]: expected a whole number"),
    ],
    "fragility_budget": [("2.5", "fragility_budget=2.5: expected a whole number")],
    "fragility_device": [("0", "fragility_device=0: expected a text")],
    "fragility_perturbations": [
        ("3", "fragility_perturbations=3: expected a list of names"),
        ("[3]", "fragility_perturbations=[3]: expected a list of names"),
    ],
    "fragility_locate": [("{lr = true}", "fragility_locate={'lr': True}: expected true, false")],
    "fragility_ladder": [("[1]", "fragility_ladder=[1]: expected a name, or a list of names")],
    "fragility_report": [("true", "fragility_report=True: expected a text")],
}
OF_ANOTHER_KIND_IN_TEXTS = {
    "fragility": [("perhaps", "'perhaps'")],
    "fragility_alpha": [("abc", "'abc'")],
    "fragility_budget": [("many", "'many'")],
    "fragility_durations": [("perhaps", "'perhaps'")],
}


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        pytest.param("native", OF_ANOTHER_KIND, marks=NATIVE),
        ("ini", OF_ANOTHER_KIND_IN_TEXTS),
        ("ini_options", OF_ANOTHER_KIND_IN_TEXTS),
    ],
)
def test_values_of_another_kind_are_named(
    project: Project,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    values: Mapping[str, Sequence[tuple[str, str]]],
) -> None:
    """With the option, on all releases of pytest."""
    monkeypatch.syspath_prepend(project.path)
    monkeypatch.setattr("pytest_fragility.plugin.idle_options.refuse_idle_options", lambda _: None)
    for chosen in rounds(values):
        quoted = '"{}"'.format if kind == "ini_options" else str
        write(project.path, kind, {key: quoted(value) for key, (value, _) in chosen.items()})
        found = said(project)
        for key, (_, message) in chosen.items():
            assert message in found[key]["error"] and key in found[key]["error"]


@pytest.mark.parametrize(
    ("kind", "key", "value", "message"),
    [
        pytest.param("native", "fragility_alpha", "true", "expected a number", marks=NATIVE),
        pytest.param("native", "fragility_seeds", '["some"]', "seeds='some': exp", marks=NATIVE),
        pytest.param("native", "fragility_locate", '["rl"]', "locate=['rl']: exp", marks=NATIVE),
        ("ini", "fragility", "perhaps", "'perhaps'"),
        ("ini", "fragility_seeds", "some", "seeds='some'"),
        ("ini", "fragility_locate", "perhaps", "locate=['perhaps']"),
    ],
)
def test_values_that_cannot_be_used_are_usage_errors(
    project: Project, kind: str, key: str, value: str, message: str
) -> None:
    """Before anything runs."""
    project.write("def test_plain(): pass\n")
    write(project.path, kind, {key: value})
    result = project.run(*(["--fragility"] if key != "fragility" else []), "--co")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert message in result.stderr.str()
    assert "INTERNALERROR" not in result.stdout.str() + result.stderr.str()


@NATIVE
def test_what_overrides_a_file_goes_before_its_values(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Texts for values of TOML's own."""
    monkeypatch.syspath_prepend(project.path)
    write(project.path, "native", {"fragility_seeds": "6"})
    assert said(project, "-o", "fragility_seeds=7")["fragility_seeds"] == 7
    assert said(project, "-o", "fragility_alpha=0.1")["fragility_seeds"] == 6
    assert said(project, "--fragility-seeds=auto")["fragility_seeds"] == "auto"


def test_seeds_on_the_command_line_may_be_listed(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in files."""
    monkeypatch.syspath_prepend(project.path)
    assert said(project, "--fragility-seeds=0,3,5")["fragility_seeds"] == [0, 3, 5]
