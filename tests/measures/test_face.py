"""What `pytest_fragility.measures` offers: all that the files of the groups declare."""

from __future__ import annotations

import ast
import inspect
import pkgutil
from importlib import import_module
from pathlib import Path

import pytest

from pytest_fragility import measures
from pytest_fragility.measures import StackMeasure, control_measures, reference_measures


def declared() -> dict[str, object]:
    """Return the measures that stand in any file of the package under a public name."""
    modules = pkgutil.walk_packages(measures.__path__, f"{measures.__name__}.")
    loaded = [import_module(module.name) for module in modules]
    return {
        name: value
        for module in loaded
        for name, value in vars(module).items()
        if isinstance(value, StackMeasure) and not name.startswith("_")
    }


def test_every_declared_measure_is_offered_under_its_name() -> None:
    """Nothing has to be said of it elsewhere."""
    found = declared()
    assert found == reference_measures() and list(reference_measures()) == sorted(found)
    for name, measure in reference_measures().items():
        assert measure.__name__ == name and getattr(measures, name) is measure
        assert name in measures.__all__ and name in dir(measures)
    plain = {"noise", "oracle_test_error"}
    assert set(control_measures()) - set(found) == plain <= set(measures.__all__)


def test_every_public_name_exists() -> None:
    """Those that are imported late included; others are an ordinary error."""
    assert measures.__all__ == sorted(measures.__all__, key=lambda name: (name.islower(), name))
    assert all(getattr(measures, name) is not None for name in measures.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'over_sqrt_n'"):
        _ = measures.over_sqrt_n  # type: ignore[attr-defined]


def test_type_checkers_see_every_public_name() -> None:
    """By imports of the name as itself, or of all that a file defines."""
    visible: set[str] = set()
    for node in ast.walk(ast.parse(inspect.getsource(measures))):
        if isinstance(node, ast.FunctionDef):
            visible.add(node.name)
        elif isinstance(node, ast.ImportFrom) and node.names[0].name == "*":
            source = Path(inspect.getfile(import_module(str(node.module))))
            for statement in ast.parse(source.read_text(encoding="utf-8")).body:
                if isinstance(statement, ast.FunctionDef):
                    visible.add(statement.name)
                elif isinstance(statement, ast.Assign):
                    visible |= {each.id for each in statement.targets if isinstance(each, ast.Name)}
        elif isinstance(node, ast.ImportFrom):
            visible |= {each.name for each in node.names if each.asname == each.name}
    assert set(measures.__all__) <= visible
