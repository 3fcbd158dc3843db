"""What ``@pytest.mark.fragility`` does to a test, and what it refuses."""

from __future__ import annotations

import pytest

from tests.plugin.conftest import ALL_CHECKS, STANDARD_CHECKS, Project


def test_marked_tests_are_skipped_with_one_reason(project: Project) -> None:
    """Without --fragility every marked test is skipped, and the reason says how to run it."""
    project.write(
        "@pytest.mark.fragility(falling, **SMALL)\n"
        "def test_generated(check): check()\n"
        "@pytest.mark.fragility(**SMALL)\n"
        "def test_by_hand(learning_curves): learning_curves(falling)\n"
        "def test_of_something_else(): pass\n"
    )
    result = project.run("-rs")
    result.assert_outcomes(passed=1, skipped=len(ALL_CHECKS) + 1)
    skips = [line for line in result.outlines if line.startswith("SKIPPED")]
    assert skips and all("run pytest with --fragility" in line for line in skips)
    assert not project.stored()


def test_one_test_per_check(project: Project) -> None:
    """With --fragility each check is a test, named after its check."""
    project.audit("falling")
    result = project.run("--fragility", "-v")
    result.assert_outcomes(passed=len(ALL_CHECKS))
    result.stdout.fnmatch_lines(
        [f"test_audit.py::test_audit[[]{check}[]] PASSED*" for check in ALL_CHECKS]
    )


def test_k_selects_checks(project: Project) -> None:
    """``-k`` picks checks by kind and perturbation."""
    project.audit("falling")
    result = project.run("--fragility", "-v", "-k", "trend and adam")
    result.assert_outcomes(passed=1, deselected=len(ALL_CHECKS) - 1)
    result.stdout.fnmatch_lines(["*test_audit[[]trend-adam[]] PASSED*"])


def test_m_selects_audits(project: Project) -> None:
    """``-m fragility`` picks audits among other tests."""
    project.audit("falling")
    project.write("def test_of_something_else(): pass", "test_other")
    result = project.run("--fragility", "-m", "fragility and not other", "--collect-only", "-q")
    result.stdout.fnmatch_lines([f"*{len(ALL_CHECKS)}/{len(ALL_CHECKS) + 1} tests collected*"])


def test_measure_as_only_argument(project: Project) -> None:
    """A marker called with nothing but a function takes it as its measure and leaves it alone."""
    project.write(
        "marked = pytest.mark.fragility(falling)\n"
        "@marked\n"
        "def test_short(check): check()\n"
        "def test_measure_is_unmarked():\n"
        "    assert not hasattr(falling, 'pytestmark')\n"
    )
    ids = project.ids("--fragility")
    assert "test_audit.py::test_short[trend-baseline]" in ids
    assert "test_audit.py::test_short[spread-adam-x10]" in ids
    project.run("-k", "unmarked").assert_outcomes(passed=1, deselected=len(ids) - 1)


def test_markers_without_measure(project: Project) -> None:
    """The bare marker marks functions, classes and modules of hand-written tests."""
    project.write("@pytest.mark.fragility\ndef test_function(): pass\n", "test_function")
    project.write("pytestmark = pytest.mark.fragility\ndef test_module(): pass\n", "test_module")
    project.write(
        "pytestmark = [pytest.mark.fragility]\ndef test_module(): pass\n", "test_module_list"
    )
    project.write(
        "@pytest.mark.fragility\nclass TestClass:\n    def test_method(self): pass\n", "test_class"
    )
    project.run().assert_outcomes(skipped=4)
    project.run("--fragility").assert_outcomes(passed=4)


def test_marker_of_a_class(project: Project) -> None:
    """A class's marker holds for its tests; a test's own marker goes before it."""
    project.write(
        "@pytest.mark.fragility(falling, **{**SMALL, 'checks': 'trend'})\n"
        "class TestMine:\n"
        "    def test_one(self, check): check()\n"
        "    @pytest.mark.fragility(falling, **{**SMALL, 'checks': 'exponent'})\n"
        "    def test_two(self, check): check()\n"
    )
    assert project.ids("--fragility") == [
        f"test_audit.py::TestMine::{test}[{check}]"
        for test, checks in (
            ("test_one", ("trend-baseline", "trend-adam", *STANDARD_CHECKS)),
            ("test_two", ("exponent-adam", *STANDARD_CHECKS)),
        )
        for check in checks
    ]
    project.run("--fragility").assert_outcomes(passed=5 + 4)


def test_other_parameters_multiply(project: Project) -> None:
    """A marked test can be parametrized besides."""
    project.write(
        "@pytest.mark.parametrize('side', ['left', 'right'])\n"
        "@pytest.mark.fragility(falling, **{**SMALL, 'checks': 'trend'})\n"
        "def test_both(check, side):\n"
        "    check()\n"
    )
    ids = project.ids("--fragility")
    assert len(ids) == len(set(ids)) == 10
    project.run("--fragility").assert_outcomes(passed=10)


def test_marker_is_registered(project: Project) -> None:
    """``--markers`` explains the marker, and ``--strict-markers`` knows it."""
    project.audit("falling")
    result = project.run("--markers")
    result.stdout.fnmatch_lines(["@pytest.mark.fragility(measure, [*], name=None, xfail=None,*"])
    ids = project.ids("--strict-markers", "--fragility")
    assert len(ids) == len(ALL_CHECKS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            "falling, error_margn=1",
            "*unknown argument 'error_margn' (did you mean 'error_margin'?)*",
        ),
        ("falling, perturbations=['adm']", "*unknown perturbation 'adm': did you mean 'adam'?*"),
        ("falling, checks='trnd'", "*unknown check 'trnd' (did you mean 'trend'?)*"),
        (
            "falling, xfail={'trend-adm': 'x'}, **SMALL",
            "*xfail='trend-adm' matches no check (did you mean 'trend-adam'?)*",
        ),
        ("falling, trend='decresing'", "*trend='decresing' (did you mean 'decreasing'?)*"),
        ("falling, profile='quik'", "*profile='quik' (did you mean 'quick'?)*"),
        ("falling, xfail=['trend-adam']", "*xfail=[[]'trend-adam'[]]: expected a dict*"),
        ("falling, reversing", "*takes one measure, got 2*"),
        ("falling, measure=reversing", "*the measure is given twice*"),
        ("lambda network: 1.0", "*'<lambda>'*give it one with name=*"),
        ("3", "*measure 3: expected a function*"),
        ("falling, seeds=1", "*expected at least two seeds*"),
        ("falling, sizes=[16]", "*sizes=[[]16[]]: a learning curve needs at least two sizes*"),
        ("falling, alpha='small'", "*alpha='small': expected a number between 0 and 1*"),
        ("falling, error_margin=-1", "*error_margin=-1: expected a number, zero or more*"),
        ("falling, task='digit'", "*unknown task 'digit': expected one of digits*"),
        ("falling, recipe='adam'", "*recipe='adam': expected a pytest_fragility.Recipe*"),
        ("falling, scale='linear', checks='spread'", "*spread needs scale='log'*"),
        ("perturbations=['adam']", "*the check fixture needs a measure*"),
    ],
)
def test_unusable_marker_is_a_collection_error(
    project: Project, arguments: str, message: str
) -> None:
    """What a marker gets wrong is said at collection, with the nearest right word."""
    project.audit(arguments, "")
    result = project.run("--fragility")
    result.assert_outcomes(errors=1)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(["*ERROR collecting test_audit.py*", message])
    result.stdout.no_fnmatch_line("*INTERNALERROR*")
    result.stdout.no_fnmatch_line("*Traceback*")


def test_unusable_marker_is_told_without_audits_too(project: Project) -> None:
    """A misspelt marker does not wait for --fragility to be found."""
    project.audit("falling, sizs=[16, 32]", "")
    result = project.run()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*unknown argument 'sizs' (did you mean 'sizes'?)*"])
