"""Options and markers of which a part would be left out: errors that name it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.families.conftest import table_rows
from tests.families.test_tables import write
from tests.plugin.conftest import STANDARD_CHECKS, Project

TABLE = "--fragility-table=values.csv"
ON = "--fragility"

# what is typed, and what of it would have no effect
TYPED: list[tuple[Sequence[str], str]] = [
    (["--fragility-store=list", ON], "--fragility has no effect beside --fragility-store"),
    (["--fragility-store=list", "--fragility-seeds=3"], "--fragility-seeds has no effect"),
    (["--fragility-store=prune", "--fragility-measure", "a:b"], "--fragility-measure has no eff"),
    (["--fragility-store=verify", "--fragility-report=out"], "--fragility-report has no effect"),
    (["--fragility-store=list", "--fragility-dask=tcp://x:1"], "--fragility-dask has no effect"),
    (["--fragility-init", "--fragility-store=list"], "--fragility-store has no effect beside --f"),
    (["--fragility-init", "--fragility-task=digits"], "--fragility-task has no effect beside --f"),
    (["--fragility-init", "."], "writes into the current folder, and takes no files or folders"),
    (["--fragility-report=out"], "--fragility-report needs --fragility"),
    (["--fragility-locate"], "--fragility-locate needs --fragility"),
    (["--fragility-ladder=none"], "--fragility-ladder needs --fragility"),
    (["--fragility-checkpoints", "past-x2"], "--fragility-checkpoints needs --fragility"),
    (["--fragility-save=main"], "--fragility-save needs --fragility"),
    ([ON, "--fragility-baselines=kept"], "it needs --fragility-save or --fragility-compare"),
    ([ON, TABLE, TABLE], "--fragility-table is given twice"),
    (
        [ON, "--fragility-perturbations=adam", "--fragility-perturbations", "lr-x3"],
        "--fragility-perturbations is given twice",
    ),
    ([ON, TABLE, "--fragility-measure=steady", "--fragility-measure=steady"], "is given twice"),
    ([ON, TABLE, "--fragility-dask=tcp://x:1"], "--fragility-dask says who trains and measures"),
    ([ON, TABLE, "--fragility-device=cpu"], "device='cpu' would change nothing: a table holds"),
    ([ON, TABLE, "--fragility-measure-timeout=3"], "measure_timeout=3.0 would change nothing"),
    ([ON, TABLE, "--fragility-cache-dir=kept"], "kept') would change nothing: nothing is tra"),
    ([ON, TABLE, "--fragility-executor-timeout=3"], "executor_timeout=3.0 would change nothing"),
    (
        [ON, "--fragility-architecture=mlp", "--fragility-architecture=cnn"],
        "architecture mlp: cnn is named after it, and only the last would be trained",
    ),
    ([ON, TABLE, "--fragility-budget=3"], "says how networks are trained"),
    ([ON, TABLE, "--fragility-seeds=auto"], "nothing is trained here"),
]


def test_what_is_typed_and_has_no_effect_is_refused(project: Project) -> None:
    """Before anything runs."""
    write(project.path / "values.csv", table_rows())
    for typed, message in TYPED:
        result = project.run(*typed)
        assert result.ret == pytest.ExitCode.USAGE_ERROR, typed
        assert message in result.stderr.str(), typed
        assert not list(project.path.glob("test_*.py"))


def test_what_configuration_adds_is_for_all_runs(project: Project) -> None:
    """It is no error where it has no effect on one of them."""
    write(project.path / "values.csv", table_rows())
    project.pytester.makeini(
        "[pytest]\n"
        "addopts = --fragility-report=out --fragility-device=cpu --fragility-ladder=none\n"
        "fragility_cache_dir = kept\nfragility_measure_timeout = 9\nfragility_dask = tcp://x:1\n"
    )
    project.write("def test_plain(): pass")
    project.run().assert_outcomes(passed=1)
    result = project.run(ON, TABLE, "--fragility-measure=steady")
    result.assert_outcomes(passed=7)
    assert project.run("--fragility-init").ret == pytest.ExitCode.OK


TREND = "{**SMALL, 'checks': 'trend'}"
# the markers of a class and of its test, and what the second leaves out
STACKED = [
    ("sizes=(16, 32)", "falling, **SMALL, alpha=0.2", None),
    ("alpha=0.2", "falling, **SMALL", "the marker of TestMine says alpha="),
    ("falling, **SMALL", "alpha=0.2", "the marker of TestMine names a measure"),
    ("falling, **SMALL", "reversing, recipe=Recipe()", "the marker of TestMine says task="),
    ("measure=falling, xfail={'*': 'so'}", "reversing, checks='trend'", None),
]


@pytest.mark.parametrize(("outer", "inner", "message"), STACKED)
def test_markers_one_upon_the_other(
    project: Project, outer: str, inner: str, message: str | None
) -> None:
    """The nearest goes first; what another one says beside it is an error, not left out."""
    project.write(
        f"@pytest.mark.fragility({outer})\nclass TestMine:\n"
        f"    @pytest.mark.fragility({inner})\n    def test_one(self, check): check()\n"
    )
    result = project.run(ON, "--collect-only", "-q")
    assert (result.ret == pytest.ExitCode.OK) == (message is None)
    assert (message or "trend-baseline") in result.stdout.str()


@pytest.mark.parametrize(
    "source",
    [
        "@pytest.mark.fragility(falling, **SMALL)\n@pytest.mark.fragility(reversing, **SMALL)\n"
        "def test_two(check): check()\n",
        "pytestmark = [pytest.mark.fragility(falling, **SMALL), pytest.mark.fragility(alpha=0.1)]\n"
        "def test_two(check): check()\n",
        "@pytest.mark.fragility(falling, **SMALL)\nclass Base:\n"
        "    def test_one(self, check): check()\n"
        "@pytest.mark.fragility(reversing, **SMALL)\nclass TestOwn(Base): pass\n",
    ],
)
def test_two_markers_in_one_place_are_refused(project: Project, source: str) -> None:
    """Only one of them would be audited."""
    project.write(source)
    result = project.run(ON)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines("*two fragility markers on *, of which only one would count*")


@pytest.mark.parametrize(
    ("outer", "inner", "message"),
    [
        (
            "@pytest.mark.fragility(**SMALL)\n",
            "seeds=2",
            "two fragility markers on *, of which only one",
        ),
        ("", "sizes=(16,)", "needs at least two sizes"),
    ],
)
def test_a_marker_among_a_test_s_parameters(
    project: Project, outer: str, inner: str, message: str
) -> None:
    """It is left out beside another one; a bad one is an error in words."""
    project.write(
        f"CASE = pytest.param(1, marks=pytest.mark.fragility({inner}))\n"
        f"{outer}@pytest.mark.parametrize('x', [CASE])\n"
        "def test_one(trained_family, x): pass\n"
    )
    result = project.run(ON)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(f"*@pytest.mark.fragility: *{message}*")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("name='mine'", "name= is about a measure, and the marker names none"),
        ("xfail={'trend-adam': 'why'}", "xfail= is about a measure, and the marker names none"),
        ("falling, **SMALL, spread_tolerance=0.1, scale='linear'", "scale"),
        ("falling, **SMALL, least_sensitivity=0.3", "least_sensitivity=0.3 would change nothing"),
        ("falling, **SMALL, xfail={'symmetry-*': 'why'}", "xfail='symmetry-*' matches no check"),
        ("'steady', table='values.csv', device='cpu'", "device='cpu' would change nothing"),
        ("'steady', table='values.csv', recipe=Recipe()", "says how networks are trained"),
    ],
)
def test_a_marker_s_option_without_use_is_refused(
    project: Project, arguments: str, message: str
) -> None:
    """At collection, by its name."""
    write(project.path / "values.csv", table_rows())
    fixture = "trained_family" if arguments.startswith(("name", "xfail")) else "check"
    project.write(f"@pytest.mark.fragility({arguments})\ndef test_one({fixture}): pass\n")
    result = project.run(ON)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert message in result.stdout.str()


@pytest.mark.parametrize(
    ("arguments", "further"),
    [
        # of use with a ladder, and for what tests train on demand
        ("least_sensitivity=0.3", ["--fragility-ladder=none"]),
        ("budget=10", []),
        ("budget=10", ["--fragility-locate"]),
    ],
)
def test_what_is_said_elsewhere_makes_no_marker_an_error(
    project: Project, arguments: str, further: Sequence[str]
) -> None:
    """A marker is for all runs, of which one may leave something out."""
    project.write(
        "MINE = {name: SMALL[name] for name in ('task', 'sizes', 'seeds')}\n"
        f"@pytest.mark.fragility(falling, **MINE, {arguments})\ndef test_one(check): check()\n"
        f"@pytest.mark.fragility(**MINE, {arguments})\ndef test_two(fragility): pass\n"
    )
    result = project.run(ON, *further, "--collect-only", "-q")
    assert result.ret == pytest.ExitCode.OK
    assert "test_one[trend-baseline]" in result.stdout.str()


def test_a_ladder_by_name_is_of_the_marker_s_operations(project: Project) -> None:
    """The report names the tasks that were compared."""
    project.audit(
        "falling",
        "task='teacher-relu-1+label-noise-0.2', recipe=SMALL['recipe'], sizes=(16, 32), seeds=2, "
        "perturbations=[], ladder='teacher-depth', checks='complexity'",
    )
    record = next(each for each in project.records() if each["kind"] == "complexity-level")
    assert "teacher-linear+label-noise-0.2" in str(record)
    assert len(project.ids(ON)) == 2 + len(STANDARD_CHECKS) - 1
