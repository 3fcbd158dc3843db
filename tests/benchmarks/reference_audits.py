"""The README's table of what audits of reference measures say.

``python -m tests.benchmarks.reference_audits`` prints it; a few minutes on two cores.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping
from typing import Any

from pytest_fragility import audit, measures
from pytest_fragility.auditing.result import AuditResult
from pytest_fragility.checks.wording import bent_mark, interval
from pytest_fragility.measures.measure import Measure, measure_form

NAMES = (
    "inverse_margin",
    "parameter_norm",
    "product_of_frobenius_norms",
    "product_of_spectral_norms",
    "spectral_bound_origin",
    "frobenius_distance_from_initialization",
    "path_norm",
    "path_norm_over_margin",
    "pac_bayes_origin",
    "pac_bayes_initialization",
    "pac_bayes_flatness",
    "pac_bayes_magnitude_origin",
    "worst_case_sharpness",
    "adaptive_sharpness",
    "fisher_rao_norm",
    "marginal_likelihood_bound",
)
ASIDE = ("controls", "agreement")
HEADER = (
    "measure",
    "slope at the baseline, 95 % interval",
    "trend broken",
    "exponent broken",
    "spread broken",
    "stopping broken",
    "sensitivity of exponents",
    "of levels",
    "symmetries broken",
    "equivalences broken",
    "kept",
    "inconclusive",
)


def row(name: str, result: AuditResult) -> list[str]:
    """Return a measure's cells."""
    records = [record for record in result.records if record["kind"] not in ASIDE]
    asserted = [record for record in records if record["applicable"]]
    broken = Counter(each["kind"] for each in asserted if each["verdict"] == "broken")
    made = {record["kind"] for record in asserted}
    verdicts = Counter(record["verdict"] for record in asserted)
    by_check = {record["check"]: record for record in records}
    baseline = by_check["trend-baseline"]
    return [
        f"`{name}`",
        interval(baseline["evidence"]["baseline"]) + bent_mark(baseline, "baseline"),
        *(str(broken[kind]) for kind in ("trend", "exponent", "spread", "stopping")),
        *(sensitivity(by_check[f"complexity-{part}"]) for part in ("exponent", "level")),
        *(str(broken[kind]) if kind in made else "-" for kind in ("symmetry", "equivalence")),
        str(verdicts["kept"]),
        str(verdicts["inconclusive"]),
    ]


def sensitivity(record: dict[str, Any]) -> str:
    """Return a sensitivity, with the verdict where it is not kept."""
    # adding zero turns -0.00 into 0.00
    text = f"{round(record['evidence']['sensitivity']['mean'], 2) + 0.0:.2f}"
    return text if record["verdict"] == "kept" else f"{text}, {record['verdict']}"


def in_bound_form(name: str) -> Any:
    """Return a measure as it enters its bound."""
    measure = getattr(measures, name)
    return measure.bound_form if measure_form(measure) == "raw value" else measure


def print_table(audited: Mapping[str, Measure], **settings: Any) -> None:
    """Print the table, a row as soon as its audit is done."""
    print("|", " | ".join(HEADER), "|")
    print("|", " | ".join("---" for _ in HEADER), "|")
    for name, measure in audited.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            print("|", " | ".join(row(name, audit(measure, **settings))), "|", flush=True)


def main() -> None:
    """Print the table of the measures of this package."""
    print_table({name: in_bound_form(name) for name in NAMES})


if __name__ == "__main__":
    main()
