"""What people and machines read: messages, table, records."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from pytest_fragility.checks.check import Check
from pytest_fragility.checks.records import audit_context, check_record, to_json
from pytest_fragility.checks.registry import judge, plan_checks
from pytest_fragility.checks.tolerances import Tolerances
from pytest_fragility.checks.verdicts import BROKEN, INADMISSIBLE, INCONCLUSIVE, KEPT, Record
from pytest_fragility.checks.wording import recipe_change
from pytest_fragility.curves import LearningCurves
from pytest_fragility.perturbations import BASELINE
from pytest_fragility.report.conclusion import overall_verdict
from pytest_fragility.report.failure_message import failure_message, skip_reason
from pytest_fragility.report.verdict_table import audit_table
from tests.checks.test_judging import ERROR, WIDE, Lines, lines, make_curves

RERUN = "pytest --fragility 'test_ruler.py::test_ruler[trend-adam]'"
REVERSING = {BASELINE: lines(-0.2), "adam": lines(0.5, level=1.0)}
MOVED_ERROR = {"adam": ERROR.moved(slope=0.02, level=0.03, deviation=0.0)}


def record_of(check: Check, curves: LearningCurves) -> Record:
    """Return the record of a check at the default tolerances."""
    return check_record(curves, judge(check, curves, Tolerances()))


ALL = ("trend", "exponent", "spread")


def records_of(curves: LearningCurves, kinds: Sequence[str] = ALL) -> list[Record]:
    """Return the records of all checks of a measure, and of the count of perturbations."""
    names = [name for name in curves.recipes if name != BASELINE]
    planned = [
        check for check in plan_checks(kinds, names) if check.kind not in ("controls", "agreement")
    ]
    return [record_of(check, curves) for check in planned]


def message_of(check: Check, curves: LearningCurves, rerun: str | None = RERUN) -> str:
    """Return the failure message of a check."""
    return failure_message(record_of(check, curves), rerun)


def unwrapped(text: str) -> str:
    """Return a text without its line breaks."""
    return " ".join(text.split())


def status(verdict: str, admissibility: str | None = None, kind: str = "trend") -> Record:
    """Return the part of a record that the overall verdict is made of."""
    applicable = admissibility != INADMISSIBLE
    return {"verdict": verdict, "applicable": applicable, "kind": kind}


def assert_finite(value: Any) -> None:
    """Assert that a record is plain JSON without NaN or infinity."""
    assert json.loads(json.dumps(value, allow_nan=False)) == value


@pytest.fixture
def reversing() -> LearningCurves:
    """A measure that reverses and jumps while test error barely moves."""
    return make_curves(REVERSING, MOVED_ERROR)


def test_a_broken_trend_says_what_broke_and_how_certainly(reversing: LearningCurves) -> None:
    """Measure, check, perturbation, both slopes, test error, admissibility, seeds, rerun line."""
    text = message_of(Check("trend", "adam"), reversing)
    lines_of_text = text.splitlines()
    assert lines_of_text[0] == "ruler: trend BROKEN under adam"
    assert lines_of_text[1] == "The slope reverses: falling becomes rising."
    # half the width of a 95 % interval over five seeds with standard deviation 0.01
    assert "  baseline  value ~ n^-0.20 [-0.21, -0.19]" in lines_of_text
    assert "  adam      value ~ n^+0.50 [+0.49, +0.51]" in lines_of_text
    assert "(adam: baseline -> adam)" in text
    before, after = 10**-0.5, 10 ** (-0.5 + 0.03)
    assert f"test error {before:.3f} -> {after:.3f} at n = 45," in text
    assert "The network itself barely changed" in text
    assert "  baseline  error ~ n^-0.30 [-0.31, -0.29]" in lines_of_text
    assert "  adam      error ~ n^-0.28 [-0.29, -0.27]" in lines_of_text
    assert "(admissible: test error's exponent moved by +0.02" in text
    assert "5 seeds, n = 16..128, task blobs, 95 % intervals over seeds." in text
    assert lines_of_text[-1] == f"Rerun: {RERUN}"


def test_a_broken_exponent_shows_the_change_and_what_was_allowed(
    reversing: LearningCurves,
) -> None:
    """The change with its interval, and the range that it should have stayed in."""
    text = message_of(Check("exponent", "adam"), reversing)
    assert text.startswith("ruler: exponent BROKEN under adam\n")
    assert "  change    +0.70 [+0.70, +0.70], allowed -0.10 to +0.10" in text.splitlines()


def test_a_broken_spread_is_given_in_decades_and_as_a_factor(reversing: LearningCurves) -> None:
    """Levels of the measure and of test error, not slopes."""
    text = message_of(Check("spread", "adam"), reversing)
    assert text.startswith("ruler: spread BROKEN under adam\n")
    assert "  baseline  log10(value) = -0.50 [-0.51, -0.49]" in text
    assert "  adam      log10(value) = +1.00 [+0.99, +1.01]" in text
    assert "+1.50 [+1.50, +1.50] (x 31.62), allowed -0.10 to +0.10" in text
    assert "  adam      log10(error) = -0.47 [-0.48, -0.46]" in text
    assert "n^" not in text


def test_the_baselines_trend_is_set_against_test_errors() -> None:
    """There is no perturbation to name, and nothing that changed."""
    text = message_of(Check("trend", BASELINE), make_curves({BASELINE: lines(0.2)}))
    assert text.startswith("ruler: trend BROKEN\n")
    assert "Rising with n, against falling (test error)." in text
    assert "value ~ n^+0.20 [+0.19, +0.21]" in text
    assert "Test error ~ n^-0.30 [-0.31, -0.29]." in text
    assert "adam" not in text.replace(RERUN, "") and "change" not in text


def test_an_undecided_change_is_not_called_a_small_one() -> None:
    """The message says what test error did, and how many seeds would tell."""
    curves = make_curves(REVERSING, {"adam": ERROR.moved(slope=0.05, deviation=0.1)})
    text = message_of(Check("trend", "adam"), curves)
    assert text.startswith("ruler: trend inconclusive under adam\n")
    assert "barely" not in text
    assert "(undecided: test error's exponent moved by +0.05 [-0.07, +0.17]" in text
    assert "About 18 seeds would probably decide (--fragility-seeds=18)." in unwrapped(text)


def test_an_inconclusive_check_says_how_many_seeds_would_decide() -> None:
    """In words and as an option to paste."""
    curves = make_curves({BASELINE: lines(-0.2, deviation=WIDE)})
    record = record_of(Check("trend", BASELINE), curves)
    needed = record["seeds_needed"]
    text = unwrapped(failure_message(record))
    assert needed > 5
    assert f"About {needed} seeds would probably decide (--fragility-seeds={needed})" in text
    assert "Rerun" not in text


def test_a_hopeless_check_says_so() -> None:
    """No number of seeds is invented."""
    curves = make_curves({BASELINE: lines(0.0, deviation=WIDE)})
    assert "More than 200 seeds" in unwrapped(message_of(Check("trend", BASELINE), curves))


def test_an_inadmissible_change_is_named_with_its_reason() -> None:
    """The message advises to leave it out; so does the reason of a skip."""
    curves = make_curves(REVERSING, {"adam": ERROR.moved(slope=0.5)})
    record = record_of(Check("exponent", "adam"), curves)
    text = unwrapped(failure_message(record, RERUN))
    assert "dam is not a small change here: test error's exponent moved by +0.50" in text
    assert "Leave adam out, or choose a smaller change." in text
    assert skip_reason(record).startswith("not admissible: adam is not a small change here")


@pytest.mark.parametrize("kind", ["trend", "exponent", "spread"])
@pytest.mark.parametrize(
    "error",
    [ERROR.moved(), ERROR.moved(slope=0.05, deviation=0.1), ERROR.moved(slope=0.5)],
    ids=["admissible", "undecided", "inadmissible"],
)
def test_no_message_needs_a_wide_window(kind: str, error: Lines) -> None:
    """No line is longer than 110 characters, whatever the outcome."""
    name = "momentum+weight-decay+batch-x4"
    recipes = {
        BASELINE: "mlp 64-64, sgd lr=0.05, batch 16, stop at train cross-entropy < 0.1",
        name: "mlp 64-64, nesterov lr=0.005 momentum=0.9 weight_decay=0.0005, batch 64, "
        "initialization x0.5, stop at train cross-entropy < 0.05",
    }
    measure = {BASELINE: lines(-0.2), name: lines(0.5, level=2.0)}
    curves = replace(
        make_curves(measure, {name: error}),
        recipes=recipes,
        measure_name="distance_from_initialization_over_sqrt_n",
        task_name="digits+label-noise-0.2",
    )
    text = message_of(Check(kind, name), curves, None)
    assert max(map(len, text.splitlines())) <= 110
    assert "distance_from_initialization_over_sqrt_n" in text.splitlines()[0]
    assert name in text.splitlines()[0]


@pytest.mark.parametrize(
    ("baseline", "changed", "text"),
    [
        (
            "mlp 64-64, sgd lr=0.05, batch 16, stop at 5 steps",
            "mlp 64-64, adam lr=0.01, batch 16, stop at 5 steps",
            "sgd lr=0.05 -> adam lr=0.01",
        ),
        (
            "mlp 64-64, sgd lr=0.05, batch 16",
            "mlp 64-64, adam lr=0.01, batch 64",
            "sgd lr=0.05, batch 16 -> adam lr=0.01, batch 64",
        ),
        ("mlp 8, batch 16", "mlp 8, batch 16, initialization x2", "initialization x2"),
        ("mlp 8, batch 16", "mlp 8, batch 16", ""),
    ],
)
def test_only_what_differs_between_recipes_is_shown(baseline: str, changed: str, text: str) -> None:
    """From what to what."""
    assert recipe_change(baseline, changed) == text


def test_a_record_holds_what_a_report_needs(reversing: LearningCurves) -> None:
    """Plain types, and the same numbers as the verdict's."""
    record = record_of(Check("exponent", "adam"), reversing)
    assert {key: record[key] for key in ("check", "kind", "perturbation", "verdict")} == {
        "check": "exponent-adam",
        "kind": "exponent",
        "perturbation": "adam",
        "verdict": "broken",
    }
    assert (record["measure"], record["task"], record["place"]) == ("ruler", "blobs", 1)
    assert (record["sizes"], record["seeds"]) == ([16, 32, 64, 128], [0, 1, 2, 3, 4])
    assert record["evidence"]["change"]["mean"] == pytest.approx(0.7)
    assert record["evidence"]["allowed"] == pytest.approx([-0.1, 0.1])
    assert record["error_levels"] == pytest.approx({BASELINE: 10**-0.5, "adam": 10**-0.47})
    assert record.items() >= audit_context(reversing).items()
    assert json.loads(to_json(record)) == record


def test_every_record_is_finite_json() -> None:
    """Kept, broken, inconclusive, inadmissible, unfinished; nothing is left to NaN."""
    names = ("adam", "sgd", "lr-x3", "momentum")
    measure = {BASELINE: lines(-0.2)} | {name: lines(0.5, level=3.0) for name in names}
    error = {"sgd": ERROR.moved(slope=0.05, deviation=0.1), "lr-x3": ERROR.moved(slope=0.5)}
    curves = make_curves(measure, error, unfinished={"momentum": "2 of 20 runs diverged"})
    records = records_of(curves)
    assert {record["admissibility"] for record in records} == {
        None,
        "admissible",
        "undecided",
        "inadmissible",
    }
    for record in records:
        assert_finite(record)
        assert "\n" not in to_json(record)


def test_nan_is_not_json() -> None:
    """A number that is none is refused, not written."""
    with pytest.raises(ValueError, match="JSON"):
        to_json({"value": float("nan")})


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        ([], INCONCLUSIVE),
        ([status(KEPT)], KEPT),
        ([status(KEPT), status(KEPT, "admissible")], KEPT),
        ([status(KEPT), status(INCONCLUSIVE)], INCONCLUSIVE),
        ([status(KEPT), status(INCONCLUSIVE, "undecided")], INCONCLUSIVE),
        ([status(KEPT), status(INCONCLUSIVE, INADMISSIBLE)], KEPT),
        ([status(INCONCLUSIVE, INADMISSIBLE)], INCONCLUSIVE),
        ([status(KEPT), status(BROKEN)], BROKEN),
        ([status(INCONCLUSIVE), status(BROKEN, "admissible")], BROKEN),
        ([status(BROKEN), status(INCONCLUSIVE, INADMISSIBLE)], BROKEN),
        ([status(KEPT, kind="perturbations-admissible")], INCONCLUSIVE),
        ([status(KEPT), status(INCONCLUSIVE, kind="perturbations-admissible")], INCONCLUSIVE),
        ([status(KEPT, kind="controls"), status(KEPT, kind="agreement")], INCONCLUSIVE),
        ([status(KEPT), status(KEPT, kind="controls")], KEPT),
        ([status(KEPT), status(BROKEN, kind="controls")], INCONCLUSIVE),
        ([status(BROKEN), status(BROKEN, kind="controls")], INCONCLUSIVE),
    ],
)
def test_the_overall_verdict(records: list[Record], expected: str) -> None:
    """Broken if any is, kept if all that apply are, else inconclusive, as where controls fail."""
    assert overall_verdict(records) == expected
    assert overall_verdict(records[::-1]) == expected


def test_the_table_has_a_row_for_each_recipe(reversing: LearningCurves) -> None:
    """Slopes of the measure and of test error, and a verdict for each kind."""
    text = audit_table(records_of(reversing)).splitlines()
    assert text[0] == "ruler on blobs: broken"
    assert text[1] == "  value ~ n^slope; n = 16..128, 5 seeds, 95 % intervals, cpu"
    assert text[2] == "  baseline: mlp 8, baseline, batch 8"
    assert text[4].split() == ["measure's", "slope", "error's", "trend", "exponent", "spread"]
    assert text[5].split() == ["baseline", "-0.20", "[-0.21,", "-0.19]", "-0.30", "kept"]
    assert text[6].split()[:5] == ["adam", "+0.50", "[+0.49,", "+0.51]", "-0.28"]
    assert text[6].split()[5:] == ["BROKEN", "BROKEN", "BROKEN"]
    assert len(text) == 7


def test_the_verdicts_stand_below_their_kind() -> None:
    """Whichever kinds were asked for."""
    curves = make_curves({BASELINE: lines(-0.2), "adam": lines(-0.2).moved(slope=1.0)})
    for kinds in (["exponent"], ["spread", "exponent"], list(ALL)):
        text = audit_table(records_of(curves, kinds)).splitlines()
        header, row = text[4], next(line for line in text if line.startswith("  adam"))
        assert row[header.index("exponent") :].startswith("BROKEN")
        spread = row[header.index("spread") :]
        assert spread == ("kept" if "spread" in kinds else "")


def test_records_may_come_in_any_order() -> None:
    """Workers finish when they finish; rows stand in the order of the recipes."""
    names = ("sgd", "adam", "lr-x3")
    curves = make_curves({name: lines(-0.2) for name in (BASELINE, *names)})
    records = records_of(curves)
    assert audit_table(records[::-1]) == audit_table(records)
    rows = [line.split()[0] for line in audit_table(records).splitlines()[5:]]
    assert rows == [BASELINE, *names]


def test_the_table_is_in_the_plans_order_whatever_ran_first(reversing: LearningCurves) -> None:
    """Also below the recipes, where checks are of no one recipe; under pytest-randomly, say."""
    record = record_of(Check("trend", BASELINE), reversing)
    planned = [
        {**record, "kind": check.kind, "check": check.id, "place": 9, "evidence": {}}
        for check in plan_checks(["symmetry", "equivalence"], [])
    ]
    table = audit_table(planned[::-1])
    assert re.findall(r"^  ((?:symmetry|equivalence)-\S+)", table, re.MULTILINE) == [
        each["check"] for each in planned
    ]


def test_part_of_an_audit_has_a_table_too(reversing: LearningCurves) -> None:
    """Where only some checks were run, the others' cells stay empty."""
    text = audit_table([record_of(Check("spread", "adam"), reversing)])
    row = text.splitlines()[-1]
    assert row.split() == ["adam", "BROKEN"]
    assert text.startswith("ruler on blobs: broken")


def test_an_inadmissible_row_has_no_verdicts() -> None:
    """It says so, and the reason stands below."""
    curves = make_curves(REVERSING, unfinished={"adam": "2 of 20 runs diverged"})
    text = audit_table(records_of(curves))
    row = next(line for line in text.splitlines() if line.startswith("  adam"))
    assert row.split() == ["adam", "not", "admissible", "-", "-", "-"]
    assert "2 of 20 runs diverged" in unwrapped(text.split(row)[1])
    assert "no perturbation is admissible" in unwrapped(text)


def test_the_table_says_how_many_seeds_would_decide() -> None:
    """The largest number that any open check asks for."""
    curves = make_curves({BASELINE: lines(-0.2), "adam": lines(-0.2)})
    records = records_of(curves)
    for place, needed in ((1, 30), (2, None), (3, 12)):
        records[place] = {**records[place], "verdict": INCONCLUSIVE, "seeds_needed": needed}
    assert "3 inconclusive: 30 seeds would probably decide 2 of them" in audit_table(records)


def test_one_open_check_is_told_in_plain_words() -> None:
    """Not as one of one."""
    records = records_of(make_curves({BASELINE: lines(-0.2, deviation=0.3), "adam": lines(-0.2)}))
    (record,) = [each for each in records if each["check"] == "trend-baseline"]
    note = unwrapped(audit_table([record]))
    assert re.search(r"1 inconclusive: \d+ seeds would probably decide it next: ", note)


@pytest.mark.parametrize(
    "error",
    [ERROR.moved(), ERROR.moved(slope=0.05, deviation=0.1), ERROR.moved(slope=0.5)],
    ids=["admissible", "undecided", "inadmissible"],
)
def test_the_table_fits_80_columns(error: Lines) -> None:
    """With long names of everything, whatever the outcome; no name of a measure is lost."""
    names = ("adam+weight-decay+batch-x4+initialization-x2", "stop-accuracy", "an-" * 30 + "end")
    measure = {BASELINE: lines(-0.2)} | {name: lines(0.5, level=3.0) for name in names}
    curves = replace(
        make_curves(measure, dict.fromkeys(names, error)),
        measure_name="distance_from_initialization_over_sqrt_n",
        task_name="handwritten-digits-of-many-people+label-noise-0.25",
    )
    curves.recipes[BASELINE] = (
        "mlp 64-64-64, nesterov lr=0.005 momentum=0.9 weight_decay=0.0005, batch 64, "
        "initialization x0.5, stop at train cross-entropy < 0.05"
    )
    text = audit_table(records_of(curves))
    assert max(map(len, text.splitlines())) <= 80
    for name in (curves.measure_name, curves.task_name, curves.recipes[BASELINE]):
        assert name in unwrapped(text)


def test_checks_that_crashed_keep_an_audit_from_being_kept() -> None:
    """They left no record, but they count."""
    curves = make_curves({BASELINE: lines(-0.2), "adam": lines(-0.2)})
    assert audit_table(records_of(curves)).startswith("ruler on blobs: kept\n")
    text = audit_table(records_of(curves), errors=2)
    assert text.startswith("ruler on blobs: inconclusive\n")
    assert "2 checks ended in an error" in text
    broken = make_curves(REVERSING)
    assert audit_table(records_of(broken), errors=2).startswith("ruler on blobs: broken\n")


def test_a_count_without_an_admissible_change_is_reported() -> None:
    """The message names each perturbation with its status."""
    curves = make_curves(REVERSING, {"adam": ERROR.moved(slope=0.5)})
    text = unwrapped(message_of(Check("perturbations-admissible", among=("adam",)), curves))
    assert "seeds would" not in text
    assert "No perturbation is admissible" in text and "adam is inadmissible" in text
