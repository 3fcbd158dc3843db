"""``--fragility-measure module:function``: audits without a test file."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from tests.plugin.conftest import ALL_CHECKS, Project


@pytest.fixture
def bare(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project without tests, whose audits are small by default."""
    from pytest_fragility import MLP, Recipe, fixed_steps, settings

    monkeypatch.setitem(
        settings.DEFAULTS, "recipe", Recipe(architecture=MLP(hidden=(8,)), stopping=fixed_steps(30))
    )
    monkeypatch.setitem(settings.DEFAULTS, "sizes", (16, 32, 64))
    monkeypatch.setitem(settings.DEFAULTS, "error_margin", 10.0)
    monkeypatch.setitem(settings.DEFAULTS, "ladder", "none")
    monkeypatch.setitem(settings.DEFAULTS, "trend", "decreasing")
    monkeypatch.setitem(settings.DEFAULTS, "checks", ["trend", "exponent", "spread"])
    project.pytester.makeini(
        "[pytest]\nfragility_seeds = 3\nfragility_task = digits\nfragility_perturbations = adam\n"
    )
    project.pytester.syspathinsert()
    return project


def test_checks_without_a_test_file(bare: Project) -> None:
    """Every check of the measure runs, under ids of its own."""
    result = bare.run("--fragility", "--fragility-measure=audits:falling", "-v")
    result.assert_outcomes(passed=len(ALL_CHECKS))
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        [f"audits:falling::falling[[]{check}[]] PASSED*" for check in ALL_CHECKS]
    )
    result.stdout.fnmatch_lines(["falling on digits: kept"])


def test_a_broken_measure_fails(bare: Project) -> None:
    """The exit code says so, the message is the check's alone."""
    result = bare.run("--fragility", "--fragility-measure=audits:reversing")
    result.assert_outcomes(passed=4, failed=3)
    assert result.ret == 1
    result.stdout.fnmatch_lines(["reversing: trend BROKEN under adam"])
    shown = result.stdout.str().partition("= FAILURES =")[2]
    assert "pytest_fragility/" not in shown and "Traceback" not in shown


def test_rerun_command_reruns_the_check(bare: Project) -> None:
    """The command selects one check, even where another check's id begins alike."""
    options = ["--fragility", "--fragility-perturbations=adam,adam+batch-x2"]
    result = bare.run(*options, "--fragility-measure=audits:reversing", "-k", "trend")
    # where CI is set, pytest repeats the message in its short summary
    line = next(line for line in result.outlines if "Rerun: " in line)
    program, *arguments = shlex.split(line.partition("Rerun: ")[2])
    assert program == "pytest"
    again = bare.run(*arguments)
    again.assert_outcomes(failed=1, deselected=10 - 1)
    again.stdout.fnmatch_lines(["reversing: trend BROKEN under adam"])


def test_k_selects_checks(bare: Project) -> None:
    """``-k`` works on these tests as on others."""
    result = bare.run("--fragility", "--fragility-measure=audits:falling", "-k", "trend and adam")
    result.assert_outcomes(passed=1, deselected=len(ALL_CHECKS) - 1)


def test_several_measures(bare: Project) -> None:
    """The option can be repeated; networks are shared."""
    result = bare.run(
        "--fragility",
        "--fragility-measure=audits:falling",
        "--fragility-measure=audits:reversing",
        "-k",
        "trend",
    )
    result.assert_outcomes(passed=3, failed=1, deselected=10)
    assert len(bare.stored()) == 18
    result.stdout.fnmatch_lines(["falling on digits: kept"])
    result.stdout.fnmatch_lines(["reversing on digits: broken"])


def test_ini_names_measures(bare: Project) -> None:
    """``fragility_measure`` in the configuration file names measures, separated by spaces."""
    bare.pytester.makeini(
        "[pytest]\nfragility = true\nfragility_perturbations = adam\n"
        "fragility_measure = audits:falling audits:reversing\n"
    )
    ids = bare.ids()
    assert [test_id.partition("::")[0] for test_id in ids] == [
        *["audits:falling"] * len(ALL_CHECKS),
        *["audits:reversing"] * len(ALL_CHECKS),
    ]


def test_test_files_are_collected_only_where_named(bare: Project) -> None:
    """The project's own tests stay out unless the command line names their files."""
    bare.write("def test_of_mine(): pass\n")
    measure = "--fragility-measure=audits:falling"
    assert len(bare.ids("--fragility", measure)) == len(ALL_CHECKS)
    both = bare.ids("--fragility", measure, "test_audit.py")
    assert len(both) == len(ALL_CHECKS) + 1
    assert "test_audit.py::test_of_mine" in both


def test_nothing_is_imported_at_collection(bare: Project) -> None:
    """The measure's module is imported when a check runs, and not before."""
    (bare.path / "loud.py").write_text("open('imported', 'w').close()\nraise OSError('loud')\n")
    measure = "--fragility-measure=loud:measure"
    assert len(bare.ids("--fragility", measure)) == len(ALL_CHECKS)
    assert not Path("imported").exists()
    result = bare.run("--fragility", measure, "-k", "trend-baseline")
    result.assert_outcomes(failed=1, deselected=len(ALL_CHECKS) - 1)
    result.stdout.fnmatch_lines(["*OSError: loud*"])
    assert Path("imported").exists()


def test_a_module_that_has_no_such_function(bare: Project) -> None:
    """The failing checks name module and function."""
    result = bare.run("--fragility", "--fragility-measure=audits:faling", "-k", "trend")
    result.assert_outcomes(failed=2, deselected=5)
    result.stdout.fnmatch_lines(["*audits:faling: module audits has no 'faling'*"])


PATH_NORM = "pytest_fragility.measures:path_norm"


def test_a_bound_form_can_be_named(bare: Project) -> None:
    """As ``module:measure.bound_form``: ids and table call it by its whole name."""
    measure = f"--fragility-measure={PATH_NORM}.bound_form"
    assert bare.ids("--fragility", measure) == [
        f"{PATH_NORM}.bound_form::path_norm.bound_form[{check}]" for check in ALL_CHECKS
    ]
    result = bare.run("--fragility", measure, "-v")
    counts = result.parseoutcomes()
    assert counts.get("passed", 0) + counts.get("failed", 0) == len(ALL_CHECKS)
    assert "errors" not in counts
    result.stdout.re_match_lines([r"path_norm\.bound_form on digits: (kept|broken|undecided)"])
    assert "raised" not in result.stdout.str()


def test_a_bound_form_is_not_the_measure(bare: Project) -> None:
    """Both can be named in one run, and the number of parameters falls only as a bound."""
    count = "--fragility-measure=pytest_fragility.measures:parameter_count"
    result = bare.run("--fragility", count, f"{count}.bound_form", "-k", "trend and baseline")
    result.assert_outcomes(passed=1, failed=1, deselected=12)
    result.stdout.fnmatch_lines(["parameter_count: trend BROKEN"])
    result.stdout.fnmatch_lines(["parameter_count.bound_form on digits: *"])


@pytest.mark.parametrize("function", ["path_norm.bund_form", "no_such_measure.bound_form"])
def test_an_attribute_that_is_not_there(bare: Project, function: str) -> None:
    """The failing checks name what is missing, as for a function."""
    place = f"pytest_fragility.measures:{function}"
    result = bare.run("--fragility", f"--fragility-measure={place}", "-k", "trend")
    result.assert_outcomes(failed=2, deselected=5)
    result.stdout.fnmatch_lines(
        [f"*{place}: module pytest_fragility.measures has no '{function}'*"]
    )


def test_a_bound_form_of_a_bound_form_is_refused(bare: Project) -> None:
    """The failing checks say what it is already."""
    measure = f"--fragility-measure={PATH_NORM}.bound_form.bound_form"
    result = bare.run("--fragility", measure, "-k", "trend")
    result.assert_outcomes(failed=2, deselected=5)
    result.stdout.fnmatch_lines(["path_norm.bound_form has no further bound's form*"])


@pytest.mark.parametrize("option", ["no_such_module:f", "audits.no_such_module:f"])
def test_an_unknown_module_is_a_usage_error(bare: Project, option: str) -> None:
    """A module that is not there ends the run before it begins."""
    result = bare.run("--fragility", f"--fragility-measure={option}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    module = re.escape(option.partition(":")[0])
    assert re.search(f"no module named '{module}'", result.stderr.str())


@pytest.mark.parametrize("option", ["audits", "audits:", ":falling", "audits:a b", "audits.py::f"])
def test_a_malformed_value_is_a_usage_error(bare: Project, option: str) -> None:
    """What is no MODULE:FUNCTION ends the run, and is named."""
    result = bare.run("--fragility", f"--fragility-measure={option}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert f"--fragility-measure={option}: expected MODULE:FUNCTION" in result.stderr.str()


def test_without_fragility_it_is_a_usage_error(bare: Project) -> None:
    """The option alone would have no effect, and says so."""
    bare.write("def test_of_mine(): pass\n")
    result = bare.run("--fragility-measure=audits:falling")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "--fragility-measure needs --fragility" in result.stderr.str()
    assert not bare.stored()
