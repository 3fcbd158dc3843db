"""The page of a report in a real browser: quiet, true to its document, usable by keyboard."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pytest_fragility.report.page import render_page
from tests.sample_documents import hostile_document, two_measures, verdicts_of

pytest.importorskip("jinja2")
pytest.importorskip("matplotlib")

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
BROWSER = next(filter(None, map(shutil.which, BROWSERS)), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason=f"needs one of {', '.join(BROWSERS)}")

OPTIONS = ("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage")
CHECK = re.compile(r'<details [^>]*data-check="([^"]*)" data-verdict="([^"]*)"')


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Pages on disk, by name."""
    folder = tmp_path_factory.mktemp("pages")
    texts = {"two": render_page(two_measures()), "hostile": render_page(hostile_document())}
    # what a browser would say, had a page something to load
    texts["loading"] = texts["two"].replace("</body>", '<img src="http://127.0.0.1:9/x"></body>')
    for name, text in texts.items():
        (folder / f"{name}.html").write_text(text, encoding="utf-8")
    return {name: folder / f"{name}.html" for name in texts}


def dump(path: Path, profile: Path) -> tuple[str, list[str]]:
    """Return the elements that a browser makes of a page, and what its console says."""
    finished = subprocess.run(
        [
            str(BROWSER),
            "--headless=new",
            *OPTIONS,
            f"--user-data-dir={profile}",
            "--enable-logging=stderr",
            "--v=0",
            "--virtual-time-budget=2000",
            "--dump-dom",
            path.as_uri(),
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    said = [line for line in finished.stderr.splitlines() if "CONSOLE" in line]
    return finished.stdout, said


def test_the_verdicts_in_the_browser_are_the_documents_and_the_console_is_silent(
    pages: dict[str, Path], tmp_path: Path
) -> None:
    """As the browser understands the page, not as it was written."""
    text, said = dump(pages["two"], tmp_path)
    assert said == []
    assert CHECK.findall(text) == verdicts_of(two_measures())


def test_a_page_that_had_something_to_load_would_be_kept_from_it(
    pages: dict[str, Path], tmp_path: Path
) -> None:
    """The page's own policy forbids it, and the console tells of that."""
    _, said = dump(pages["loading"], tmp_path)
    assert any("Content Security Policy" in line for line in said)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A browser that is driven from here."""
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=BROWSER, args=list(OPTIONS))
        yield started
        started.close()


@pytest.mark.parametrize("name", ["two", "hostile"])
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (400, "dark")])
def test_it_asks_for_nothing_and_fits(
    name: str, width: int, scheme: str, pages: dict[str, Path], browser: Any
) -> None:
    """No request but the page's own, no dialogue, and only tables scroll sideways."""
    context = browser.new_context(
        viewport={"width": width, "height": 850}, color_scheme=scheme, reduced_motion="reduce"
    )
    page, requests, said = context.new_page(), [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: said.append(dialog.message))
    page.goto(pages[name].as_uri())
    assert [url for url in requests if url != "data:,"] == [pages[name].as_uri()]
    assert said == []
    assert page.evaluate("document.documentElement.scrollWidth") == width
    ink, paper = page.evaluate(
        "[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]"
    )
    assert (_lightness(ink) < _lightness(paper)) == (scheme == "light")
    context.close()


def test_evidence_opens_by_keyboard(pages: dict[str, Path], browser: Any) -> None:
    """A verdict in the grid leads to its evidence, which can be closed and opened too."""
    page = browser.new_page()
    page.goto(pages["two"].as_uri())
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.focus('#audit-1 .grid a[data-check="trend-adam"]')
    evidence = page.locator('#audit-1 details[data-check="trend-adam"]')
    assert evidence.get_attribute("open") is None
    page.keyboard.press("Enter")
    assert evidence.get_attribute("open") is not None
    assert "The slope reverses: falling becomes rising." in evidence.inner_text()
    evidence.locator("summary").focus()
    page.keyboard.press("Enter")
    assert evidence.get_attribute("open") is None
    page.close()


def test_it_prints_black_on_white_with_the_evidence_of_what_is_not_kept(
    pages: dict[str, Path], browser: Any
) -> None:
    """Whatever the screen's colours are."""
    page = browser.new_page(color_scheme="dark")
    page.emulate_media(media="print")
    page.goto(pages["two"].as_uri())
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    shown = page.locator('#audit-1 details[data-check="trend-adam"] .body')
    assert shown.bounding_box()["height"] > 50
    page.close()


def _lightness(color: str) -> float:
    return sum(map(float, re.findall(r"[\d.]+", color)[:3]))
