"""Audits are told apart by what they are, whatever stands in names and ids."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.families.conftest import Row, table_rows
from tests.families.test_tables import write
from tests.plugin.conftest import CHECKS, Project

MARK = "import pytest\nmine = pytest.mark.fragility('m', table='values.csv', checks=['trend'])\n"


def renamed(**names: str) -> list[Row]:
    """Return the table with its measures under other names, by new name."""
    rows = []
    for row in table_rows():
        values = {name: row[old] for name, old in names.items()}
        rows.append({name: each for name, each in row.items() if name not in names.values()})
        rows[-1] = {k: v for k, v in rows[-1].items() if k not in ("steady", "fragile")} | values
    return rows


def verdicts(project: Project) -> dict[str, tuple[str, int]]:
    """Return of each audit in the report its verdict, and how many checks it has."""
    found: Any = json.loads((project.path / "out" / "audit.json").read_text(encoding="utf-8"))
    return {a["id"]: (a["verdict"], len(a["checks"])) for a in found["audits"]}


@pytest.mark.parametrize("folders", [("a", "b"), ("exp[1]", "exp[2]")])
def test_one_marker_in_two_folders(
    project: Project, folders: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is judged on the table beside its test, and has a row of its own."""
    (project.path / "common_marks.py").write_text(MARK)
    monkeypatch.syspath_prepend(project.path)
    for folder, measure in zip(folders, ("steady", "fragile"), strict=True):
        (project.path / folder).mkdir()
        write(project.path / folder / "values.csv", renamed(m=measure))
        (project.path / folder / f"test_{measure}.py").write_text(
            "from common_marks import mine\n@mine\ndef test_it(check): check()\n"
        )
    result = project.run("--fragility", "--fragility-report=out", "--fragility-save=main")
    result.assert_outcomes(passed=9, failed=1)
    steady, fragile = (
        f"{folder}/test_{name}.py::test_it"
        for folder, name in zip(folders, ("steady", "fragile"), strict=True)
    )
    assert verdicts(project) == {steady: ("kept", 5), fragile: ("broken", 5)}
    saved = json.loads(Path(project.path / "fragility_baselines" / "main.json").read_text())
    assert saved["audits"][steady]["checks"]["trend-adam"]["verdict"] == "kept"
    assert saved["audits"][fragile]["checks"]["trend-adam"]["verdict"] == "broken"


def test_one_test_in_two_folders(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """A marked method that is inherited is judged where it is collected."""
    (project.path / "common_tests.py").write_text(
        f"{MARK}class Shared:\n    @mine\n    def test_it(self, check): check()\n"
    )
    monkeypatch.syspath_prepend(project.path)
    for folder, measure in (("a", "steady"), ("b", "fragile")):
        (project.path / folder).mkdir()
        write(project.path / folder / "values.csv", renamed(m=measure))
        (project.path / folder / f"test_{measure}.py").write_text(
            "from common_tests import Shared\nclass TestMine(Shared): pass\n"
        )
    project.run("--fragility", "-k", "trend-adam").assert_outcomes(passed=1, failed=1, deselected=8)


def test_measures_with_brackets_in_their_names(project: Project) -> None:
    """Each has a row of its own, and the verdict that is its own; also with an error in one."""
    write(project.path / "values.csv", renamed(**{"loss[1]": "steady", "loss[2]": "fragile"}))
    flags = ["--fragility-table=values.csv", "--fragility-report=out", "--fragility-save=main"]
    project.run("--fragility", *flags).assert_outcomes(passed=11, failed=3)
    assert verdicts(project) == {
        "values.csv::loss[1]": ("kept", 7),
        "values.csv::loss[2]": ("broken", 7),
    }
    saved = json.loads((project.path / "fragility_baselines" / "main.json").read_text())["audits"]
    for audit in ("loss[1] in values.csv", "loss[2] in values.csv"):
        assert set(CHECKS) < set(saved[audit]["checks"])


def test_a_marker_of_a_parameter_is_of_its_case(project: Project) -> None:
    """Cases of one test that ask for other networks have those."""
    project.write(
        "asked = [pytest.param(sizes, marks=pytest.mark.fragility(**{**SMALL, 'sizes': sizes}))\n"
        "         for sizes in ((16, 32), (16, 64))]\n"
        "@pytest.mark.parametrize('sizes', asked)\n"
        "def test_it(trained_family, sizes):\n"
        "    assert tuple(trained_family.sizes) == sizes\n"
    )
    project.run("--fragility").assert_outcomes(passed=2)


def test_markers_of_a_hook_are_of_their_cases(project: Project) -> None:
    """A hook may ask for other networks for each case of one test."""
    (project.path / "conftest.py").write_text(
        "from audits import *\n"
        "def pytest_collection_modifyitems(items):\n"
        "    for item in items:\n"
        "        asked = {**SMALL, 'sizes': item.callspec.params['sizes']}\n"
        "        item.add_marker(pytest.mark.fragility(**asked))\n"
    )
    project.write(
        "@pytest.mark.parametrize('sizes', [(16, 32), (16, 64)])\n"
        "def test_it(trained_family, sizes):\n"
        "    assert tuple(trained_family.sizes) == sizes\n"
    )
    project.run("--fragility").assert_outcomes(passed=2)


def test_folders_outside_of_the_rootdir(project: Project) -> None:
    """The ids of their tests leave the folders out, which are told apart all the same."""
    (project.path / "root").mkdir()
    (project.path / "root" / "pytest.ini").write_text("[pytest]\n")
    for folder, measure in (("a", "steady"), ("b", "fragile")):
        (project.path / folder).mkdir()
        write(project.path / folder / "values.csv", renamed(m=measure))
        (project.path / folder / "test_it.py").write_text(
            f"{MARK}@mine\ndef test_it(check): check()\n"
        )
    flags = ["-c", "root/pytest.ini", "--rootdir=root", "--import-mode=importlib", "a", "b"]
    result = project.run("--fragility", "--fragility-report=../out", *flags)
    result.assert_outcomes(passed=9, failed=1)
    assert verdicts(project) == {
        "../a/test_it.py::test_it": ("kept", 5),
        "../b/test_it.py::test_it": ("broken", 5),
    }
    result.stdout.fnmatch_lines(["*pytest --fragility*b/test_it.py::test_it?trend-adam?*"])


def test_cases_of_one_id_are_refused(project: Project) -> None:
    """Reports and baselines would take one for the other."""
    write(project.path / "values.csv", renamed(m="steady"))
    (project.path / "test_it.py").write_text(
        f"{MARK}"
        "@pytest.mark.parametrize('x', ['b', 'a-b'])\n"
        "@pytest.mark.parametrize('y', ['c-a', 'c'])\n"
        "@mine\ndef test_it(check, x, y): check()\n"
    )
    result = project.run("--fragility")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*2 cases have the id test_it.py::test_it?trend-baseline-c-a-b?*"])
