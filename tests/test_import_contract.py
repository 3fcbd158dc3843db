"""Each package imports only what stands below it, and nothing imports in a circle."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import grimp
import pytest
from importlinter.cli import lint_imports

import pytest_fragility

PACKAGE = Path(pytest_fragility.__file__).parent


def test_the_contracts_in_pyproject_hold(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Floors, groups of measures, figures below pages, no circles among packages."""
    monkeypatch.chdir(Path(__file__).parents[1])
    assert lint_imports("pyproject.toml", no_cache=True) == 0, capsys.readouterr().out


def test_no_file_imports_itself_by_a_way_round() -> None:
    """Imports for annotations and inside functions counted, faces of packages too."""
    graph = grimp.build_graph(
        "pytest_fragility", exclude_type_checking_imports=False, cache_dir=None
    )
    waiting = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    while done := {module for module, below in waiting.items() if not below & waiting.keys()}:
        waiting = {module: below for module, below in waiting.items() if module not in done}
    circles: dict[str, set[str]] = defaultdict(set)
    for module, below in waiting.items():
        circles[module] |= below & waiting.keys()
    assert not circles


def test_only_errors_lie_loose() -> None:
    """A newcomer looks for a room first."""
    loose = {path.name for path in PACKAGE.glob("*.py")}
    assert loose == {"__init__.py", "errors.py"}
