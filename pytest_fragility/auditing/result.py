"""What an audit found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_fragility._util.stopwatch import Durations
from pytest_fragility.checks.kind import AUDIT
from pytest_fragility.checks.records import audit_context, check_record
from pytest_fragility.checks.registry import kind_of
from pytest_fragility.checks.verdicts import INCONCLUSIVE, KEPT, Record
from pytest_fragility.report.conclusion import overall_verdict
from pytest_fragility.report.verdict_table import audit_table

if TYPE_CHECKING:
    from pytest_fragility.auditing.finding import Finding
    from pytest_fragility.checks.verdicts import Verdict
    from pytest_fragility.curves import LearningCurves
    from pytest_fragility.errors import FragilityError


@dataclass(frozen=True, eq=False)
class AuditResult:
    """What an audit found.

    Parameters
    ----------
    verdicts
        One per check, in the order of the plan.
    curves
        Learning curves that the verdicts rest on; where seeds were trained as they were needed,
        those of a first look.
    curves_of
        By check: the curves that its verdict rests on, where these are not `curves`.
    durations
        Where the audit's time went until it had its verdicts;
        `pytest_fragility.report.durations` makes a table of it.
    errors
        By check: what kept it from being judged, such as a measure that fails on some networks.
    """

    verdicts: tuple[Verdict, ...]
    curves: LearningCurves
    curves_of: Mapping[str, LearningCurves] = field(default_factory=dict)
    durations: Durations = field(default_factory=Durations)
    errors: Mapping[str, FragilityError] = field(default_factory=dict)

    @classmethod
    def of(cls, findings: Sequence[Finding]) -> AuditResult:
        """Return the result of what became of each check, in the order of the plan.

        Raises
        ------
        FragilityError
            What kept the first check from being judged, where no verdict is left that looks at the
            measure.
        """
        verdicts = tuple(each.verdict for each in findings if each.verdict)
        errors = {each.check.id: each.error for each in findings if each.error}
        about_it = [v for v in verdicts if v.is_applicable and kind_of(v.check).about != AUDIT]
        if errors and not about_it:
            raise next(iter(errors.values()))
        curves = max((each.curves for each in findings), key=lambda each: len(each.recipes))
        own = [each for each in findings if each.curves.looks or each.curves is not curves]
        curves_of = {each.check.id: each.curves for each in own}
        return cls(verdicts, curves, curves_of, errors=errors)

    @property
    def verdict(self) -> str:
        """``broken`` if any check is, ``kept`` if all that apply are, else ``inconclusive``.

        With errors it is never ``kept``.
        """
        found = overall_verdict(self.records)
        return INCONCLUSIVE if self.errors and found == KEPT else found

    @property
    def passed(self) -> bool:
        """Whether every check that applies is kept."""
        return self.verdict == KEPT

    def __getitem__(self, check_id: str) -> Verdict:
        for verdict in self.verdicts:
            if verdict.check.id == check_id:
                return verdict
        if check_id in self.errors:
            raise self.errors[check_id]
        raise KeyError(f"no check {check_id!r}; there are {[v.check.id for v in self.verdicts]}")

    @property
    def records(self) -> list[Record]:
        """One dict of plain JSON types per check; test reports add ``settings`` and ``test``."""
        return [
            check_record(self.curves_of.get(verdict.check.id, self.curves), verdict)
            for verdict in self.verdicts
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain JSON types: what is common, then one dict per check."""
        context = audit_context(self.curves)
        checks = [
            {key: value for key, value in record.items() if key not in context}
            for record in self.records
        ]
        errors = {check_id: str(error) for check_id, error in self.errors.items()}
        return {**context, "verdict": self.verdict, "checks": checks, "errors": errors}

    def __str__(self) -> str:
        table = audit_table(self.records, errors=len(self.errors))
        return "\n\n".join([table, *dict.fromkeys(map(str, self.errors.values()))])
