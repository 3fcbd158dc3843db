"""Which checks an audit makes, and what they are called."""

from __future__ import annotations

import pytest

from pytest_fragility.checks.planning import (
    ADMISSIBLE_COUNT,
    COMPLEXITY,
    EXPONENT,
    KINDS,
    SPREAD,
    TREND,
    Check,
    match_expected_failures,
    nearest,
    plan_checks,
)
from pytest_fragility.errors import SettingsError

CHECKS = plan_checks(KINDS, ["adam", "adam-x10"])


def ids(checks: list[Check]) -> list[str]:
    """Return the checks' names."""
    return [check.id for check in checks]


def test_the_baseline_comes_first_and_the_count_last() -> None:
    """Kinds in the order asked for, perturbations in theirs; one baseline trend."""
    assert ids(CHECKS) == [
        "trend-baseline",
        "trend-adam",
        "trend-adam-x10",
        "exponent-adam",
        "exponent-adam-x10",
        "spread-adam",
        "spread-adam-x10",
        "complexity-exponent",
        "complexity-level",
        "perturbations-admissible",
    ]


def test_only_the_kinds_asked_for_are_planned() -> None:
    """Without trend there is no check of the baseline."""
    planned = plan_checks((SPREAD, EXPONENT), ["adam"])
    assert ids(planned) == ["spread-adam", "exponent-adam", "perturbations-admissible"]


def test_without_perturbations_there_is_nothing_to_count() -> None:
    """The baseline's trend and the ladder are left."""
    left = ["trend-baseline", "complexity-exponent", "complexity-level"]
    assert ids(plan_checks(KINDS, [])) == left


def test_a_ladder_alone_counts_no_perturbations() -> None:
    """Whether they are admissible matters to checks of theirs alone."""
    assert ids(plan_checks((COMPLEXITY,), ["adam"])) == ["complexity-exponent", "complexity-level"]


def test_a_check_is_called_by_kind_and_perturbation() -> None:
    """In ids and in text."""
    assert str(Check(TREND)) == Check(TREND).id == "trend-baseline"
    assert str(Check(EXPONENT, "adam+lr-x3")) == "exponent-adam+lr-x3"
    assert Check(ADMISSIBLE_COUNT).id == "perturbations-admissible"


@pytest.mark.parametrize(("kind", "hint"), [("exponents", "did you mean 'exponent'?"), ("zzz", "")])
def test_an_unknown_kind_is_refused(kind: str, hint: str) -> None:
    """The error names it, the nearest right one, and all that there are."""
    with pytest.raises(SettingsError) as error:
        plan_checks((TREND, kind), ["adam"])
    text = str(error.value)
    assert f"unknown check {kind!r}" in text and "trend, exponent, spread" in text
    assert hint in text and ("did you mean" in text) == bool(hint)


def test_expected_failures_are_found_by_id_and_by_pattern() -> None:
    """The first match counts, so that exceptions stand before the rule."""
    expected = {"exponent-adam": "known", "exponent-*": "all of them", "*-adam-x10": "too fast"}
    assert match_expected_failures(expected, CHECKS) == {
        "exponent-adam": "known",
        "exponent-adam-x10": "all of them",
        "trend-adam-x10": "too fast",
        "spread-adam-x10": "too fast",
    }


def test_a_plain_id_matches_nothing_else() -> None:
    """The id of one check may be the beginning of another's."""
    assert match_expected_failures({"trend-adam": "known"}, CHECKS) == {"trend-adam": "known"}
    assert match_expected_failures({}, CHECKS) == {}


@pytest.mark.parametrize(
    ("pattern", "hint"),
    [("trend-adm", "did you mean 'trend-adam'?"), ("Trend-*", ""), ("spread-sgd*", "")],
)
def test_a_pattern_that_matches_nothing_is_refused(pattern: str, hint: str) -> None:
    """An expected failure of a check that there is not would expect nothing."""
    with pytest.raises(SettingsError) as error:
        match_expected_failures({"trend-adam": "known", pattern: "typo"}, CHECKS)
    text = str(error.value)
    assert f"xfail={pattern!r} matches no check" in text and hint in text
    assert all(check.id in text for check in CHECKS)


def test_the_nearest_name_is_offered_only_where_it_is_near() -> None:
    """Nothing is better than a bad guess."""
    assert nearest("exponnt", KINDS) == " (did you mean 'exponent'?)"
    assert nearest("qqqq", KINDS) == ""
