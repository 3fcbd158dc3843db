"""JUnit XML: what checks found, as properties that can be read."""

from __future__ import annotations

from xml.etree import ElementTree

from tests.plugin.conftest import Project


def properties(project: Project, *arguments: str) -> dict[str, dict[str, str]]:
    """Run audits and return the properties of each test case, the record left out."""
    project.run("--fragility", "--junitxml=report.xml", *arguments)
    root = ElementTree.parse(project.path / "report.xml").getroot()
    return {
        str(case.get("name")).partition("[")[2][:-1]: {
            str(node.get("name")).removeprefix("fragility_"): str(node.get("value"))
            for node in case.iter("property")
            if node.get("name") != "fragility"
        }
        for case in root.iter("testcase")
    }


def test_exponents_and_verdicts(project: Project) -> None:
    """Verdict, exponent with its interval, and change; the exponent is minus the slope."""
    project.audit("reversing", "xfail={'trend-adam': 'known'}, **SMALL")
    found = properties(project)
    common = {"measure": "reversing", "task": "blobs", "seeds": "3"}
    assert found["trend-baseline"] == {
        **common,
        "check": "trend-baseline",
        "verdict": "kept",
        "exponent": "+1 [+1, +1]",
    }
    assert found["trend-adam"]["verdict"] == "broken"
    assert found["exponent-adam"] == {
        **common,
        "check": "exponent-adam",
        "verdict": "broken",
        "exponent": "-3 [-3, -3]",
        "change": "-4 [-4, -4]",
    }
    assert found["spread-adam"]["change"].startswith("+6.02")
    assert found["controls"] == {**common, "check": "controls", "verdict": "kept"}


def test_what_does_not_apply(project: Project) -> None:
    """A check that says nothing has a verdict of its own, and no number."""
    project.audit("falling", "**{**SMALL, 'perturbations': [UNFINISHED]}")
    found = properties(project, "-k", "trend-unfinished")
    assert found["trend-unfinished"]["verdict"] == "not applicable"


def test_a_linear_scale_has_slopes(project: Project) -> None:
    """Where there is no exponent, none is named."""
    project.audit("falling", "scale='linear', **{**SMALL, 'checks': ['trend']}")
    found = properties(project, "-k", "trend-baseline")["trend-baseline"]
    assert "exponent" not in found and found["slope"].startswith("-0.0")


def test_a_ladder_has_a_sensitivity(project: Project) -> None:
    """The complexity checks have it in the place of an exponent."""
    project.audit(
        "falling",
        "**{**SMALL, 'checks': ['complexity'], 'ladder': [Task('a', load), Task('b', load)]}",
    )
    found = properties(project, "-k", "complexity-exponent")["complexity-exponent"]
    assert "sensitivity" in found and "exponent" not in found
