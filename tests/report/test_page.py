"""The page of a report: whole, self-contained, and true to its document."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from pytest_fragility.errors import SettingsError
from pytest_fragility.perturbations import BASELINE
from pytest_fragility.report import page
from pytest_fragility.report.documents import document
from pytest_fragility.report.page import render_page
from tests.sample_documents import (
    FALLING,
    HOSTILE,
    hostile_document,
    sample_audit,
    sample_curves,
    two_measures,
    verdicts_of,
)

pytest.importorskip("jinja2")
pytest.importorskip("matplotlib")

MOST_BYTES = 3_000_000
# of an audit with four recipes; the rest of the page grows with it
SAMPLE_BYTES = 500_000


class Elements(HTMLParser):
    """All elements of a page: tag, attributes, and the text that follows the tag at once."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        """Note a text."""
        self.texts.append(data)

    def named(self, *tags: str) -> Iterator[dict[str, str | None]]:
        """Return the attributes of all elements with one of these tags."""
        return (attributes for tag, attributes in self.found if tag in tags)


@pytest.fixture(scope="module")
def two() -> str:
    """The page of two measures."""
    return render_page(two_measures())


@pytest.fixture(scope="module")
def hostile() -> str:
    """The page of a measure, recipe, task and error with hostile names."""
    return render_page(hostile_document())


def test_every_verdict_of_the_document_is_on_the_page_with_its_evidence(two: str) -> None:
    """Neither more nor fewer, in the document's order."""
    shown = [
        (each["data-check"], each["data-verdict"])
        for each in Elements(two).named("details")
        if "data-check" in each
    ]
    assert shown == verdicts_of(two_measures())
    assert {verdict for _, verdict in shown} == {"kept", "broken", "inconclusive"}


def test_verdicts_in_grids_equal_the_documents_and_lead_to_evidence(two: str) -> None:
    """Each cell says what the document says, in words beside its colour."""
    elements = Elements(two)
    ids = {each["id"] for _, each in elements.found if "id" in each}
    cells = [each for each in elements.named("a") if "data-check" in each]
    known = set(verdicts_of(two_measures()))
    assert len(cells) > 10
    for cell in cells:
        assert (cell["data-check"], cell["data-verdict"]) in known
        assert (cell["href"] or "").removeprefix("#") in ids
    text = "".join(elements.texts)
    assert "✗ broken" in text and "✓ kept" in text and "does not apply" in text


def test_each_audits_overall_verdict_is_told(two: str) -> None:
    """In the audit's section, and as yes, no or undecided."""
    sections = list(Elements(two).named("article"))
    assert [(each["data-audit"], each["data-verdict"]) for each in sections] == [
        (audit["id"], audit["verdict"]) for audit in two_measures()["audits"]
    ]
    assert 'class="big">Yes' in two


def test_several_measures_are_compared_first_and_one_is_not(two: str) -> None:
    """A table with a row for each, linked to its section, before any section."""
    rows = [each for each in Elements(two).named("tr") if "data-audit" in each]
    assert [row["data-audit"] for row in rows] == ["test_ruler.py::test_ruler", "steady"]
    assert two.index('href="#audit-2"') < two.index('id="audit-1"')
    alone = render_page({**two_measures(), "audits": two_measures()["audits"][1:]})
    assert 'id="comparison"' not in alone


def test_all_parts_are_there(two: str) -> None:
    """Curves, forest plots, spread, ladder, symmetries, breaking points, agreement, errors."""
    for part in (
        "Is it fragile?",
        "To what?",
        "How sure is that?",
        "Learning curves",
        "Exponents",
        "Spread at fixed n",
        "Over the ladder steps",
        "Where the function stays the same",
        "Breaking points",
        "Agreement with test error",
        "it diverged",
        "lr-x3",
        "nothing admissible",
    ):
        assert part in two


def test_figures_say_in_words_what_they_show(two: str) -> None:
    """Each drawing has a role and a label, and a caption."""
    drawings = list(Elements(two).named("svg"))
    assert len(drawings) >= 12
    for drawing in drawings:
        assert drawing["role"] == "img"
        assert len(drawing["aria-label"] or "") > 20
    assert two.count("<figcaption>") == len(drawings)
    assert "Learning curves of ruler and of test error under adam" in two


def test_ids_are_unique_and_references_lead_somewhere(two: str) -> None:
    """Also those within figures, which matplotlib names alike."""
    elements = Elements(two)
    ids = [each["id"] for _, each in elements.found if "id" in each]
    assert len(ids) == len(set(ids))
    links = [each["href"] or "" for each in elements.named("a", "use")]
    clips = re.findall(r"url\(#([^)]+)\)", two)
    assert {link.removeprefix("#") for link in links} | set(clips) <= set(ids)


def test_nothing_refers_to_anything_outside(two: str, hostile: str) -> None:
    """No script, no address, no file; browsers are told to load nothing."""
    for text in (two, hostile):
        elements = Elements(text)
        assert not re.search(r"https?://|//[a-z]|@import|url\((?!#)", text)
        assert not list(elements.named("script", "img", "iframe", "object", "embed", "form"))
        assert not [name for _, each in elements.found for name in each if name.startswith("on")]
        for each in elements.named("a", "use"):
            assert (each["href"] or "").startswith("#")
        policies = [each["content"] for each in elements.named("meta") if "http-equiv" in each]
        assert policies == ["default-src 'none'; style-src 'unsafe-inline'; img-src data:"]


def test_hostile_names_are_shown_and_do_nothing(hostile: str) -> None:
    """Markup, templates and formulas are text; control characters are spelled out."""
    assert "<script" not in hostile
    assert "\x1b" not in hostile
    shown = HOSTILE.replace("\x1b", "\\x1b")
    texts = Elements(hostile).texts
    assert f"raised {shown}" in texts
    assert any(shown in text for text in texts)
    shown_checks = {each.get("data-check") for each in Elements(hostile).named("details")}
    assert f"trend-{shown}" in shown_checks


def test_the_same_document_gives_the_same_page(hostile: str) -> None:
    """Byte for byte, also after it was read from a file."""
    read = json.loads(json.dumps(hostile_document()))
    assert render_page(read) == hostile


def test_a_panel_shows_one_recipe_whatever_was_drawn_before() -> None:
    """Panels share their axes; with other quantities in common, they have others."""
    from pytest_fragility.report.figures.curves import DrawnCurve
    from pytest_fragility.report.figures.panels import FittedCurve, Panels, RecipeCurves

    def curves_of(level: float) -> FittedCurve:
        curve = {"sizes": [16, 32], "values": [[level, level + 1], [level / 2, level / 3]]}
        return FittedCurve(DrawnCurve(curve, "log", 0.05), -level)

    def panels() -> Panels:
        baseline = RecipeCurves({"measure": curves_of(3.0), "test error": curves_of(1.0)})
        return Panels(baseline, dict.fromkeys(baseline.curves, (0.1, 20.0)), "norm")

    both = RecipeCurves({"measure": curves_of(5.0), "test error": curves_of(2.0)}, "broken")
    other = RecipeCurves({"measure": curves_of(9.0), "test error": curves_of(7.0)}, "kept")
    error_alone = RecipeCurves({"test error": curves_of(2.0)})
    cases = [("a", both), ("b", other), ("c", error_alone), (BASELINE, both)]
    shared = panels()
    for name, curves in [*cases, *cases]:
        assert shared.draw(name, name, curves) == panels().draw(name, name, curves)
    assert len({str(panels().draw("a", name, curves).svg) for name, curves in cases}) == 4


def test_a_page_is_small(two: str) -> None:
    """Far below what is allowed, so that many recipes have room."""
    assert len(two.encode()) < SAMPLE_BYTES < MOST_BYTES


def test_an_empty_report_is_a_page_too() -> None:
    """It says that there is nothing."""
    assert "holds no check that was run" in render_page({**two_measures(), "audits": []})


def test_a_linear_scale_and_a_single_check_have_a_page() -> None:
    """Curves without logarithms, no ladder, no perturbation."""
    curves = replace(sample_curves({BASELINE: FALLING}), scale="linear", ladder=None)
    text = render_page(document([sample_audit(curves, kinds=["trend"])]))
    assert "baseline alone" in text
    assert "slope per log(n)" in text


@pytest.mark.parametrize("missing", ["jinja2", "matplotlib"])
def test_without_the_extra_it_says_what_to_install(
    missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The package that is missing, and the command."""
    monkeypatch.setattr(page, "find_spec", lambda name: None if name == missing else object())
    expected = rf"needs {missing}, .*pip install 'pytest-fragility\[report\]'"
    with pytest.raises(SettingsError, match=expected):
        render_page({})


def test_the_users_matplotlib_is_left_alone() -> None:
    """No pyplot, no window system, and the same settings after as before."""
    code = (
        "import sys, matplotlib\n"
        # as they stand: to ask matplotlib for its backend imports pyplot
        "def settings(): return dict(dict.items(matplotlib.rcParams))\n"
        "before = settings()\n"
        "from tests.sample_documents import FALLING, sample_audit, sample_curves\n"
        "from pytest_fragility.report.documents import document\n"
        "from pytest_fragility.report.page import render_page\n"
        "curves = sample_curves({'baseline': FALLING})\n"
        "render_page(document([sample_audit(curves, kinds=['trend'])]))\n"
        "assert settings() == before\n"
        "print('pyplot' if 'matplotlib.pyplot' in sys.modules else 'clean')\n"
    )
    finished = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert finished.stdout.strip() == "clean"


def test_before_a_page_is_rendered_nothing_slow_is_imported() -> None:
    """Neither matplotlib nor Jinja2, nor NumPy."""
    code = (
        "import sys, pytest_fragility.report.page, pytest_fragility.report.comparison\n"
        "print([n for n in ('jinja2', 'matplotlib', 'numpy', 'torch') if n in sys.modules])\n"
    )
    finished = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert finished.stdout.strip() == "[]"
