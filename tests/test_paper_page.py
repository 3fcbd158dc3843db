"""The page of a paper's claims: what decides a claim, and the README's table as it is made."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from examples import paper_page
from examples.paper_claims import (
    ADMISSIBLE,
    ALPHA,
    CHANGES,
    CLAIMS,
    FAILS,
    HOLDS,
    INADMISSIBLE,
    LEARNING_RATES,
    OPEN,
    UNDECIDED,
    Finding,
    admissibility,
    follows_the_data,
    is_fragile,
    misses_the_data,
    moves_less,
    slope_reverses,
)
from examples.paper_page import SETTINGS, Setting, between, legend, line, main, markers, written
from pytest_fragility.checks.check import Check
from pytest_fragility.checks.registry import judge
from pytest_fragility.checks.tolerances import Tolerances
from pytest_fragility.curves import LadderCurves, LearningCurve, LearningCurves
from pytest_fragility.perturbations import BASELINE
from pytest_fragility.recipes import Recipe
from pytest_fragility.tasks import Ladder, Task, with_label_noise
from tests.readme_parts import README

SIZES, SEEDS = (32, 64, 128, 256, 512, 1024), 10
CELL = re.compile(
    rf"(\*\*{HOLDS}\*\*|{FAILS}|{OPEN}): .+"
    rf"|{paper_page.NOT_ASKED}( \(needs [\w, -]+\))?"
)


def curve(name: str, slope: float, level: float = 0.0, scatter: float = 0.01) -> LearningCurve:
    """Return a power law whose slope scatters over seeds."""
    noise = np.random.default_rng([len(name), round(1e3 * abs(slope))]).normal(size=SEEDS)
    log_sizes = np.log(SIZES)[:, None]
    values = 10**level * np.exp((slope + scatter * noise) * (log_sizes - log_sizes.mean()))
    return LearningCurve(name, BASELINE, SIZES, values, ALPHA)


def curves(
    slopes: Mapping[str, float],
    *,
    error: Mapping[str, float] = {},
    scatter: float = 0.01,
    unfinished: Mapping[str, str] = {},
) -> LearningCurves:
    """Return curves; the slope of a change that is not named is the baseline's."""
    recipes = (BASELINE, *CHANGES)
    return LearningCurves(
        measure_name="measure",
        task_name="task",
        device="cpu",
        recipes=dict.fromkeys(recipes, "a recipe"),
        sizes=SIZES,
        seeds=tuple(range(SEEDS)),
        alpha=ALPHA,
        measure={
            each: curve(each, slopes.get(each, slopes[BASELINE]), scatter=scatter)
            for each in recipes
        },
        error={each: curve(each, error.get(each, -0.25)) for each in recipes},
        unfinished=dict(unfinished),
    )


REVERSING = {BASELINE: -0.2, "lr-x10": 0.3}


def test_a_certain_reversal_holds() -> None:
    """With the change by name, and both slopes."""
    found = slope_reverses(LEARNING_RATES)(curves(REVERSING))
    assert found.status == HOLDS
    assert re.match(r"`lr-x10`, slope -0\.(19|20) \[.*\] -> \+0\.(29|30) \[", found.figures)
    assert is_fragile(curves(REVERSING)).status == HOLDS


def test_slopes_that_certainly_stay_refute_a_claim() -> None:
    """Also where the largest of them moves."""
    found = slope_reverses(LEARNING_RATES)(curves({BASELINE: -0.2, "lr-x10": -0.1}))
    assert (found.status, found.figures[:16]) == (FAILS, "farthest `lr-x10")
    assert is_fragile(curves({BASELINE: -0.2, "adam": -0.18})).status == FAILS


def test_uncertain_slopes_leave_a_claim_open() -> None:
    """Of the measure, at the baseline or after the change."""
    assert slope_reverses(LEARNING_RATES)(curves(REVERSING, scatter=0.5)).status == OPEN


@pytest.mark.parametrize(
    ("error", "expected"),
    [({}, ADMISSIBLE), ({"lr-x10": -0.6}, INADMISSIBLE), ({"lr-x10": -0.15}, UNDECIDED)],
)
def test_only_an_admissible_change_shows_anything(
    error: Mapping[str, float], expected: str
) -> None:
    """One that is not is left out; one that may be leaves the claim open."""
    found = curves(REVERSING, error=error)
    assert admissibility(found, "lr-x10", ALPHA / len(LEARNING_RATES)) == expected
    statuses = {ADMISSIBLE: HOLDS, INADMISSIBLE: FAILS, UNDECIDED: OPEN}
    assert slope_reverses(LEARNING_RATES)(found).status == statuses[expected]


@pytest.mark.parametrize("unfinished", [BASELINE, "lr-x10"])
def test_a_training_that_did_not_end_shows_nothing(unfinished: str) -> None:
    """Where it is the baseline, no change does."""
    found = slope_reverses(["lr-x10"])(curves(REVERSING, unfinished={unfinished: "diverged"}))
    assert found == Finding(OPEN, "no change is admissible")


@pytest.mark.parametrize("after", [-0.35, -0.25, -0.2, -0.12, -0.02, 0.01, 0.3])
def test_what_holds_is_what_an_audit_calls_broken(after: float) -> None:
    """At the same level: the trend, and the exponent."""
    found = curves({BASELINE: -0.2, "lr-x10": after})
    trend, exponent = (
        judge(Check(kind, "lr-x10"), found, Tolerances()).status for kind in ("trend", "exponent")
    )
    status = {"broken": HOLDS, "kept": FAILS, "inconclusive": OPEN}
    assert slope_reverses(["lr-x10"])(found).status == status[trend]
    if exponent == "kept" and trend == "kept":
        assert is_fragile(found).status in (FAILS, OPEN)
    if abs(after + 0.2) > 0.14:
        assert "broken" in (trend, exponent)
        assert is_fragile(found).status == HOLDS


def test_the_larger_move_is_found_either_way() -> None:
    """Of two measures on the same networks; two that move alike show nothing."""
    steady, moving = curves({BASELINE: -0.25, "adam": -0.2}), curves(REVERSING)
    assert moves_less(steady, moving).status == HOLDS
    assert moves_less(moving, steady).status == FAILS
    assert moves_less(steady, steady).status == OPEN
    assert re.match(
        r"exponent by -0\.\d\d \(`lr-x10`\), the origin's by -0\.0\d \(`adam`\), by \+0\.4\d \[",
        moves_less(steady, moving).figures,
    )


def test_a_move_counts_only_under_an_admissible_change() -> None:
    """What moves farther under a change that is not small has not moved farther."""
    error = {"lr-x10": -0.6}
    steady, moving = curves({BASELINE: -0.25}, error=error), curves(REVERSING, error=error)
    assert moves_less(steady, moving).status == OPEN


@pytest.mark.parametrize(
    ("exponents", "misses", "follows"),
    [((-0.5, -0.5), HOLDS, FAILS), ((-0.5, -0.25), FAILS, HOLDS), ((-0.2, -0.5), HOLDS, FAILS)],
)
def test_over_a_ladder(exponents: tuple[float, float], misses: str, follows: str) -> None:
    """A measure whose exponents stay where test error's halve misses them."""
    tasks = dict(zip(("easy", "hard"), exponents, strict=True))
    errors = {"easy": curve("easy", -0.5), "hard": curve("hard", -0.25)}
    measured = {name: curve(f"{name}, measured", slope) for name, slope in tasks.items()}
    ladder = LadderCurves(name="ladder", measure=measured, error=errors, unfinished={})
    found = replace(curves(REVERSING), ladder=ladder)
    assert misses_the_data("exponents")(found).status == misses
    assert follows_the_data("exponents")(found).status == follows
    # test error's levels do not differ
    assert misses_the_data("levels")(found).status == OPEN


@pytest.mark.parametrize("name", SETTINGS)
def test_the_table_is_as_the_command_writes_it(name: str) -> None:
    """Every setting has a column, every claim a row, every cell an answer; or nothing is there."""
    text = between(README, name)
    if not text:
        return
    settings = SETTINGS[name]
    blank, header, rule, *rows, gap, below, end, last = text.split("\n")
    assert {blank, gap, end, last} == {""}
    assert header == line(["claim", *(setting.name for setting in settings)])
    assert rule == line(["---"] * (1 + len(settings)))
    for row, claim in zip(rows, CLAIMS, strict=True):
        text, *cells = row.strip("| ").split(" | ")
        assert text == claim.text
        assert len(cells) == len(settings)
        assert all(CELL.fullmatch(each) for each in cells), row
    seeds = {int(number) for number in re.findall(r"(\d+) seeds[;.]", below)}
    chosen = [replace(setting, seeds=max(seeds)) for setting in settings]
    option = f"--settings {name}" + (f" --seeds {max(seeds)}" if "--seeds" in below else "")
    before, after = legend(chosen, option, "DEVICE").split("DEVICE")
    assert below.startswith(before)
    assert below.endswith(after)


def test_the_small_table_is_there() -> None:
    """That of the default command."""
    assert f"**{HOLDS}**" in between(README, "small")


def test_a_page_is_written_between_its_markers_only() -> None:
    """And a page without them is an error that names them."""
    begin, end = markers("small")
    page = f"before\n{begin}\nold\n{end}\nafter\n"
    assert written(page, "small", "new\n") == f"before\n{begin}\nnew\n{end}\nafter\n"
    with pytest.raises(SystemExit, match="expected one place between the lines <!-- paper"):
        written("no markers", "small", "new\n")


def test_the_command_writes_its_page(
    blobs: Task, small_recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On networks of a moment: whatever becomes of a claim, it has its cell."""
    tiny = Setting(
        "blobs",
        "three blobs",
        task=blobs,
        recipe=small_recipe,
        sizes=(16, 32),
        ladder=Ladder("blobs", [blobs, with_label_noise(blobs, 0.5)]),
    )
    absent = Setting("absent", "what is not here", packages=["no_such_package"])
    monkeypatch.setitem(SETTINGS, "small", (tiny, absent))
    begin, end = markers("small")
    page = tmp_path / "page.md"
    page.write_text(f"{begin}\n{end}\n")
    column = paper_page.column

    def edited_meanwhile(*arguments: Any, **options: Any) -> list[str]:
        page.write_text(f"edited\n{begin}\n{end}\n")
        return column(*arguments, **options)

    monkeypatch.setattr(paper_page, "column", edited_meanwhile)
    main(
        [
            "--device",
            "cpu",
            "--seeds",
            "3",
            "--page",
            str(page),
            "--cache-dir",
            str(tmp_path / "networks"),
        ]
    )
    rows = [row for row in page.read_text().splitlines() if row.startswith("| ")]
    assert len(rows) == 2 + len(CLAIMS)
    for row in rows[2:]:
        _, found, lacking = row.strip("| ").split(" | ")
        assert CELL.fullmatch(found)
        assert lacking == "- (needs no_such_package)"
    assert page.read_text().startswith("edited\n")
    assert "3 seeds. On the CPU" in page.read_text()
    assert "--settings small --seeds 3`" in page.read_text()
