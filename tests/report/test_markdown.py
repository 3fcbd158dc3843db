"""Audits as Markdown."""

from __future__ import annotations

import pytest

from pytest_fragility.perturbations import BASELINE
from pytest_fragility.report.markdown import code, fenced, markdown_summary
from tests.checks.test_judging import lines, make_curves
from tests.report.test_report import REVERSING, records_of


def test_a_row_per_audit_and_the_text_behind_it() -> None:
    """Verdicts are counted; texts stand in code blocks, which can be left out."""
    broken = records_of(make_curves(REVERSING))
    kept = records_of(make_curves({BASELINE: lines(-0.2), "adam": lines(-0.2)}))
    text = markdown_summary([broken, kept], [0, 2])
    rows = [line for line in text.splitlines() if line.startswith("| `ruler`")]
    assert rows == [
        "| `ruler` | `blobs` | **broken** | 2 | 3 | 0 | 0 | 0 |",
        "| `ruler` | `blobs` | inconclusive | 5 | 0 | 0 | 0 | 2 |",
    ]
    assert text.count("<details>") == text.count("</details>") == 2
    assert text.count("```") == 4
    assert "<details>" not in markdown_summary([broken], details=False)


@pytest.mark.parametrize(
    "name", ["<script>", "a|b", "`a`", "[a](http://b)", "@a", "*a*", "a\\|b", "a&b", "~~a~~", " a "]
)
def test_names_are_not_interpreted(name: str) -> None:
    """What means something to Markdown or HTML is spelled as character references."""
    shown = code(name).removeprefix("<code>").removesuffix("</code>")
    assert not set(shown.replace("&#", "")) & set("<>|`[]()@*\\~")
    assert code("path_norm+x-0.2") == "`path_norm+x-0.2`"


def test_a_code_block_holds_any_text() -> None:
    """Its fence is longer than any within."""
    assert fenced("a\n````\nb").splitlines() == ["`````text", "a", "````", "b", "`````"]
