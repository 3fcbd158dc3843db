"""The noise of measures that draw random numbers, apart from that over seeds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from pytest_fragility.checks.check import Check
from pytest_fragility.checks.records import check_record
from pytest_fragility.checks.registry import judge
from pytest_fragility.checks.tolerances import Tolerances
from pytest_fragility.curves import LearningCurve, OwnNoise
from pytest_fragility.evaluation.asking import evaluate
from pytest_fragility.evaluation.measured_curves import learning_curves
from pytest_fragility.families.family import Family
from pytest_fragility.measures import pac_bayes_origin, parameter_count, path_norm
from pytest_fragility.perturbations import BASELINE
from pytest_fragility.report.failure_message import failure_message
from pytest_fragility.report.verdict_table import audit_table

ANYTHING = Tolerances(margin=50.0)
CENTRED = np.log([16, 32, 64]) - np.mean(np.log([16, 32, 64]))
WEIGHTS = CENTRED / (CENTRED @ CENTRED)


def scattered(deviation: float) -> Any:
    """Return a measure that falls with n, and scatters by this in its logarithm."""

    def falling(network: Any) -> float:
        drawn = torch.randn((), generator=network.rng)
        return float(torch.exp(deviation * drawn) / network.n)

    return falling


def record_of(measure: Any, family: Family, check: Check) -> dict[str, Any]:
    """Return the record of a check."""
    curves = learning_curves(measure, family)
    return check_record(curves, judge(check, curves, ANYTHING))


@pytest.mark.parametrize("measure", [path_norm, parameter_count, scattered(0.0)])
def test_a_measure_without_random_numbers_has_none(measure: Any, small_family: Family) -> None:
    """One of stacks, one that looks at no network, one that draws and uses nothing of it."""
    assert learning_curves(measure, small_family).own_noise is None
    assert record_of(measure, small_family, Check("trend", BASELINE))["own_noise"] is None


def test_the_noise_is_that_of_the_draws() -> None:
    """Of slopes and levels, against the deviation that the draws were made with."""
    generator = np.random.default_rng(0)
    seeds = 4_000
    common = generator.normal(size=(3, seeds))
    curves = [
        LearningCurve(
            "ruler",
            "baseline",
            (16, 32, 64),
            np.exp(common + 0.2 * generator.normal(size=(3, seeds))),
            0.05,
        )
        for _ in range(2)
    ]
    found = OwnNoise.from_draws(*curves)
    # five standard errors of a standard deviation from 4,000 differences
    tolerance = 5 / np.sqrt(2 * seeds)
    assert found.slope == pytest.approx(0.2 * np.sqrt(WEIGHTS @ WEIGHTS), rel=tolerance)
    assert found.level == pytest.approx(0.2 / np.sqrt(3) / np.log(10), rel=tolerance)
    share = found.slope_share(curves[0].slope.deviation)
    assert share == pytest.approx(0.04 / 1.04, rel=0.2)


def test_shares_are_between_nothing_and_all() -> None:
    """A difference has the noise of two curves; what does not scatter has no noise to share."""
    noise = OwnNoise(slope=0.3, level=0.0)
    assert noise.slope_share(0.6) == pytest.approx(0.25)
    assert noise.slope_share(0.6, curves=2) == pytest.approx(0.5)
    assert noise.slope_share(0.1) == 1.0
    assert noise.slope_share(0.0) == 1.0
    assert noise.level_share(0.0) == 0.0


@pytest.mark.parametrize("measure", [scattered(0.1), pac_bayes_origin], ids=["function", "stacks"])
def test_another_draw_is_another_value(measure: Any, small_family: Family) -> None:
    """The same one each time it is asked for; draw 0 is what an audit takes."""
    scale = "log"
    values = [
        evaluate(measure, "ruler", small_family, "baseline", scale=scale, draw=draw)
        for draw in (0, 0, 1, 1, 2)
    ]
    np.testing.assert_array_equal(values[0], values[1])
    np.testing.assert_array_equal(values[2], values[3])
    assert (values[0] != values[2]).any()
    assert (values[2] != values[4]).any()
    np.testing.assert_array_equal(
        values[0], evaluate(measure, "ruler", small_family, "baseline", scale=scale)
    )


def test_only_what_is_asked_is_evaluated(small_family: Family) -> None:
    """Some sizes give their rows."""
    every = evaluate(scattered(0.1), "ruler", small_family, "adam")
    some = evaluate(scattered(0.1), "ruler", small_family, "adam", sizes=(32,))
    np.testing.assert_array_equal(some, every[1:2])


def test_dominating_noise_is_said(small_family: Family) -> None:
    """In the failure's message and above the table."""
    for check in (Check("trend", BASELINE), Check("exponent", "adam"), Check("spread", "adam")):
        record = record_of(scattered(3.0), small_family, check)
        assert record["verdict"] == "inconclusive"
        record = {**record, "own_noise": {**record["own_noise"], "share": 0.83}}
        text = " ".join(failure_message(record).split())
        assert "and 83 % of the variance over seeds that this verdict rests on is" in text
        assert "let it average over more draws" in text
    table = audit_table([record])
    assert "draws random numbers: its slopes scatter by" in table


def test_all_the_scatter_may_be_the_measures_own(small_family: Family) -> None:
    """A measure of n and of random numbers alone has no other; three seeds say so roughly."""
    record = record_of(scattered(0.5), small_family, Check("exponent", "adam"))
    noise = record["own_noise"]
    expected = 0.5 * np.sqrt(WEIGHTS @ WEIGHTS)
    assert expected / 4 < noise["slope"] < 3 * expected
    assert 0 < noise["share"] <= 1
    assert 0 < noise["slope_share"] <= 1


def test_small_noise_is_reported_and_not_complained_about(small_family: Family) -> None:
    """Far below the scatter over seeds."""

    def hardly_random(network: Any) -> float:
        jitter = torch.exp(1e-4 * torch.randn((), generator=network.rng))
        return float(path_norm(network) * jitter)

    record = record_of(hardly_random, small_family, Check("exponent", "adam"))
    assert 0 < record["own_noise"]["share"] < 0.01
    assert "random numbers" not in failure_message(record)
    assert "0 % of their variance over seeds" in audit_table([record])


def test_checks_without_learning_curves_ask_nothing(small_family: Family) -> None:
    """A symmetry's own draws say all about it."""
    asked = []

    def watched(network: Any) -> float:
        asked.append(network.n)
        return 1.0 / network.n

    curves = replace(learning_curves(watched, small_family), invariances={})
    check = Check("symmetry", change="permutation")
    values = learning_curves(watched, small_family).invariances
    verdict = judge(check, replace(curves, invariances=values), ANYTHING)
    count = len(asked)
    assert check_record(curves, verdict)["own_noise"] is None
    assert len(asked) == count
