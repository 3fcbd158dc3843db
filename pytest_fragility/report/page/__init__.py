"""The page of a report: one HTML file that needs no network.

`rendering` makes it of a document; each section is a file beside it, and its layout a template.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from pytest_fragility._util.stopwatch import REPORT, spent_on
from pytest_fragility.errors import SettingsError

if TYPE_CHECKING:
    from pytest_fragility.report.documents import Document

NEEDS = ("jinja2", "matplotlib")


@spent_on(REPORT)
def render_page(document: Document) -> str:
    """Return a whole report as one self-contained HTML page.

    The same document gives the same text, and the page asks nothing of the network.

    Parameters
    ----------
    document
        From `pytest_fragility.report.documents.document`, or read from ``audit.json``.

    Raises
    ------
    SettingsError
        If Jinja2 or matplotlib is not installed.
    """
    missing = [name for name in NEEDS if find_spec(name) is None]
    if missing:
        raise SettingsError(
            f"a report's page needs {' and '.join(missing)}, which this Python does not have; "
            "pip install 'pytest-fragility[report]'"
        )
    # both are slow to import, and nothing else needs them
    from pytest_fragility.report.page.rendering import rendered

    return rendered(document)
