"""The bad inputs that were tried, and what the terminal and the reports show for them.

What the errors themselves say stands in ``tests/auditing/test_bad_inputs.py``.
"""

from __future__ import annotations

import json
import unicodedata
from xml.etree import ElementTree

import pytest

from tests.plugin.conftest import Project

LONG = "x" * 5000
USAGE = pytest.ExitCode.USAGE_ERROR

COMMAND_LINE = [
    ("--fragility-measure=", "--fragility-measure=: expected MODULE:FUNCTION"),
    ("--fragility-measure=../x:y", "--fragility-measure=../x:y: expected MODULE:FUNCTION"),
    ("--fragility-measure=/etc/passwd:x", "/etc/passwd:x: expected MODULE:FUNCTION"),
    ("--fragility-measure=a:b:c", "--fragility-measure=a:b:c: expected MODULE:FUNCTION"),
    ("--fragility-measure=a:<lambda>", "a:<lambda>: expected MODULE:FUNCTION"),
    ("--fragility-measure=a:f()", "a:f(): expected MODULE:FUNCTION"),
    ("--fragility-measure=a\nb:c", r"--fragility-measure=a\nb:c: expected MODULE:FUNCTION"),
    ("--fragility-measure=\x1b[31m:x", r"=\x1b[31m:x: expected MODULE:FUNCTION"),
    ("--fragility-measure=\u202ex:y", r"=\u202ex:y: expected MODULE:FUNCTION"),
    (f"--fragility-measure={LONG}:y", "x...: no module named 'x"),
    ("--fragility-measure=loud.sub:f", r"=loud.sub:f: its package raised OSError: \x1b[31mloud"),
    ("--fragility-architecture=loud.sub:f", r"its package raised OSError: \x1b[31mloud"),
    ("--fragility-architecture=os:system", "architecture system: the function needs 'command'"),
    ("--fragility-cache-dir=", "cache_dir='': expected the name of a folder"),
    ("--fragility-seeds=" + "9" * 5000, "...: expected a number, a list of numbers, auto"),
    ("--fragility-alpha=inf", "alpha=inf: expected a number between 0 and 1"),
    ("--fragility-budget=inf", "--fragility-budget: invalid int value: 'inf'"),
    ("--fragility-task=\x1b[31m", r"task name '\x1b[31m' of 5 char"),
    ("--fragility-task=../../etc/passwd", "unknown task '../../etc/passwd'"),
    ("--fragility-perturbations=\x1b[31m", r"perturbation name '\x1b[31m'"),
    ("--fragility-perturbations=" + "adam+" * 999 + "adam", "of 4,999 characters: expected 1 to"),
    ("--fragility-ladder=\r", r"ladder='\r': expected label-noise"),
]


def controls_in(text: str) -> set[str]:
    """Return characters that a terminal obeys in place of showing them."""
    kinds = ("Cc", "Cf", "Cs", "Zl", "Zp")
    return {each for each in text if unicodedata.category(each) in kinds and each not in "\n\t"}


def test_command_lines(project: Project) -> None:
    """Each is a usage error that names the value on one line; nothing is trained or written."""
    (project.path / "loud").mkdir()
    (project.path / "loud" / "__init__.py").write_text(r"raise OSError('\x1b[31mloud')")
    project.pytester.syspathinsert()
    project.write("def test_plain(): pass\n")
    for option, message in COMMAND_LINE:
        result = project.run("--fragility", option)
        shown = result.stderr.str()
        assert result.ret == USAGE, option
        assert message in shown, option
        assert not controls_in(shown), option
    assert not project.stored()


MARKERS = [
    ("5", "measure 5: expected a function of one TrainedNetwork, got int"),
    ("lambda network: 1", "is called '<lambda>': expected a name"),
    ("lambda: 1, name='mine'", "has no required argument"),
    (r"falling, name='\x1b[31m'", r"is called '\x1b[31m': expected a name"),
    ("falling, name='a[b]'", "is called 'a[b]': expected a name"),
    ("falling, name='x' * 5000", "measure name 'xxx"),
    ("falling, siezs=(8, 16)", "unknown argument 'siezs' (did you mean 'sizes'?)"),
    ("falling, xfail={'trnd-*': 'known'}", "did you mean"),
    ("falling, xfail=5", "xfail=5: expected a dict from check ids to reasons"),
    ("falling, sizes=(8, float('nan'))", "sizes=(8, nan): expected a list of whole numbers"),
    ("falling, error_margin=float('inf')", "error_margin=inf: expected a number, zero or more"),
    ("falling, perturbations=[lambda recipe: recipe]", "perturbation name '<lambda>'"),
    ("falling, architecture=lambda width: 1", "the function needs 'width'"),
    (r"falling, cache_dir='a\0b'", r"cache_dir='a\x00b': expected the name of a folder"),
]


def test_markers(project: Project) -> None:
    """Each is a collection error of its own file, without a line of the tool's own code."""
    for number, (arguments, _) in enumerate(MARKERS):
        project.write(
            f"@pytest.mark.fragility({arguments})\ndef test_it(check): check()\n",
            f"test_{number:02}",
        )
    result = project.run("--fragility", "--continue-on-collection-errors")
    result.assert_outcomes(errors=len(MARKERS))
    sections = result.stdout.str().split("ERROR collecting ")[1:]
    assert len(sections) == len(MARKERS)
    for section, (arguments, message) in zip(sections, MARKERS, strict=True):
        assert f"@pytest.mark.fragility: {message}" in section or message in section, arguments
        assert "pytest_fragility/" not in section, arguments
    assert not controls_in(result.stdout.str())


HOSTILE = r"""
def evil(network):
    raise ValueError("]]>\x00\x1b[31m\r\u202e<failure/>" + "x" * 100_000)

def skipping(network):
    pytest.skip("not today")

def leaving(network):
    raise SystemExit(3)

@pytest.mark.fragility(evil, **SMALL)
def test_evil(check): check()

@pytest.mark.fragility(skipping, **SMALL)
def test_skipping(check): check()

@pytest.mark.fragility(leaving, **SMALL)
def test_leaving(check): check()

MARKUP = '<script>alert("&]]>")</script>'

@pytest.mark.fragility(falling, **{**SMALL, "task": Task(MARKUP, load)})
def test_markup(check): check()

@pytest.mark.parametrize("value", ["\x1b[31m", "\u202e", "a\nb", "../..", "x" * 5000])
@pytest.mark.fragility(falling, **{**SMALL, "name": "mine"})
def test_parameters(check, value): check()
"""


def test_reports_of_hostile_texts(project: Project) -> None:
    """JUnit XML parses and holds the records; the tool's own lines have nothing to obey in them."""
    project.write(HOSTILE)
    options = ("-k", "trend-baseline", "-rA", "--tb=line", "--junitxml=report.xml")
    result = project.run("--fragility", *options)
    counts = result.parseoutcomes()
    # a measure that skips is one that fails
    assert (counts["passed"], counts["failed"], counts.get("skipped", 0)) == (6, 3, 0)
    # pytest itself shows the exception of a user's own code as it is
    own_lines = [line for line in result.outlines if "MeasureError: " in line]
    summary = result.stdout.str().partition("= fragility =")[2]
    assert own_lines and not controls_in("".join(own_lines) + summary)
    root = ElementTree.parse(project.path / "report.xml").getroot()
    cases = {str(case.get("name")): case for case in root.iter("testcase")}
    assert len(cases) == 9
    found = {
        name: json.loads(str(node.get("value")))
        for name, case in cases.items()
        for node in case.iter("property")
        if node.get("name") == "fragility"
    }
    readable = {
        str(node.get("name")): str(node.get("value"))
        for node in cases["test_markup[trend-baseline]"].iter("property")
    }
    assert readable["fragility_task"] == '<script>alert("&]]>")</script>'
    assert found["test_markup[trend-baseline]"]["task"] == '<script>alert("&]]>")</script>'
    assert {record["measure"] for record in found.values()} == {"falling", "mine"}
    failure = cases["test_evil[trend-baseline]"].find("failure")
    assert failure is not None and not controls_in(str(failure.get("message")))
    tables = summary.partition("= short test")[0]
    assert max(map(len, tables.splitlines())) <= 80


def test_properties_of_somebody_else(project: Project) -> None:
    """A test may record a property of this name: it is no record, and no table is made of it."""
    project.write(
        "@pytest.mark.parametrize('value', ['no json', '[]', '{\"schema\": 9}', '\\x1b', ''])\n"
        "def test_it(record_property, value): record_property('fragility', value)\n"
        "def test_number(record_property): record_property('fragility', 5)\n"
    )
    result = project.run("--fragility")
    result.assert_outcomes(passed=6)
    assert "= fragility =" not in result.stdout.str()


def test_stores_that_cannot_be_used(project: Project) -> None:
    """The failing check says which folder, why, and what to do, without the tool's own code."""
    (project.path / "file").write_text("")
    project.audit("falling")
    for folder, reason in (("file", "File exists"), ("file/below", "Not a directory")):
        result = project.run("--fragility", f"--fragility-cache-dir={folder}", "-k", "trend-adam")
        result.assert_outcomes(failed=1, deselected=6)
        result.stdout.fnmatch_lines([f"*StoreError: cannot keep trained runs in *{reason}; *"])
        failures = result.stdout.str().partition("= FAILURES =")[2]
        assert "pytest_fragility/" not in failures
    result = project.run("--fragility", "--fragility-cache-dir=a\x1b[31m\nb", "-k", "trend-adam")
    result.assert_outcomes(passed=1, deselected=6)
    result.stdout.fnmatch_lines([r"fragility: *, cache *a\x1b[[]31m\nb"])


def test_data_that_cannot_be_read(project: Project) -> None:
    """Each check of the audit fails with the loader's own error, shown once in each."""
    project.audit("falling", "**{**SMALL, 'task': Task('mine', lambda: 1 / 0)}")
    result = project.run("--fragility")
    result.assert_outcomes(failed=7)
    failures = result.stdout.str().partition("= FAILURES =")[2].partition("= short test")[0]
    assert failures.count("task 'mine': load() raised ZeroDivisionError: division by zero") == 7
    lengths = [len(part.splitlines()) for part in failures.split("\n____")[1:]]
    assert len(lengths) == 7
    # raised again for each check, an error must not grow
    assert max(lengths) <= min(lengths) + 60


def test_what_a_user_sees_of_a_table(project: Project) -> None:
    """Where a measure skips or leaves, its audit is not kept."""
    project.write(HOSTILE)
    output = project.run("--fragility", "--tb=no", "-k", "skipping or leaving").stdout.str()
    assert "skipping on blobs: inconclusive" in output
    assert "leaving on blobs: inconclusive" in output
    assert "5 checks ended in an error" in output
