"""What the README shows is what the code prints: word for word, but for numbers and verdicts.

Numbers of the default family take half a minute to train: those are compared by
``tests/benchmarks/test_readme_figures.py``. Here texts come from small networks, and from learning
curves made by hand.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from pytest_fragility import Ladder, Recipe, Task, TaskData, audit, trained_network
from pytest_fragility import measures as reference
from pytest_fragility.auditing.assertions import known_of_smaller
from pytest_fragility.checks.breaking_points import KIND as LOCATE
from pytest_fragility.checks.check import Check
from pytest_fragility.checks.records import check_record
from pytest_fragility.checks.registry import judge
from pytest_fragility.checks.tolerances import Tolerances
from pytest_fragility.checks.verdicts import BROKEN, INCONCLUSIVE
from pytest_fragility.checks.wording import EXPLANATION
from pytest_fragility.curves import LadderCurves, LearningCurve, LearningCurves
from pytest_fragility.errors import CheckBroken
from pytest_fragility.perturbations import BASELINE, get_perturbation
from pytest_fragility.report.failure_message import failure_message, withstanding_message
from pytest_fragility.symmetries import symmetry_factors
from pytest_fragility.training.stacked_forms import OneAtATimeWarning
from tests.readme_parts import block_with, blocks, section, shape, table_below, unwrapped
from tests.test_readme_code import PATH_NORM, measure_of

SIZES = (32, 64, 128, 256, 512, 1024)
SEEDS = 6
TASK = "digits+label-noise-0.2"
AUDIT = block_with("path_norm on digits+label-noise-0.2")
TREND_MESSAGE = block_with("The slope reverses: falling becomes rising.")
EXPONENT_MESSAGE = block_with("CheckBroken: weight_norm: exponent BROKEN under lr-x10")
START = block_with("lr-x3           -0.35")
COMPLEXITY_MESSAGE = block_with("The exponents are blind")
ONE_AT_A_TIME = block_with("OneAtATimeWarning:")
BREAKING_POINTS = block_with("breaking points:")
WITHSTANDS = block_with("Found by a search")
# of the tutorial's measures: on the samples, between them, and on the samples of other data
ON_SAMPLES, BETWEEN_ELSEWHERE, ON_SAMPLES_ELSEWHERE = (
    block_with(words) for words in ("-0.07 [-0.09", "+0.05 [-0.05", "-0.25 [-0.26")
)
SHOWN = [AUDIT, TREND_MESSAGE, EXPONENT_MESSAGE, START, COMPLEXITY_MESSAGE]
SHOWN += [ONE_AT_A_TIME, BREAKING_POINTS, WITHSTANDS]
SHOWN += [ON_SAMPLES, BETWEEN_ELSEWHERE, ON_SAMPLES_ELSEWHERE]

FALLS_AS_ERROR = (-0.25, -0.25)
# exactly known power laws would have no interval
SCATTER = 0.01


def test_every_output_is_compared() -> None:
    """One that no test of this file knows of may be made up."""
    assert [block.text for block in blocks("text") if block.text not in SHOWN] == []


def easy_task(name: str, distance: float = 4.0) -> Task:
    """Return a task that is learned in a moment; the nearer its classes, the harder."""

    def load() -> TaskData:
        generator = np.random.default_rng(0)
        labels = generator.integers(3, size=800)
        inputs = distance * np.eye(8)[labels] + generator.normal(size=(800, 8))
        return TaskData(inputs[:200], labels[:200], inputs[200:], labels[200:])

    return Task(name, load)


def easy_ladder() -> Ladder:
    """Return three such tasks under the names of the default ladder's."""
    names = ("digits", TASK, "digits+label-noise-0.5")
    tasks = [easy_task(name, distance) for name, distance in zip(names, (5, 4, 3.5), strict=True)]
    return Ladder("digits-label-noise", tasks)


def paragraphs(text: str) -> list[list[str]]:
    """Return the shapes of a text's parts between empty lines."""
    return [shape(part) for part in text.rstrip("\n").split("\n\n")]


@pytest.fixture(scope="module")
def printed() -> str:
    """Return the table of an audit with the default settings, of easily trained networks."""
    result = audit(
        measure_of(PATH_NORM),
        task=easy_task(TASK),
        ladder=easy_ladder(),
        sizes=(8, 128),
        seeds=3,
        error_margin=1e3,
        cache_dir=None,
        device="cpu",
    )
    return str(result)


def test_the_audit_is_shown_as_it_is_printed(printed: str) -> None:
    """Head, recipes, checkpoints, ladder and symmetries, line by line."""
    for shown, found in zip(paragraphs(AUDIT)[:5], paragraphs(printed)[:5], strict=True):
        assert shown == found


def test_agreement_is_shown_as_it_is_printed(printed: str) -> None:
    """In one line, since numbers decide where it is broken; the worst environment aside."""
    shown, found = (
        re.sub(r"\(n=# or.*|\(\S+ or .*", "", unwrapped("\n".join(paragraphs(text)[5])))
        for text in (AUDIT, printed)
    )
    assert shown == found


def test_the_notes_are_those_that_there_are(printed: str) -> None:
    """What a mark means, how many checks are open, and the controls."""
    bent, still_open, controls = AUDIT.rstrip("\n").split("\n\n")[6].splitlines()
    assert bent == f"  {EXPLANATION}"
    needed = r"  \d+ inconclusive: \d+ seeds would probably decide \d+ of them"
    assert re.fullmatch(needed, still_open)
    assert controls in printed


def test_the_start_shows_rows_of_the_table(printed: str) -> None:
    """The header, the baseline and two perturbations."""
    rows = paragraphs(printed)[1]
    assert shape(START) == [rows[0], rows[1], rows[2], rows[3]]


def test_the_tutorial_shows_rows_of_the_table(printed: str) -> None:
    """Of recipes that are in it; where but the trend is asked, the columns behind are empty."""
    rows = {row.split()[0]: row for row in paragraphs(printed)[1]}
    for shown in (ON_SAMPLES, ON_SAMPLES_ELSEWHERE):
        assert [rows[line.split()[0]] for line in shape(shown)] == shape(shown)
    for line in shape(BETWEEN_ELSEWHERE):
        assert rows[line.split()[0]].startswith(line)


def bent(
    name: str, recipe: str, slopes: tuple[float, float], scatter: tuple[float, float], start: int
) -> LearningCurve:
    """Return a curve with one slope up to the middle and another one from there, over six seeds."""
    generator = np.random.default_rng(start)
    own = [
        slope + each * generator.standard_normal(SEEDS)
        for slope, each in zip(slopes, scatter, strict=True)
    ]
    steps = np.diff(np.log(SIZES))[:, None]
    rises = np.concatenate([steps[:2] * own[0], steps[2:3] * sum(own) / 2, steps[3:] * own[1]])
    heights = np.concatenate([np.zeros((1, SEEDS)), rises.cumsum(axis=0)])
    return LearningCurve(name, recipe, SIZES, 0.5 * np.exp(heights), 0.05)


def curves_of(
    measure_name: str,
    perturbation: str,
    slopes: Mapping[str, tuple[float, float]],
    scatter: tuple[float, float] = (SCATTER, SCATTER),
) -> LearningCurves:
    """Return curves under the baseline and a perturbation of the default recipe."""
    recipes = {BASELINE: Recipe(), perturbation: get_perturbation(perturbation)(Recipe())}
    quiet = (SCATTER, SCATTER)
    return LearningCurves(
        measure_name=measure_name,
        task_name=TASK,
        device="cpu",
        recipes={name: str(recipe) for name, recipe in recipes.items()},
        sizes=SIZES,
        seeds=tuple(range(SEEDS)),
        alpha=0.05,
        measure={
            name: bent(measure_name, name, slopes[name], quiet if name == BASELINE else scatter, 1)
            for name in recipes
        },
        error={name: bent("test error", name, FALLS_AS_ERROR, quiet, 2) for name in recipes},
        unfinished={},
    )


def message_of(check: Check, curves: LearningCurves, rerun: str | None) -> str:
    """Return a failure's message, with the exception's name as pytest shows it."""
    verdict = judge(check, curves, Tolerances())
    assert verdict.status == BROKEN
    name = CheckBroken.__name__
    return f"{name}: {failure_message(check_record(curves, verdict), rerun)}\n"


def rerun_of(message: str) -> str:
    """Return the command at a message's end, which names the test that it is shown for."""
    check, perturbation = re.search(r": (\w+) BROKEN under ([\w-]+)", message).groups()  # type: ignore[union-attr]
    measure = re.search(r"CheckBroken: (\w+):", message)[1]  # type: ignore[index]
    return f"pytest --fragility 'test_{measure}.py::test_{measure}[{check}-{perturbation}]'"


REVERSING = {BASELINE: (-0.19, 0.09), "adam-x10": (0.03, 0.92)}


def test_a_reversed_slope_is_told_as_shown() -> None:
    """Both curves, their parts, test error, admissibility, basis and command."""
    curves = curves_of("path_norm", "adam-x10", REVERSING)
    found = message_of(Check("trend", "adam-x10"), curves, rerun_of(TREND_MESSAGE))
    assert shape(found) == shape(TREND_MESSAGE)
    assert found.splitlines()[-1] == TREND_MESSAGE.splitlines()[-1]


def test_a_moved_exponent_is_told_as_shown() -> None:
    """With what was allowed, and the change over each part."""
    slopes = {BASELINE: (-0.43, -0.34), "lr-x10": (-0.30, 0.03)}
    curves = curves_of("weight_norm", "lr-x10", slopes, scatter=(SCATTER, 0.25))
    found = message_of(Check("exponent", "lr-x10"), curves, rerun_of(EXPONENT_MESSAGE))
    assert shape(found) == shape(EXPONENT_MESSAGE)
    assert found.splitlines()[-1] == EXPONENT_MESSAGE.splitlines()[-1]


def test_a_blind_measure_is_told_as_shown() -> None:
    """Its exponents beside test error's."""
    name = "parameter_count.bound_form"
    curves = curves_of(name, "adam", {BASELINE: (-0.5, -0.5), "adam": (-0.5, -0.5)})
    errors = {"digits": -0.54, TASK: -0.25, "digits+label-noise-0.5": -0.08}
    exact = replace(curves.measure[BASELINE], values=np.array(SIZES)[:, None] ** -0.5 * np.ones(6))
    ladder = LadderCurves(
        name="digits-label-noise",
        measure=dict.fromkeys(errors, exact),
        error={
            task: bent("test error", BASELINE, (slope, slope), (SCATTER, SCATTER), place)
            for place, (task, slope) in enumerate(errors.items())
        },
        unfinished={},
    )
    found = message_of(Check("complexity-exponent"), replace(curves, ladder=ladder), None)
    shown = COMPLEXITY_MESSAGE.rstrip("\n")
    assert shape(f"CheckBroken: {shown}") == shape(found)[: len(shown.splitlines())]


class Branch(nn.Module):
    """A layer that looks at a value."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Map inputs (batch, ...) to outputs."""
        return inputs if inputs.sum() > 0 else -inputs


def branching(input_shape: tuple[int, ...], classes: int) -> nn.Module:
    """Return a network with such a layer."""
    return nn.Sequential(Branch(), nn.Linear(input_shape[0], classes))


def test_networks_one_at_a_time_are_warned_of_as_shown() -> None:
    """With the module's name and the reason."""
    recipe = Recipe(architecture=branching)  # type: ignore[arg-type]
    with pytest.warns(OneAtATimeWarning) as caught:
        trained_network(task=easy_task("easy"), recipe=recipe, n=16, cache_dir=None, device="cpu")
    shown = unwrapped(ONE_AT_A_TIME)
    assert unwrapped(f"OneAtATimeWarning: {caught[0].message}").startswith(shown)


def estimates(line: str) -> list[dict[str, float]]:
    """Return the estimates in a line, each a mean with its interval."""
    found = re.findall(r"([+-][\d.]+) \[([+-][\d.]+), ([+-][\d.]+)\]", line)
    return [dict(zip(("mean", "low", "high"), map(float, each), strict=True)) for each in found]


def test_breaking_points_are_shown_as_they_are_printed() -> None:
    """Word for word: what is shown is read, and printed anew."""
    points: list[dict[str, Any]] = []
    for line in BREAKING_POINTS.splitlines()[1:]:
        if line.startswith("      "):
            kind, _, numbers = line.strip().partition(": ")
            before, after = estimates(numbers)
            points[-1] |= {"kind": kind, "evidence": {"baseline": before, "perturbed": after}}
            continue
        axis, admissible, broken, *rest = line.split()
        kept = rest[0].strip("(") if rest else None
        point = {"axis": axis, "admissible": admissible, "inadmissible": None}
        points.append({**point, "broken": None if broken == "-" else broken, "kept": kept})
    lines = LOCATE.section.lines([LOCATE], [{"evidence": {"points": points}}])
    assert lines == BREAKING_POINTS.rstrip("\n").splitlines()


def test_what_a_search_finds_is_told_as_shown() -> None:
    """First what broke, then what is known of smaller changes, and how it was confirmed."""
    change = get_perturbation("adam-x10")
    search: Any = SimpleNamespace(
        largest_kept=lambda _: get_perturbation("adam-x3"),
        trial=lambda _: SimpleNamespace(status=INCONCLUSIVE),
    )
    curves = curves_of("path_norm", change.name, REVERSING)
    record = check_record(curves, judge(Check("trend", change.name), curves, Tolerances()))
    found = withstanding_message(
        {**record, "seeds": list(range(12))},
        alpha=0.05 / 6,
        smaller=known_of_smaller(search, change),
    )
    first, last = WITHSTANDS.rstrip("\n").split("\n...\n")
    assert f"CheckBroken: {found}".startswith(f"{first}\n")
    assert found.endswith(f"\n\n{last}")


def factors(cells: Sequence[str]) -> list[float]:
    """Return the numbers of a row."""
    return [float(cell) for cell in cells]


def test_symmetries_move_reference_measures_as_shown() -> None:
    """The default baseline's network at n = 256, to two per cent: the figures are the code's."""
    text = section("## Where the function stays the same")
    header = next(line for line in text.splitlines() if line.startswith("| symmetry |"))
    columns = re.findall(r"`(\w+)`", header)
    network = trained_network(n=256, seed=0, cache_dir=None, device="cpu")
    found = {name: symmetry_factors(getattr(reference, name), network) for name in columns}
    for row in table_below(text, "| symmetry |"):
        symmetry = row[0].partition(" ")[0]
        expected = [found[name][symmetry] for name in columns]
        assert factors(row[1:]) == pytest.approx(expected, rel=0.02), symmetry
