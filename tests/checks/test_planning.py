"""Which checks an audit makes, and what they are called."""

from __future__ import annotations

import pytest

from pytest_fragility._util.text import nearest
from pytest_fragility.checks.check import Check
from pytest_fragility.checks.registry import ASKED_AS, match_expected_failures, plan_checks
from pytest_fragility.errors import SettingsError
from pytest_fragility.perturbations import BASELINE
from pytest_fragility.recipes.equivalences import EQUIVALENCES, SYMMETRY_NAMES
from pytest_fragility.symmetries import SYMMETRIES

ALL, SAME = list(ASKED_AS), ["symmetry", "equivalence"]
BESIDE = ["controls", "agreement"]
CHECKS = plan_checks(ALL, ["adam", "adam-x10"], ["past-x2", "stop-accuracy"])
SAME_FUNCTION = [
    "symmetry-layer-rescaling",
    "symmetry-neuron-rescaling",
    "symmetry-permutation",
    "symmetry-split-neurons",
    "symmetry-dead-neurons",
    "symmetry-silent-neurons",
    "symmetry-normalization-scale",
    "symmetry-logit-shift",
    "equivalence-exponential-rate",
    "equivalence-initialization-rate",
]


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
        "stopping-past-x2",
        "stopping-stop-accuracy",
        "complexity-exponent",
        "complexity-level",
        *SAME_FUNCTION,
        "rank",
        "perturbations-admissible",
        *BESIDE,
    ]


def test_only_the_kinds_asked_for_are_planned() -> None:
    """Without trend there is no check of the baseline."""
    planned = plan_checks(("spread", "exponent"), ["adam"])
    assert ids(planned) == [
        "spread-adam",
        "exponent-adam",
        "perturbations-admissible",
        *BESIDE,
    ]


def test_without_perturbations_there_is_nothing_to_count() -> None:
    """The baseline's trend, the ladder and the same function are left, and checkpoints."""
    left = ["trend-baseline", "complexity-exponent", "complexity-level", *SAME_FUNCTION, "rank"]
    assert ids(plan_checks(ALL, [])) == [*left, *BESIDE]
    assert ids(plan_checks(("stopping",), [], ["past-x2"])) == ["stopping-past-x2", *BESIDE]


def test_every_symmetry_and_equivalence_has_a_check() -> None:
    """Those that planning names are those that there are."""
    assert tuple(SYMMETRIES) == SYMMETRY_NAMES
    assert ids(plan_checks(SAME, ["adam"], ["past-x2"])) == SAME_FUNCTION
    assert ids(plan_checks(("equivalence",), [])) == [
        f"equivalence-{name}" for name in EQUIVALENCES
    ]
    assert [check.change for check in plan_checks(("symmetry",), [])] == list(SYMMETRIES)


def test_checkpoints_are_asked_about_stopping_alone() -> None:
    """And perturbations about all but that."""
    assert ids(plan_checks(("trend", "spread"), ["adam"], ["past-x2"])) == [
        "trend-baseline",
        "trend-adam",
        "spread-adam",
        "perturbations-admissible",
        *BESIDE,
    ]
    assert ids(plan_checks(("stopping",), ["adam"], ["past-x2"])) == ["stopping-past-x2", *BESIDE]


def test_perturbations_are_counted_and_checkpoints_are_not() -> None:
    """Controls are judged under both."""
    count, controls, agreement = CHECKS[-3:]
    assert count.among == agreement.among == ("adam", "adam-x10")
    assert controls.among == ("adam", "adam-x10", "past-x2", "stop-accuracy")


def test_what_is_no_perturbation_of_a_check_is_no_perturbation_of_controls() -> None:
    """They are judged under what the audit's checks look at, and nothing else is trained."""
    (*_, controls, agreement) = plan_checks(("stopping",), ["adam"], ["past-x2"])
    assert (controls.among, agreement.among) == (("past-x2",), ())
    (*_, controls, agreement) = plan_checks(("trend",), ["adam"], ["past-x2"])
    assert controls.among == agreement.among == ("adam",)


def test_the_same_function_alone_needs_no_controls() -> None:
    """No statistics are made that could go wrong."""
    planned = plan_checks(SAME, ["adam"])
    assert not {check.kind for check in planned} & {"controls", "agreement"}


def test_ids_are_unique() -> None:
    """Each is a test of its own."""
    assert len(set(ids(CHECKS))) == len(CHECKS)


def test_a_ladder_alone_counts_no_perturbations() -> None:
    """Whether they are admissible matters to checks of theirs alone."""
    assert ids(plan_checks(("complexity",), ["adam"])) == [
        "complexity-exponent",
        "complexity-level",
        *BESIDE,
    ]


def test_a_pattern_leaves_out_what_says_nothing_about_the_measure() -> None:
    """Such a check is expected to fail by its id alone."""
    checks = plan_checks(("trend",), ["adam"], axes=["lr"])
    assert set(match_expected_failures({"*": "all"}, checks)) == {"trend-baseline", "trend-adam"}
    assert match_expected_failures({"controls": "known"}, checks) == {"controls": "known"}


def test_a_check_is_called_by_kind_and_perturbation() -> None:
    """In ids and in text."""
    assert str(Check("trend", BASELINE)) == Check("trend", BASELINE).id == "trend-baseline"
    assert str(Check("exponent", "adam+lr-x3")) == "exponent-adam+lr-x3"
    assert Check("stopping", "past-x2").id == "stopping-past-x2"
    assert Check("symmetry", change="logit-shift").id == "symmetry-logit-shift"
    assert Check("perturbations-admissible").id == "perturbations-admissible"


@pytest.mark.parametrize(("kind", "hint"), [("exponents", "did you mean 'exponent'?"), ("zzz", "")])
def test_an_unknown_kind_is_refused(kind: str, hint: str) -> None:
    """The error names it, the nearest right one, and all that there are."""
    with pytest.raises(SettingsError) as error:
        plan_checks(("trend", kind), ["adam"])
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
    assert nearest("exponnt", ALL) == " (did you mean 'exponent'?)"
    assert nearest("qqqq", ALL) == ""
