"""Every measured value of a document as one tidy table."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_fragility._util.csv_texts import csv_text
from pytest_fragility.checks.curve_data import MEASURE
from pytest_fragility.report.documents import Document

COLUMNS = ("measure", "task", "recipe", "n", "seed", "value")


def curves_csv(document: Document) -> str:
    """Return a row for each network of each curve, test error's among them, once each.

    Values have all their digits.
    """
    return csv_text(COLUMNS, dict.fromkeys(_rows(document)))


def _rows(document: Document) -> Iterator[tuple[str | int | float, ...]]:
    for audit in document["audits"]:
        for curve in audit["curves"]:
            name = audit["measure"] if curve["quantity"] == MEASURE else curve["quantity"]
            for n, row in zip(curve["sizes"], curve["values"], strict=True):
                for seed, value in zip(curve["seeds"], row, strict=True):
                    yield name, curve["task"], curve["recipe"], n, seed, value
