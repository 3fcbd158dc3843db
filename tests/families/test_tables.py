"""Values that were measured elsewhere: the same verdicts, and what is missing is said."""

from __future__ import annotations

import csv
import json
import os
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_fragility import FragilityError, TableError, audit, learning_curves
from pytest_fragility.auditing.result import AuditResult
from pytest_fragility.curves import PARAMETER_COUNT, UnpairedEstimate
from pytest_fragility.families.family import Family
from pytest_fragility.measures import path_norm, product_of_frobenius_norms
from pytest_fragility.perturbations import BASELINE
from tests.families.conftest import SEEDS, Row, table_rows

LENIENT = {"error_margin": 10}
# of a run here, or of the place that values were read from
OF_A_PLACE = ("source", "device")


def by_check(result: AuditResult, *left_out: str) -> dict[str, dict[str, Any]]:
    """Return what an audit found, without where it comes from."""
    return {
        record["check"]: {
            name: value for name, value in record.items() if name not in (*OF_A_PLACE, *left_out)
        }
        for record in result.records
    }


def write(path: Path, rows: Sequence[Row]) -> Path:
    """Write rows as CSV."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(name for row in rows for name in row)))
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_a_family_s_table_gives_the_family_s_verdicts(
    laddered_family: Family, tmp_path: Path
) -> None:
    """All numbers of all checks that a table serves for, the ladder's too."""
    path = tmp_path / "values.csv"
    measures = {"path_norm": path_norm.bound_form, "frobenius": product_of_frobenius_norms}
    curves = [learning_curves(each, laddered_family, name=name) for name, each in measures.items()]
    curves[0].to_table(path, curves[1])
    for name, measure in measures.items():
        here = by_check(audit(measure, name=name, family=laddered_family, **LENIENT), "form")
        there = by_check(audit(name, table=path, **LENIENT), "form")
        assert set(there) == {each for each in here if not each.startswith("symmetry")}
        assert there == {each: here[each] for each in there}
        assert {"complexity-level", "controls", "agreement", "exponent-adam"} <= set(there)


def test_a_table_is_read_from_many_things(tmp_path: Path) -> None:
    """A list, CSV with a byte order mark, and JSON."""
    rows = table_rows()

    (tmp_path / "values.json").write_text(json.dumps(rows), encoding="utf-8")
    marked = write(tmp_path / "values.csv", rows)
    marked.write_text("\ufeff" + marked.read_text(encoding="utf-8"), encoding="utf-8")
    expected = by_check(audit("fragile", table=rows))
    assert expected["trend-adam"]["verdict"] == "broken"
    for source in (marked, str(marked), tmp_path / "values.json"):
        assert by_check(audit("fragile", table=source)) == expected


def test_a_table_that_is_written_anew_is_read_anew(tmp_path: Path) -> None:
    """Though it has the size and the time of the old one."""
    path, found = tmp_path / "values.csv", []
    for recipes in ((BASELINE, "lion"), (BASELINE, "adax")):
        write(path, table_rows(recipes))
        os.utime(path, (1, 1))
        found.append(list(audit("steady", table=path, checks="trend").curves.recipes))
    assert found == [[BASELINE, "lion"], [BASELINE, "adax"]]


def test_a_data_frame_of_pandas_has_nothing_where_it_says_nan() -> None:
    """Whole numbers that have become floats, too, as where one is missing."""
    pandas = pytest.importorskip("pandas", reason="needs pandas")
    rows = table_rows()
    rows[3]["fragile"] = None
    frame = pandas.DataFrame(rows).astype({"n": float, "seed": float})
    assert by_check(audit("fragile", table=frame)) == by_check(audit("fragile", table=rows))


def test_a_family_of_values_is_audited(tmp_path: Path) -> None:
    """With another name for the baseline, and the parts of it that are asked for."""
    rows = [{**row, "recipe": row["recipe"].replace("baseline", "sgd")} for row in table_rows()]
    family = Family.from_table(rows, baseline="sgd")
    assert family.measures == ("steady", "fragile")
    found = audit("steady", family=family, sizes=[32, 64], seeds=3, checks="trend")
    assert found["trend-adam"].status == "kept"
    assert found.records[0]["sizes"] == [32, 64]
    assert found.records[0]["seeds"] == [0, 1, 2]
    with pytest.raises(TableError, match=r"perturbations='adma' \(did you mean 'adam'\?\)"):
        audit("steady", family=family, perturbations="adma")
    with pytest.raises(TableError, match=r"no measure 'stedy' \(did you mean 'steady'\?\)"):
        audit("stedy", family=family)
    with pytest.raises(TableError, match=r"no rows of the recipe 'baseline' for task toy"):
        audit("steady", table=rows)


def test_what_training_is_needed_for_is_refused_by_name() -> None:
    """And left out where nobody asks."""
    checks = {check["kind"] for check in audit("steady", table=table_rows()).records}
    assert not checks & {"stopping", "symmetry", "equivalence", "complexity-level", "locate"}
    for kind, reason in (
        ("stopping", "recipes that only stop elsewhere"),
        ("symmetry", "only values"),
        ("equivalence", "trainings that are made for it"),
        ("complexity", "one with a baseline"),
    ):
        with pytest.raises(ValueError, match=rf"{kind} cannot be made of values from .*{reason}"):
            audit("steady", table=table_rows(), checks=["trend", kind])


def test_recipes_that_only_stop_elsewhere_serve_the_check_of_stopping() -> None:
    """By their names, as in an audit that trains; or those that are named."""
    rows = table_rows(("baseline", "adam", "stop-accuracy", "stop-loss-0.01", "past-x2"))
    found = by_check(audit("steady", table=rows))
    stopping = {"stopping-stop-accuracy", "stopping-stop-loss-0.01", "stopping-past-x2"}
    assert {check for check in found if check.startswith("stopping")} == stopping
    assert {found[check]["verdict"] for check in stopping} == {"kept"}
    assert {"exponent-adam", "exponent-stop-accuracy"} <= set(found)
    assert not {"exponent-past-x2", "exponent-stop-loss-0.01"} & set(found)
    named = by_check(
        audit("fragile", table=rows, perturbations=["past-x2"], checkpoints="adam", **LENIENT)
    )
    assert {"exponent-past-x2", "stopping-adam"} <= set(named)
    assert named["stopping-adam"]["verdict"] == "broken"
    assert "stopping-past-x2" not in named
    with pytest.raises(TableError, match=r"checkpoints='past-x3' \(did you mean 'past-x2'\?\)"):
        audit("steady", table=rows, checkpoints="past-x3")


@pytest.mark.parametrize(
    "option",
    [{"locate": True}, {"profile": "quick"}, {"budget": 5}, {"architecture": "cnn"}],
    ids=lambda option: next(iter(option)),
)
def test_how_to_train_is_refused_beside_a_table(option: dict[str, Any]) -> None:
    """It would be without effect."""
    with pytest.raises(ValueError, match=r"says how networks are trained, and table= names what"):
        audit("steady", table=table_rows(), **option)


def test_seeds_as_needed_are_refused() -> None:
    """Nobody can train more of them here."""
    with pytest.raises(TableError, match=r"nothing is trained here"):
        audit("steady", table=table_rows(), seeds="auto")


def test_a_missing_value_takes_its_seed_out_of_its_recipe() -> None:
    """Which is said, and the others are still paired."""
    rows = table_rows()
    hole = next(r for r in rows if (r["recipe"], r["n"], r["seed"]) == ("adam", 64, 3))
    hole["fragile"] = ""
    record = by_check(audit("fragile", table=rows))["exponent-adam"]
    assert "adam: seed 3 is left out, which lacks n = 64" in record["notes"]
    assert not record["unpaired"]
    rest = [row for row in table_rows() if row["seed"] != 3]
    expected = by_check(audit("fragile", table=rest))["exponent-adam"]
    assert record["evidence"]["change"] == pytest.approx(expected["evidence"]["change"], rel=1e-12)
    # of the other measure nothing is missing
    assert by_check(audit("steady", table=rows))["exponent-adam"]["notes"] == []


def test_a_size_without_values_is_left_out_for_all() -> None:
    """A slope over other sizes would be another one."""
    rows = [row for row in table_rows() if (row["recipe"], row["n"]) != ("adam", 128)]
    record = by_check(audit("fragile", table=rows))["trend-adam"]
    assert record["sizes"] == [32, 64]
    assert any("n = 128 left out, where adam has no value" in note for note in record["notes"])


def test_a_recipe_with_little_takes_nothing_from_the_others() -> None:
    """It cannot be judged, which says why; so the audit is not kept."""
    rows = table_rows((*("baseline", "momentum"), "lr-x3"))
    rows = [row for row in rows if row["recipe"] != "lr-x3" or row["n"] == 32]
    result = audit("steady", table=rows, **LENIENT)
    assert result["trend-momentum"].status == "kept"
    assert result["trend-lr-x3"].status == "inconclusive"
    assert "lr-x3 cannot be judged: it has values at n = 32 alone" in result["trend-lr-x3"].reason
    assert result["perturbations-admissible"].status == "kept"
    assert result.verdict == "inconclusive"
    assert "lr-x3 cannot be judged" in str(result)


def test_other_seeds_are_compared_unpaired_which_is_said() -> None:
    """In the record, in the table, and in the message of a failure."""
    from pytest_fragility.report.failure_message import failure_message

    rows = table_rows(("baseline",)) + table_rows(("adam",), seeds=tuple(range(10, 15)))
    result = audit("fragile", table=rows, **LENIENT)
    verdict, record = result["trend-adam"], by_check(result)["trend-adam"]
    assert verdict.status == "broken"
    assert isinstance(verdict.evidence.change, UnpairedEstimate)  # type: ignore[union-attr]
    assert record["unpaired"]
    note = "adam has seeds 10, 11, 12, 13, 14 and the baseline 0, 1, 2, 3, 4: compared unpaired"
    assert any(text.startswith(note) for text in record["notes"])
    message = failure_message(next(r for r in result.records if r["check"] == "trend-adam"))
    assert "unpaired (Welch's t), values from the list" in " ".join(message.split())
    assert "unpaired, with Welch's t: adam" in str(result)
    assert result["agreement"].status == "inconclusive" and not result["agreement"].is_applicable


def test_a_page_begins_no_sentence_with_another_name_than_the_recipe_has() -> None:
    """Which is how one finds it in the table."""
    from pytest_fragility.report.page.answers import answers_of

    rows = table_rows(("baseline",)) + table_rows(("adam",), seeds=tuple(range(10, 15)))
    result = audit("fragile", table=rows, **LENIENT)
    records = result.records
    context = {**result.to_dict(), "errors": []}
    links = {record["check"]: "#" for record in records}
    told = " ".join(answers_of(context, records, links).certainty)
    assert "adam has seeds 10, 11" in told and "Adam has" not in told
    assert "Unpaired, with Welch's t: adam" in told


def test_too_few_seeds_are_no_verdict() -> None:
    """One seed has no interval, whoever has others."""
    rows = table_rows(("baseline",)) + table_rows(("adam",), seeds=(3,))
    result = audit("fragile", table=rows, **LENIENT)
    assert "seed 3 alone has a value at each of n = 32, 64, 128" in result["exponent-adam"].reason
    assert result["trend-baseline"].status == "kept" or result["trend-baseline"].status == "broken"
    alone = audit("steady", table=table_rows(seeds=(0,)), **LENIENT)
    assert {verdict.status for verdict in alone.verdicts} == {"inconclusive"}


def test_without_masks_the_noise_of_the_test_set_is_bounded() -> None:
    """And without a size it is left aside; both are said with each verdict."""
    exact, bounded, none = (
        audit("steady", table=rows)
        for rows in (
            table_rows(),
            table_rows(with_masks=False),
            [
                {name: value for name, value in row.items() if name != "test_size"}
                for row in table_rows(with_masks=False)
            ],
        )
    )
    widths = []
    for result, text in ((exact, None), (bounded, "not paired but bounded"), (none, "alone")):
        admissibility = result["trend-adam"].admissibility
        assert admissibility is not None and admissibility.slope_change is not None
        widths.append(admissibility.slope_change.shared)
        notes = by_check(result)["trend-adam"]["notes"]
        assert len(notes) == (text is not None)
        assert text is None or text in notes[0]
    assert 0 == widths[2] < widths[0] < widths[1]


def test_trainings_that_did_not_end_well_convict_nobody() -> None:
    """As where they are made here: the perturbation is not admissible."""
    rows = table_rows()
    rows[-1] |= {"diverged": True, "fragile": "nan"}
    result = audit("fragile", table=rows)
    assert result["trend-adam"].admissibility.status == "inadmissible"  # type: ignore[union-attr]
    assert result["trend-adam"].reason.endswith("a run diverged")


def test_the_number_of_parameters_is_a_control_where_it_is_known() -> None:
    """Else the two others are."""
    without = audit("steady", table=table_rows())
    rows = [{**row, "parameters": 100} for row in table_rows()]
    known = audit("steady", table=rows)
    assert (
        PARAMETER_COUNT in known.curves.controls and PARAMETER_COUNT not in without.curves.controls
    )
    assert known["controls"].status == without["controls"].status == "kept"
    for row in rows:
        row["parameters"] = 100 * row["n"] if row["recipe"] == "adam" else 100
    assert audit("steady", table=rows)["controls"].status == "broken"


def test_several_tasks_are_a_ladder() -> None:
    """Over what they have in common; with `ladder` some of them, or none."""
    harder = table_rows(("baseline",), task="harder", seeds=(0, 1, 2, 3, 9))
    for row in harder:
        row["steady"] *= 3
    rows = [*table_rows(), *harder]
    result = audit("steady", table=rows)
    record = by_check(result)["complexity-level"]
    assert record["ladder"] == "toy -> harder"
    assert record["task"] == "toy"
    assert any("seeds 4, 9 left out" in note for note in record["notes"])
    assert not any(
        record["check"].startswith("complexity")
        for record in audit("steady", table=rows, ladder="none").records
    )
    with pytest.raises(TableError, match=r"task='hardr' .did you mean 'harder'"):
        audit("steady", table=rows, task="hardr")
    with pytest.raises(TableError, match=r"2 of its tasks have perturbations"):
        audit("steady", table=[*rows, *table_rows(("adam",), task="harder")])
    apart = [*table_rows(), *table_rows(("baseline",), task="harder", seeds=(7, 8))]
    verdict = audit("steady", table=apart)["complexity-exponent"]
    assert verdict.status == "inconclusive"
    assert "0 seeds in common" in verdict.reason


def test_a_table_is_written_whole_and_not_over_another(
    small_family: Family, tmp_path: Path
) -> None:
    """Nor with two columns of one name, or over other networks."""
    curves = learning_curves(path_norm, small_family)
    path = tmp_path / "values.csv"
    curves.to_table(path)
    before = path.read_bytes()
    with pytest.raises(TableError, match=r"is there already; say overwrite=True"):
        curves.to_table(path)
    with pytest.raises(TableError, match=r"two columns would be called 'path_norm'"):
        curves.to_table(path, curves, overwrite=True)
    with pytest.raises(TableError, match=r"cannot be written"):
        curves.to_table(tmp_path / "no" / "values.csv")
    other = replace(curves, measure_name="other", seeds=(0, 1))
    with pytest.raises(TableError, match=r"not measured on the same networks"):
        curves.to_table(path, other, overwrite=True)
    assert path.read_bytes() == before
    curves.to_table(path, overwrite=True)
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["values.csv"]


COMPLETE = table_rows()
WHOLE = by_check(audit("fragile", table=COMPLETE, **LENIENT))


@settings(deadline=None, max_examples=60)
@given(
    share=st.sampled_from([0.03, 0.1, 0.3, 0.6, 0.9]),
    seed=st.integers(0, 2**20),
    kind=st.sampled_from(["rows", "cells", "seed", "recipe's seeds"]),
)
def test_fewer_rows_change_nothing_silently(share: float, seed: int, kind: str) -> None:
    """Verdicts or an error in words; what rests on fewer networks says so, or has fewer seeds.

    So a broken check becomes a kept one only where its text says what is missing.
    """
    chance = random.Random(seed)
    rows = [dict(row) for row in COMPLETE]
    if kind == "cells":
        for row in rows:
            if chance.random() < share:
                row[chance.choice(["fragile", "test_error"])] = None
    elif kind == "seed":
        gone = chance.choice(SEEDS)
        rows = [row for row in rows if row["seed"] != gone]
    elif kind == "recipe's seeds":
        gone_seeds = chance.sample(SEEDS, k=chance.randint(1, 4))
        rows = [row for row in rows if row["recipe"] != "adam" or row["seed"] not in gone_seeds]
    else:
        rows = [row for row in rows if chance.random() > share]
    try:
        found = by_check(audit("fragile", table=rows, **LENIENT))
    except FragilityError:
        return
    for name, record in found.items():
        full = WHOLE.get(name, record)
        has_less = (record["sizes"], record["seeds"]) != (full["sizes"], full["seeds"])
        if record["evidence"] != full["evidence"] and not has_less:
            assert record["notes"] or "cannot be judged" in record["reason"], (name, record)
        if full["verdict"] == "broken" and record["verdict"] == "kept":
            assert record["notes"] or has_less
