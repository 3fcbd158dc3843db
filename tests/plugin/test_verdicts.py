"""A green test means a verdict: every test that stands for a check fails where it reached none."""

from __future__ import annotations

import importlib.util
import json
from importlib import resources
from xml.etree import ElementTree

import pytest

from pytest_fragility.plugin.measure_items import MeasureItem
from tests.families.conftest import table_rows
from tests.families.test_tables import write
from tests.plugin.conftest import Project

# steady is kept; fragile is broken under Adam alone
HEAD = """
import threading, unittest
import pytest
from pytest_fragility import AuditFailure

mark = pytest.mark.fragility
KEPT = mark("steady", table="values.csv", checks=["trend"])
BROKEN = mark("fragile", table="values.csv", checks=["trend"])
EXPECTED = mark("fragile", table="values.csv", checks=["trend"], xfail={"trend-adam": "known"})
"""
NEVER = "*check trend-adam of {measure} was never judged*"
OWN = "*The fixture check that the test got is pytest-fragility's own*"


@pytest.fixture
def tabled(project: Project) -> Project:
    """A project with a table, whose audits take a moment."""
    write(project.path / "values.csv", table_rows())
    return project


def run(tabled: Project, source: str, *arguments: str) -> pytest.RunResult:
    """Run the checks of one change in a test file."""
    (tabled.path / "test_it.py").write_text(HEAD + source, encoding="utf-8")
    return tabled.run("--fragility", "-k", "trend-adam", *arguments)


@pytest.mark.parametrize(
    "body",
    [
        "check",
        "return",
        "if False: check()",
        "pytest.xfail('not today')",
    ],
)
@pytest.mark.parametrize("marker", ["KEPT", "BROKEN", "EXPECTED"])
def test_a_forgotten_check_fails(tabled: Project, body: str, marker: str) -> None:
    """Whatever would have been found, and though a failure is expected."""
    result = run(tabled, f"@{marker}\ndef test_it(check):\n    {body}\n")
    result.assert_outcomes(failed=1, deselected=4)
    measure = "steady" if marker == "KEPT" else "fragile"
    result.stdout.fnmatch_lines([NEVER.format(measure=measure)])
    result.stdout.fnmatch_lines([OWN])
    result.stdout.fnmatch_lines(["1 test reached no verdict: test_it.py::test_it (1)"])


@pytest.mark.parametrize(
    "body",
    [
        "try: check()\n    except AuditFailure: pass",
        "with pytest.raises(AuditFailure): check()",
        "try: check()\n    except AuditFailure: pytest.skip('later')",
        "try: check()\n    except AuditFailure: raise unittest.SkipTest('later')",
        "thread = threading.Thread(target=quietly, args=[check]); thread.start(); thread.join()",
        "quietly(check); check = None",
    ],
)
def test_a_swallowed_verdict_counts(tabled: Project, body: str) -> None:
    """It fails as if nothing had been in its way, and is expected where the marker says so."""
    quietly = (
        "def quietly(check):\n    try: check()\n    except AuditFailure: pass\n"
        f"@{{}}\ndef test_it(check):\n    {body}\n"
    )
    result = run(tabled, quietly.format("BROKEN"))
    result.assert_outcomes(failed=1, deselected=4)
    result.stdout.fnmatch_lines(["*The test swallowed this failure of its check*xfail=*"])
    result.stdout.fnmatch_lines(["*fragile: trend BROKEN under adam*"])
    run(tabled, quietly.format("EXPECTED")).assert_outcomes(xfailed=1, deselected=4)
    run(tabled, quietly.format("KEPT")).assert_outcomes(
        **({"failed": 1} if "raises" in body else {"passed": 1}), deselected=4
    )


def test_a_swallowed_error_is_no_verdict(project: Project, shared_cache: str) -> None:
    """The message says what the check has raised."""
    project.write(
        "@pytest.mark.fragility(raising, **SMALL)\n"
        "def test_it(check):\n"
        "    try: check()\n"
        "    except Exception: pass\n"
    )
    result = project.run("--fragility", shared_cache, "-k", "trend-adam")
    result.assert_outcomes(failed=1, deselected=6)
    result.stdout.fnmatch_lines(
        ["*never judged: the test swallowed what its check raised, Measure*"]
    )
    result.stdout.fnmatch_lines(["*ValueError: no measure today*"])


@pytest.mark.parametrize(
    ("expectation", "body"),
    [
        ("@pytest.mark.xfail(reason='mine')", "pass"),
        ("@pytest.mark.xfail(reason='mine', strict=False)", "pass"),
        ("@pytest.mark.xfail(reason='mine')", "assert False"),
        ("@pytest.mark.xfail(reason='mine', run=False)", "check()"),
    ],
)
def test_expected_failures_are_verdicts(tabled: Project, expectation: str, body: str) -> None:
    """A marker of pytest's own excuses no test that was not judged, but a verdict."""
    source = f"{expectation}\n@BROKEN\ndef test_it(check):\n    {body}\n"
    result = run(tabled, source)
    assert result.ret == 1
    assert {"passed", "xfailed", "xpassed", "skipped"}.isdisjoint(result.parseoutcomes())
    result.stdout.fnmatch_lines(["1 test reached no verdict: *"])
    judged = f"{expectation}\n@BROKEN\ndef test_it(check):\n    check()\n"
    if "run" not in expectation:
        run(tabled, judged).assert_outcomes(xfailed=1, deselected=4)


def test_a_skip_stays_one_and_is_counted(tabled: Project) -> None:
    """It says itself that nothing was judged."""
    result = run(tabled, "@KEPT\ndef test_it(check):\n    pytest.skip('no time')\n", "-q")
    result.assert_outcomes(skipped=1, deselected=4)
    result.stdout.fnmatch_lines(["1 test reached no verdict: test_it.py::test_it (1)"])


def test_the_check_of_another_test_is_not_ones_own(tabled: Project) -> None:
    """One that is left over from an earlier test judges nothing, loud or in silence."""
    result = run(
        tabled,
        "kept = []\n"
        "@KEPT\ndef test_it(check):\n    kept.append(check)\n    check()\n"
        "@KEPT\ndef test_loud(check): kept[0]()\n"
        "@KEPT\ndef test_silent(check):\n"
        "    try: kept[0]()\n"
        "    except Exception: pass\n",
    )
    result.assert_outcomes(passed=1, failed=2, deselected=12)
    result.stdout.fnmatch_lines(["*called after that test had ended*"])
    result.stdout.fnmatch_lines([NEVER.format(measure="steady")])


def test_ways_to_judge(tabled: Project) -> None:
    """Twice, in a fixture, in a thread, through a fixture that is built on ours."""
    result = run(
        tabled,
        "@KEPT\ndef test_it(check):\n    check()\n    check()\n"
        "@pytest.fixture\ndef judged(check): check()\n"
        "@KEPT\ndef test_by_a_fixture(judged): pass\n"
        "@KEPT\ndef test_in_a_thread(check):\n"
        "    thread = threading.Thread(target=check); thread.start(); thread.join()\n"
        "class TestWrapped:\n"
        "    @pytest.fixture\n    def check(self, check): return lambda: check()\n"
        "    @KEPT\n    def test_wrapped(self, check): check()\n"
        "@BROKEN\ndef test_broken_by_a_fixture(judged): pass\n",
    )
    result.assert_outcomes(passed=4, errors=1, deselected=20)
    assert "no verdict" not in result.stdout.str()


SHADOW = "import pytest\n@pytest.fixture\ndef check(): return lambda *a, **k: None\n"
JUDGED = "@KEPT\ndef test_it(check): check()\n"


@pytest.mark.parametrize(
    ("place", "name"),
    [
        ("conftest", "that of conftest.py:2"),
        ("other_plugin", "other_plugin's (*other_plugin.py:2)*-p no:other_plugin*"),
        ("test_it", "that of test_it.py:*"),
        ("class", "that of test_it.py:*"),
        ("usefixtures", "pytest-fragility's own"),
    ],
)
def test_a_fixture_of_the_same_name(
    tabled: Project, place: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever it comes from, which the message says."""
    source = JUDGED
    if place == "conftest":
        (tabled.path / "conftest.py").write_text(SHADOW)
    elif place == "test_it":
        source = SHADOW + JUDGED
    elif place == "class":
        source = (
            "class TestOwn:\n    @pytest.fixture\n    def check(self): return lambda: None\n"
            "    @KEPT\n    def test_it(self, check): check()\n"
        )
    elif place == "usefixtures":
        source = "@KEPT\n@pytest.mark.usefixtures('check')\ndef test_it(): pass\n"
    else:
        (tabled.path.parent / "other_plugin.py").write_text(SHADOW)
        monkeypatch.syspath_prepend(tabled.path.parent)
        (tabled.path / "conftest.py").write_text("pytest_plugins = ['other_plugin']\n")
    result = run(tabled, source)
    result.assert_outcomes(failed=1, deselected=4)
    result.stdout.fnmatch_lines([NEVER.format(measure="steady")])
    result.stdout.fnmatch_lines([f"*that the test got is {name}*"])


def test_ours_can_be_had_again(tabled: Project) -> None:
    """As the message says."""
    (tabled.path / "conftest.py").write_text(SHADOW)
    (tabled.path / "sub").mkdir()
    write(tabled.path / "sub" / "values.csv", table_rows())
    (tabled.path / "sub" / "conftest.py").write_text("from pytest_fragility.plugin import check\n")
    (tabled.path / "sub" / "test_sub.py").write_text(HEAD + JUDGED.replace("KEPT", "BROKEN"))
    result = tabled.run("--fragility", "-k", "trend-adam")
    result.assert_outcomes(failed=1, deselected=4)
    result.stdout.fnmatch_lines(["*fragile: trend BROKEN under adam*"])


def test_a_check_of_somebody_elses(tabled: Project) -> None:
    """A test of one's own design may take another fixture of that name; without a marker too."""
    (tabled.path / "conftest.py").write_text(SHADOW)
    (tabled.path / "test_it.py").write_text(
        HEAD + "@mark(table='values.csv')\ndef test_one(check, fragility): check()\n"
        "def test_two(check): check()\n"
    )
    tabled.run("--fragility").assert_outcomes(passed=2)


@pytest.mark.parametrize(
    "source",
    [
        "@KEPT\ndef test_it(): pass\n",
        "@KEPT\ndef test_it(tmp_path, request): pass\n",
        "@KEPT\nclass TestIt:\n    def test_it(self): pass\n    def test_b(self, check): check()\n",
        "pytestmark = KEPT\ndef test_it(): pass\n",
        "@KEPT\nclass TestIt(unittest.TestCase):\n    def test_it(self): pass\n",
        "class TestIt(unittest.TestCase):\n    @KEPT\n    def test_it(self): pass\n",
        "@pytest.mark.parametrize('x', [pytest.param(1, marks=KEPT)])\ndef test_it(x): pass\n",
        "@pytest.fixture\ndef learning_curves(): pass\n@KEPT\ndef test_it(learning_curves): pass\n",
    ],
)
@pytest.mark.parametrize("option", ["--fragility", "-q"])
def test_a_measure_and_no_fixture(tabled: Project, source: str, option: str) -> None:
    """It is told at collection, wherever the marker stands."""
    (tabled.path / "test_it.py").write_text(HEAD + source, encoding="utf-8")
    result = tabled.run(option)
    result.assert_outcomes(errors=1)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(["*ERROR collecting test_it.py*"])
    text = " ".join(result.stdout.str().split())
    assert "the measure 'steady' is never judged by test_it" in text
    assert ("its learning_curves is that of test_it.py" in text) == ("learning_curves()" in source)


def test_a_marker_of_a_parameter_plans_no_checks(tabled: Project) -> None:
    """The test takes a fixture of ours, so that another thing is wrong."""
    case = "@pytest.mark.parametrize('x', [pytest.param(1, marks=KEPT)])\n"
    (tabled.path / "test_it.py").write_text(HEAD + case + "def test_it(check, x): check()\n")
    result = tabled.run("--fragility")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*'steady' is named by a marker of a parameter*too late to plan*"])


def test_fixtures_of_ones_own_design_are_enough(tabled: Project) -> None:
    """A measure in the marker of a test that takes them, and a bare marker below one with it."""
    (tabled.path / "test_it.py").write_text(
        HEAD + "@KEPT\ndef test_it(fragility): pass\n"
        "@KEPT\nclass TestIt:\n"
        "    @mark\n    def test_other(self): pass\n"
        "    def test_check(self, check): check()\n"
    )
    tabled.run("--fragility", "-k", "other or test_it or adam").assert_outcomes(passed=7)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("@KEPT\n@BROKEN\ndef test_it(check): check()\n", "*two fragility markers on *"),
        (
            "@pytest.mark.parametrize('x', [pytest.param(1, marks=BROKEN)])\n"
            "@KEPT\ndef test_it(check, x): check()\n",
            "*two fragility markers on *",
        ),
        (
            "@pytest.mark.parametrize('check', [print])\n@KEPT\ndef test_it(check): check()\n",
            "*but @pytest.mark.parametrize gives it values*",
        ),
        (
            "@pytest.fixture(params=[1])\ndef check(request): return print\n"
            "@KEPT\ndef test_it(check): check()\n",
            "*it is that of test_it.py:*with params of its own*",
        ),
    ],
)
def test_what_would_be_left_out(tabled: Project, source: str, message: str) -> None:
    """One of two measures, or the checks of a fixture that has values already."""
    (tabled.path / "test_it.py").write_text(HEAD + source, encoding="utf-8")
    result = tabled.run("--fragility")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([message])


def test_a_marker_that_comes_after_collection(tabled: Project) -> None:
    """It is told when the test runs."""
    (tabled.path / "conftest.py").write_text(
        "import pytest\n"
        "def pytest_collection_modifyitems(items):\n"
        "    for item in items:\n"
        "        item.add_marker(pytest.mark.fragility('steady', table='values.csv'))\n"
    )
    (tabled.path / "test_it.py").write_text("def test_it(): pass\n")
    result = tabled.run("--fragility")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*the measure 'steady' is never judged by test_it*"])


def test_a_marker_that_a_hook_gives_to_tests(tabled: Project) -> None:
    """It counts as one in the file, and without the option nothing is judged."""
    (tabled.path / "conftest.py").write_text(
        f"{HEAD}"
        "@pytest.hookimpl(tryfirst=True)\n"
        "def pytest_generate_tests(metafunc): metafunc.definition.add_marker(KEPT)\n"
    )
    (tabled.path / "test_it.py").write_text("def test_it(check): check()\n")
    tabled.run("--fragility").assert_outcomes(passed=5)
    tabled.run().assert_outcomes(skipped=5)


def test_hooks_of_others_hide_nothing(tabled: Project) -> None:
    """Neither one that runs the test itself, nor one that swallows what it raised."""
    (tabled.path / "conftest.py").write_text(
        "import pytest\n"
        "@pytest.hookimpl(tryfirst=True)\n"
        "def pytest_pyfunc_call(pyfuncitem): return 'silent' in pyfuncitem.name or None\n"
        "@pytest.hookimpl(wrapper=True, tryfirst=True)\n"
        "def pytest_runtest_call(item):\n"
        "    try: return (yield)\n"
        "    except AssertionError: return None\n"
    )
    result = run(
        tabled,
        "@KEPT\ndef test_silent(check): check()\n@BROKEN\ndef test_it(check): check()\n",
    )
    result.assert_outcomes(failed=2, deselected=8)
    result.stdout.fnmatch_lines([NEVER.format(measure="steady")])
    result.stdout.fnmatch_lines(["*fragile: trend BROKEN under adam*"])


def test_measures_of_the_command_line(tabled: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are tests without a file, and fail as well where something else runs them."""
    monkeypatch.setattr(MeasureItem, "runtest", lambda self: None)
    result = tabled.run("--fragility", "--fragility-table=values.csv", "-k", "trend-adam")
    result.assert_outcomes(failed=2, deselected=12)
    result.stdout.fnmatch_lines(["*check trend-adam was never judged*"])
    result.stdout.fnmatch_lines(["2 tests reached no verdict: values.csv::steady (1),*"])


RERUN = """
tried = []
def again(name):
    tried.append(name)
    return tried.count(name) > 1
@{marker}
def test_forgotten(check):
    if again("forgotten"): return
    check()
    assert False
@KEPT
def test_better(check):
    assert again("better")
    check()
"""


@pytest.mark.skipif(
    importlib.util.find_spec("pytest_rerunfailures") is None, reason="needs pytest-rerunfailures"
)
@pytest.mark.parametrize("marker", ["KEPT", "BROKEN"])
def test_a_rerun_inherits_no_verdict(tabled: Project, marker: str) -> None:
    """The last run counts, in the report too."""
    result = run(
        tabled, RERUN.format(marker=marker), "--reruns=1", "--fragility-report=out", "-p", "no:cov"
    )
    assert result.parseoutcomes()["failed"] == 1 and result.parseoutcomes()["passed"] == 1
    result.stdout.fnmatch_lines(["1 test reached no verdict: test_it.py::test_forgotten (1)"])
    found = json.loads((tabled.path / "out" / "audit.json").read_text())
    assert [audit["id"] for audit in found["audits"]] == ["test_it.py::test_better"]
    assert len(found["audits"][0]["checks"]) == 1 and not found["audits"][0]["errors"]


def test_retries_that_report_in_their_own_way(tabled: Project) -> None:
    """A run that no hook for reports hears of inherits no verdict either, and may reach its own."""
    (tabled.path / "conftest.py").write_text(
        "import pytest\n"
        "@pytest.hookimpl(wrapper=True, tryfirst=True)\n"
        "def pytest_runtest_makereport(item, call):\n"
        "    report = yield\n"
        "    if call.when != 'call': return report\n"
        "    item.ihook.pytest_runtest_teardown(item=item, nextitem=None)\n"
        "    item._initrequest()\n"
        "    item.ihook.pytest_runtest_setup(item=item)\n"
        "    again = lambda: item.ihook.pytest_runtest_call(item=item)\n"
        "    call = pytest.CallInfo.from_call(again, when='call')\n"
        "    return pytest.TestReport.from_item_and_call(item, call)\n"
    )
    result = run(tabled, RERUN.format(marker="KEPT"))
    result.assert_outcomes(failed=1, passed=1, deselected=8)
    result.stdout.fnmatch_lines([NEVER.format(measure="steady")])


@pytest.mark.skipif(not hasattr(pytest, "Subtests"), reason="needs the subtests of pytest 9")
def test_subtests(tabled: Project) -> None:
    """They are parts of a test, whose check may be called in one of them, or after them."""
    result = run(
        tabled,
        "@KEPT\ndef test_it(check, subtests):\n"
        "    with subtests.test('one'): pass\n"
        "    with subtests.test('two'): check()\n"
        "@KEPT\ndef test_after(check, subtests):\n"
        "    with subtests.test('one'): pass\n"
        "    check()\n"
        "@EXPECTED\ndef test_expected(check, subtests):\n"
        "    with subtests.test('one'): check()\n"
        "@KEPT\ndef test_forgotten(check, subtests):\n"
        "    with subtests.test('one'): pass\n",
    )
    result.assert_outcomes(passed=2, failed=1, xfailed=1, deselected=16)
    result.stdout.fnmatch_lines(["1 test reached no verdict: test_it.py::test_forgotten (1)"])


TWO = """
@KEPT
def test_forgotten(check): check
@KEPT
def test_it(check): check()
"""


def test_workers(tabled: Project) -> None:
    """pytest-xdist's fail such tests too, and the count is of all of them."""
    pytest.importorskip("xdist")
    (tabled.path / "test_it.py").write_text(HEAD + TWO)
    result = tabled.run_apart("--fragility", "-n2", "--fragility-report=out")
    assert "5 failed, 5 passed" in result.stdout
    assert "5 tests reached no verdict: test_it.py::test_forgotten (5)" in result.stdout
    found = json.loads((tabled.path / "out" / "audit.json").read_text())
    assert [each["audit"] for each in found["unjudged"]] == ["test_it.py::test_forgotten"] * 5


def test_a_baseline_makes_nothing_green(tabled: Project) -> None:
    """And has nothing of such tests; where it has them from before, they are missing."""
    baseline = tabled.path / "fragility_baselines" / "main.json"
    run(tabled, TWO, "--fragility-save=main")
    assert list(json.loads(baseline.read_text())["audits"]) == ["test_it.py::test_it"]
    run(
        tabled,
        TWO.replace("check: check\n", "").replace(": check\n", ": check()\n"),
        "--fragility-save=main",
    )
    assert len(json.loads(baseline.read_text())["audits"]) == 2
    result = run(tabled, TWO.replace("KEPT", "BROKEN"), "--fragility-compare=main")
    result.assert_outcomes(failed=2, deselected=8)
    result = run(tabled, TWO, "--fragility-compare=main")
    result.assert_outcomes(failed=1, passed=1, deselected=8)
    assert "test_it.py::test_forgotten[trend-adam]" in result.stdout.str().partition("missing")[2]


def test_reports_say_how_many(tabled: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """In every form; also where nothing at all was judged, and an older report says otherwise."""
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads(
        (resources.files("pytest_fragility") / "report" / "audit.schema.json").read_text()
    )
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tabled.path / "summary.md"))
    flags = ["--fragility-report=out", "--junitxml=out.xml"]
    for source in (TWO, "@KEPT\ndef test_forgotten(check): check\n"):
        result = run(tabled, source, *flags)
        note = "1 test reached no verdict: test_it.py::test_forgotten (1)"
        result.stdout.fnmatch_lines([note])
        result.stdout.fnmatch_lines(
            ["::error file=*title=trend-adam reached no verdict::*never j*"]
        )
        found = json.loads((tabled.path / "out" / "audit.json").read_text())
        jsonschema.validate(found, schema)
        (unjudged,) = found["unjudged"]
        assert unjudged["audit"] == "test_it.py::test_forgotten"
        assert unjudged["check"] == "trend-adam" and "never judged" in unjudged["message"]
        assert len(found["audits"]) == (source == TWO)
        for name in ("out/index.html", "out/summary.md", "summary.md"):
            assert note in (tabled.path / name).read_text(encoding="utf-8")
        suite = ElementTree.parse(tabled.path / "out.xml").getroot()
        properties = {(node.get("name"), node.get("value")) for node in suite.iter("property")}
        assert ("fragility_unjudged", "1") in properties
        assert ("fragility_verdict", "no verdict") in properties
