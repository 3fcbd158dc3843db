"""A check as one test: what its report carries, and how a baseline changes its outcome."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_fragility.checks.curve_data import Curve, curves_of_check
from pytest_fragility.checks.records import check_record, to_json
from pytest_fragility.checks.verdicts import Record
from pytest_fragility.errors import harmless
from pytest_fragility.perturbations import BASELINE
from pytest_fragility.plugin.asked import place_of
from pytest_fragility.plugin.attempts import attempt_of
from pytest_fragility.plugin.command_line import report_folder
from pytest_fragility.plugin.gathering import PROPERTY
from pytest_fragility.plugin.mark import MARKER, heeds_marks
from pytest_fragility.report.failure_message import skip_reason

if TYPE_CHECKING:
    from pytest_fragility.baselines import Baseline, Expectation
    from pytest_fragility.checks.verdicts import Verdict
    from pytest_fragility.curves import LearningCurves
    from pytest_fragility.plugin.markers import MarkedAudit


CURVES_KEY = pytest.StashKey[list[Curve]]()


class TestedCheck:
    """One check, and the test that asserts it.

    Parameters
    ----------
    item
        The test.
    audit
        What is asked.
    rerun
        The command that reruns the test.
    compared
        Name and content of the baseline that it is compared with.

    Attributes
    ----------
    check
        What it asserts.
    worsening
        Once it is judged: one sentence on how it got worse than in the baseline; empty where it
        did not.

    Raises
    ------
    SettingsError
        If the baseline holds the check with other settings.
    """

    # no test itself
    __test__ = False

    def __init__(
        self,
        item: pytest.Item,
        audit: MarkedAudit,
        rerun: str,
        compared: tuple[str, Baseline] | None,
    ) -> None:
        from pytest_fragility.baselines import audited_settings

        place = place_of(item)
        assert place
        self.check = audit.checks[place.check]
        self._item = item
        self._settings = audited_settings(audit.settings)
        mark = item.get_closest_marker(MARKER)
        self._test: dict[str, Any] = {
            "audit": place.key,
            "case": place.case,
            "rerun": rerun,
            "marks_seeds": bool(mark and mark.kwargs.get("seeds") is not None),
        }
        self._expectation = compared and self._expected_by(*compared, audit)
        self.worsening = ""

    def _expected_by(self, name: str, baseline: Baseline, audit: MarkedAudit) -> Expectation:
        from pytest_fragility.baselines import Expectation
        from pytest_fragility.checks.wording import recipe_change

        recipes = audit.settings.descriptions
        return Expectation.of(
            name,
            baseline,
            audit=self._test["audit"],
            case=self._test["case"],
            check=self.check,
            settings=self._settings,
            change=recipe_change(recipes[BASELINE], recipes[self.check.perturbation]),
        )

    def on_verdict(self, curves: LearningCurves, verdict: Verdict) -> None:
        """Put what was found on the test's report, and end the test where it is not to fail.

        Raises
        ------
        pytest.skip.Exception
            If the check does not apply.
        pytest.xfail.Exception
            If it is no worse than in the baseline, and not kept; it is skipped where pytest does
            without expected failures.
        """
        __tracebackhide__ = True
        attempt = attempt_of(self._item)
        attempt.require_running(self._item)
        record = {**check_record(curves, verdict), "settings": self._settings}
        excuse = self._excuse(record)
        record["test"] = {**self._test, "expected": _reason_of_mark(self._item) or excuse}
        self._item.user_properties.append((PROPERTY, to_json(record)))
        attempt.is_judged = True
        if report_folder(self._item.config):
            self._item.stash[CURVES_KEY] = curves_of_check(curves, verdict.check)
        if not verdict.is_applicable:
            raise pytest.skip.Exception(harmless(skip_reason(record)), _use_item_location=True)
        if excuse:
            # without the plugin that knows expected failures, they would be failures
            ended = pytest.xfail if heeds_marks(self._item.config) else pytest.skip
            raise ended.Exception(harmless(excuse))
        if self._expectation:
            self.worsening = self._expectation.worsening(record)

    def _excuse(self, record: Record) -> str | None:
        """Return what the baseline says for a check; a marker of the test's own goes first."""
        config = self._item.config
        is_expected = heeds_marks(config) and _reason_of_mark(self._item)
        is_left_alone = config.getoption("runxfail", False) or is_expected
        if self._expectation is None or is_left_alone or not record["applicable"]:
            return None
        return self._expectation.excuse(record)


def forget_findings(item: pytest.Item) -> None:
    """Take off a test what an earlier run of it has put there."""
    item.user_properties[:] = [each for each in item.user_properties if each[0] != PROPERTY]
    if CURVES_KEY in item.stash:
        del item.stash[CURVES_KEY]


def _reason_of_mark(item: pytest.Item) -> str | None:
    """Return why a test is expected to fail, in the words of its marker."""
    mark = item.get_closest_marker("xfail")
    if mark is None or (mark.args and not any(mark.args)):
        return None
    return str(mark.kwargs.get("reason") or "expected to fail")
