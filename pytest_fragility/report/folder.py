"""The folder of a report: each file whole, or as it was."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from pytest_fragility._util.csv_texts import csv_text
from pytest_fragility._util.files import is_there, read_plain, write_whole
from pytest_fragility.checks.curve_data import MEASURE
from pytest_fragility.errors import SettingsError
from pytest_fragility.report.comparison import comparison_csv, comparison_latex
from pytest_fragility.report.documents import Document, Unjudged, records_of, unjudged_note
from pytest_fragility.report.markdown import markdown_summary
from pytest_fragility.report.page import render_page

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


DOCUMENT_FILE, PAGE_FILE = "audit.json", "index.html"
OPTION = "--fragility-report"
FILES = (
    DOCUMENT_FILE,
    "curves.csv",
    "comparison.csv",
    "comparison.tex",
    "summary.md",
    PAGE_FILE,
)


def write_report(folder: Path, document: Document) -> list[Path]:
    """Write a document's files but for its page, and return their paths.

    Parameters
    ----------
    folder
        Made when it is not there; files of an older report are replaced.
    document
        From `pytest_fragility.report.documents.document`.

    Raises
    ------
    SettingsError
        If the folder cannot be written to, or holds files of these names that are no report.
    """
    files = {
        DOCUMENT_FILE: json.dumps(document, indent=1, allow_nan=False) + "\n",
        "curves.csv": curves_csv(document),
        "comparison.csv": comparison_csv(document),
        "comparison.tex": comparison_latex(document),
        "summary.md": _summary(document),
    }
    return [_write(folder, name, text) for name, text in files.items()]


def _summary(document: Document) -> str:
    audits = document["audits"]
    return markdown_summary(
        [records_of(audit) for audit in audits],
        [len(audit["errors"]) for audit in audits],
        note=unjudged_note([Unjudged(**each) for each in document["unjudged"]]),
    )


def write_page(folder: Path, document: Document) -> Path:
    """Write a document's page beside its other files, and return its path.

    Raises
    ------
    SettingsError
        If the page cannot be rendered, for want of an extra, or not be written. There is none then:
        that of an older report is removed, since it says something else than the other files.
    """
    try:
        return _write(folder, PAGE_FILE, render_page(document))
    except SettingsError:
        (folder / PAGE_FILE).unlink(missing_ok=True)
        raise


def require_report_folder(folder: Path) -> None:
    """Raise a SettingsError where a report would replace somebody else's files."""
    if is_there(folder) and not folder.is_dir():
        raise SettingsError(f"{OPTION}={folder}: it is no folder; name another one")
    if is_report(folder / DOCUMENT_FILE):
        return
    own = [name for name in FILES if is_there(folder / name)]
    if own:
        raise SettingsError(
            f"{OPTION}={folder}: it holds a file {own[0]} that is not of a report; name a folder "
            "of its own"
        )


def is_report(path: Path) -> bool:
    """Return whether a file is a document of ours, by its first lines."""
    try:
        start = read_plain(path)[:200]
    except OSError:
        return False
    return b'"generator": "pytest-fragility' in start


def _write(folder: Path, name: str, text: str) -> Path:
    """Write one file, and return its path."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        require_report_folder(folder)
        write_whole(folder / name, text)
    except OSError as error:
        raise SettingsError(
            f"{OPTION}={folder}: the report cannot be written: {error.strerror}; name another "
            "folder"
        ) from error
    return folder / name
