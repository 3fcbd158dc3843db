"""Tables and manifests through pytest: nothing is trained, and for a table torch is not loaded."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from pytest_fragility.families.train import train_families
from pytest_fragility.settings import resolve_settings
from tests.families.conftest import table_rows
from tests.families.test_tables import write
from tests.plugin.conftest import AUDITS, Project

CHECKS = ["trend-baseline", "trend-adam", "exponent-adam", "spread-adam"]


@pytest.fixture
def table(project: Project) -> Path:
    """A table in the project's folder."""
    return write(project.path / "values.csv", table_rows())


def test_all_columns_of_a_table_are_audited(project: Project, table: Path) -> None:
    """With no test file; the summary says where values come from, and not what was trained."""
    result = project.run("--fragility", "--fragility-table=values.csv", "-v")
    text = result.stdout.str()
    assert "fragility: values from values.csv, alpha 0.05, nothing is trained" in text
    for name in ("steady", "fragile"):
        for check in [*CHECKS, "perturbations-admissible", "controls", "agreement"]:
            assert f"values.csv::{name}[{check}]" in text
    assert "fragile on toy: broken" in text
    assert "steady on toy: kept" in text
    assert "95 % intervals, values from values.csv" in text
    assert (
        "Rerun: pytest --fragility --fragility-table=values.csv --fragility-measure=fragile "
        "-k trend-adam"
    ) in text
    assert not (project.path / ".fragility_cache").exists()


def test_one_column_is_named(project: Project, table: Path) -> None:
    """And one that is not there is an error before anything runs."""
    result = project.run(
        "--fragility", "--fragility-table=values.csv", "--fragility-measure=steady"
    )
    result.assert_outcomes(passed=7)
    result = project.run("--fragility", "--fragility-table=values.csv", "--fragility-measure=stedy")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines("*no measure 'stedy' (did you mean 'steady'?)*")


def test_options_that_contradict_a_table(project: Project, table: Path) -> None:
    """What says how to train, what is not there, and audits that are not asked for."""
    for flags, message in (
        (["--fragility-table=values.csv", "--fragility-profile=quick"], "says how networks are tr"),
        (["--fragility-table=gone.csv"], "there is no such file"),
        (["--fragility-manifest=gone.csv"], "there is no such file"),
    ):
        result = project.run("--fragility", *flags)
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        assert message in result.stderr.str()
    result = project.run("--fragility-table=values.csv")
    result.stderr.fnmatch_lines("*--fragility-table needs --fragility*")


def test_a_marker_names_a_table_beside_its_file(project: Project, table: Path) -> None:
    """Whatever folder pytest starts in; configuration of what is trained is no obstacle."""
    (project.path / "sub").mkdir()
    write(project.path / "sub" / "own.csv", table_rows())
    project.pytester.makeini("[pytest]\nfragility_profile = quick\nfragility_task = mnist-5k\n")
    (project.path / "sub" / "test_own.py").write_text(
        "import pytest\n"
        "@pytest.mark.fragility('fragile', table='own.csv', xfail={'*-adam': 'it reverses'})\n"
        "def test_own(check):\n    check()\n"
        "@pytest.mark.fragility('steady', table='own.csv')\n"
        "def test_networks(trained_family):\n    pass\n",
        encoding="utf-8",
    )
    result = project.run("--fragility")
    result.assert_outcomes(passed=4, xfailed=3, errors=1)
    result.stdout.fnmatch_lines("*the trained_family fixture needs networks, and own.csv holds*")


def test_a_bad_table_of_a_marker_fails_its_test(project: Project) -> None:
    """At collection, in words."""
    (project.path / "values.csv").write_text("recipe,n\n", encoding="utf-8")
    project.write("@pytest.mark.fragility('m', table='values.csv')\ndef test_m(check): check()")
    result = project.run("--fragility")
    result.stdout.fnmatch_lines("*@pytest.mark.fragility: values.csv: it has no rows*")


def test_reports_and_baselines_know_the_table(project: Project, table: Path) -> None:
    """A report in JSON, a baseline that is saved and compared, and a worse table."""
    flags = ["--fragility-table=values.csv", "--fragility-measure=fragile"]
    result = project.run("--fragility", *flags, "--fragility-report=out", "--fragility-save=main")
    written = json.loads((project.path / "out" / "audit.json").read_text(encoding="utf-8"))
    (audit,) = written["audits"]
    assert (audit["id"], audit["source"]) == ("values.csv::fragile", "values from values.csv")
    assert {tuple(curve["seeds"]) for curve in audit["curves"]} == {(0, 1, 2, 3, 4)}
    assert "values from values.csv" in (project.path / "out" / "index.html").read_text("utf-8")
    result = project.run("--fragility", *flags, "--fragility-compare=main")
    result.assert_outcomes(passed=4, xfailed=3)
    steep = table_rows()
    for row in steep:
        row["fragile"] = 1 / row["fragile"]
    write(table, steep)
    result = project.run("--fragility", *flags, "--fragility-compare=main")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    write(table, [row for row in table_rows() if row["seed"] != 4])
    result = project.run("--fragility", *flags, "--fragility-compare=main")
    result.stdout.fnmatch_lines("*seeds *0, 1, 2, 3, 4* then, *0, 1, 2, 3* now*")


def test_workers_read_the_table_too(project: Project, table: Path) -> None:
    """Each for itself."""
    pytest.importorskip("xdist")
    found = project.run_apart("--fragility", "--fragility-table=values.csv", "-n2")
    assert "3 failed, 11 passed" in found.stdout
    assert "fragile on toy: broken" in found.stdout


def test_a_table_needs_no_torch(project: Project, table: Path) -> None:
    """Nor scikit-learn, from the start of pytest to its summary."""
    (project.path / "conftest.py").write_text(
        "import sys\n"
        "def pytest_unconfigure():\n"
        "    heavy = [name for name in ('torch', 'sklearn', 'pandas') if name in sys.modules]\n"
        "    print('loaded', heavy)\n",
        encoding="utf-8",
    )
    found = project.run_apart("--fragility", "--fragility-table=values.csv")
    assert "fragile on toy: broken" in found.stdout
    assert found.stdout.rstrip().endswith("loaded []")


KEPT = ("checkpoint", "recipe", "n", "seed", "test_error", "test_size", "task")
WEIGHTS = """
TASK = {"task": SMALL["task"], "error_margin": 10}

def weights(network):
    return float(sum(p.detach().square().sum() for p in network.model.parameters()))
"""


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the project's small family was exported to."""
    project: dict[str, Any] = {}
    exec(AUDITS, project)
    plan = resolve_settings(project["SMALL"]).plan()
    folder = tmp_path_factory.mktemp("exported") / "networks"
    train_families([plan], device=torch.device("cpu"))[0].export(folder)
    return folder


@pytest.fixture
def manifest(project: Project, exported: Path) -> None:
    """Networks and their manifest in the project's folder."""
    shutil.copytree(exported, project.path / "networks")


@pytest.mark.usefixtures("manifest")
def test_a_manifest_takes_the_place_of_training(project: Project) -> None:
    """For tests with a marker, on the command line and in a marker; nothing is kept."""
    project.write(
        WEIGHTS + "@pytest.mark.fragility(weights, task=SMALL['task'], error_margin=10)\n"
        "def test_weights(check):\n    check()\n"
        "@pytest.mark.fragility(weights, manifest='networks/manifest.csv', **TASK)\n"
        "def test_of_a_marker(check):\n    check()\n"
        "def test_fixture(trained_family):\n    assert len(trained_family) == 18\n"
    )
    result = project.run("--fragility", "--fragility-manifest=networks/manifest.csv", "-v")
    text = result.stdout.str()
    assert "fragility: networks from manifest.csv, alpha 0.05, nothing is trained" in text
    assert "test_weights[exponent-adam]" in text and "test_weights[stopping" not in text
    assert "test_fixture PASSED" in text
    assert text.count("weights on blobs: ") == 2
    assert " ".join(text.split()).count("networks from manifest.csv") >= 3
    assert not (project.path / ".fragility_cache").exists()


@pytest.mark.usefixtures("manifest")
def test_workers_read_a_markers_manifest_too(project: Project) -> None:
    """They say what one process says, and train nothing."""
    pytest.importorskip("xdist")
    project.write(
        WEIGHTS + "@pytest.mark.fragility(weights, manifest='networks/manifest.csv', **TASK)\n"
        "def test_of_a_marker(check):\n    check()\n"
    )
    alone = project.run("--fragility", "-v").stdout.str()
    divided = project.run_apart("--fragility", "-v", "-n2").stdout

    def outcomes(output: str) -> set[tuple[str, str]]:
        # with workers, what became of a test stands before its name
        named = r"\[([a-z][\w-]*)\]"
        before = re.findall(rf"(PASSED|FAILED) \S*{named}", output)
        behind = re.findall(rf"{named} (PASSED|FAILED)", output)
        return {*before, *((outcome, check) for check, outcome in behind)}

    assert len(outcomes(alone)) >= 7
    assert outcomes(divided) == outcomes(alone)
    assert "weights on blobs: " in divided
    assert "networks from manifest.csv" in " ".join(divided.split())
    assert "fragility: training" not in divided


@pytest.mark.usefixtures("manifest")
def test_a_manifest_imports_only_what_the_options_name(project: Project) -> None:
    """On the command line or in the configuration; for a marker's manifest as well."""
    project.pytester.syspathinsert()
    (project.path / "own.py").write_text(
        "open('ran', 'w').close()\n"
        "from torch.nn import Flatten, Linear, ReLU, Sequential\n"
        "def build():\n    return Sequential(Flatten(), Linear(6, 8), ReLU(), Linear(8, 3))\n",
        encoding="utf-8",
    )
    path = project.path / "networks" / "manifest.csv"
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    names = ["own:build", "mine", "mine"] * (len(rows) // 3)
    kept = [{name: row[name] for name in KEPT} for row in rows]
    write(path, [{**row, "architecture": name} for row, name in zip(kept, names, strict=True)])
    project.write(
        WEIGHTS + "@pytest.mark.fragility(weights, manifest='networks/manifest.csv', **TASK)\n"
        "def test_weights(check):\n    check()\n"
    )
    flag = "--fragility-manifest=networks/manifest.csv"
    result = project.run("--fragility", flag)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    text = result.stderr.str()
    assert "--fragility-architecture=own:build" in text
    assert "--fragility-architecture=mine=MODULE:FUNCTION" in text
    assert not (project.path / "ran").exists()
    named = ["--fragility-architecture=own:build", "--fragility-architecture=mine=own:build"]
    ids = len(project.ids("--fragility", flag, *named))
    assert ids > 4
    for flags in ([flag, *named], named):
        result = project.run("--fragility", *flags, "-k", "exponent-adam")
        result.assert_outcomes(passed=1, deselected=ids - 1)
    project.pytester.makeini(
        "[pytest]\nfragility_architecture = own:build mine=own:build\n"
        "fragility_manifest = networks/manifest.csv\n"
    )
    project.run("--fragility", "-k", "exponent-adam").assert_outcomes(passed=1, deselected=ids - 1)
