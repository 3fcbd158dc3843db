"""What pytest's exit status means for an audit, as the README says."""

from __future__ import annotations

import pytest

from tests.plugin.conftest import Project

AUDIT = "@pytest.mark.fragility({}, **SMALL)\ndef test_audit(check): check()\n"

CASES = [
    (0, AUDIT.format("falling"), []),
    (0, AUDIT.format("reversing, xfail={'*-adam': 'known'}"), []),
    (1, AUDIT.format("reversing"), []),
    (1, AUDIT.format("noise"), ["-k", "exponent-adam"]),
    (1, AUDIT.format("raising"), []),
    (1, AUDIT.format("falling, xfail={'trend-adam': 'known'}"), []),
    (2, AUDIT.format("5"), []),
    (2, "import nothing_of_that_name\n", []),
    (4, AUDIT.format("falling"), ["--fragility-task=unknown"]),
    (4, AUDIT.format("falling"), ["--fragility-compare=main"]),
    (5, AUDIT.format("falling"), ["-k", "nothing"]),
    (5, "", []),
]


@pytest.mark.parametrize(("status", "source", "arguments"), CASES)
def test_exit_status(project: Project, status: int, source: str, arguments: list[str]) -> None:
    """Kept is 0, any other verdict 1; what keeps an audit from running has a status of its own."""
    project.write(source)
    assert project.run("--fragility", *arguments).ret == status
