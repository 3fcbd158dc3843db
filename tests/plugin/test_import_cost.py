"""What the plugin imports: nothing heavy before a network is needed."""

from __future__ import annotations

import pytest
import torch

from tests.plugin.conftest import Project

SHOW_IMPORTS = """
import sys

def pytest_unconfigure():
    heavy = [name for name in ("torch", "numpy", "scipy", "sklearn") if name in sys.modules]
    print("heavy imports:", heavy)
    own = [name for name in sys.modules if name.startswith("pytest_fragility.")]
    print("own modules:", *(name.removeprefix("pytest_fragility.") for name in own))
"""
# each costs about 0.3 ms on every run of pytest
UNUSED = {
    *("_util", "_util.lazy"),
    *("plugin", "plugin.hookspecs", "plugin.hypothesis_tests", "plugin.idle_options"),
    *("plugin.ini", "plugin.mark", "plugin.command_line", "plugin.workers"),
    *("settings", "settings.option", "settings.options"),
}


def test_projects_that_do_not_use_it_pay_nothing(project: Project) -> None:
    """A plain run elsewhere imports neither torch nor NumPy nor their like."""
    (project.path / "conftest.py").write_text(SHOW_IMPORTS)
    (project.path / "test_plain.py").write_text("def test_plain(): pass\n")
    finished = project.run_apart("test_plain.py", "-p", "no:hypothesispytest")
    assert "1 passed" in finished.stdout
    assert "heavy imports: []" in finished.stdout
    (own,) = [line for line in finished.stdout.splitlines() if line.startswith("own modules: ")]
    assert set(own.split()[2:]) == UNUSED


def test_collection_imports_no_torch(project: Project) -> None:
    """Audits are collected, with --fragility, without torch and without NumPy."""
    (project.path / "conftest.py").write_text(SHOW_IMPORTS)
    (project.path / "test_light.py").write_text(
        "import pytest\n"
        "from pytest_fragility.measures import bound_form, oracle_test_error, path_norm\n"
        "@pytest.mark.fragility(bound_form(path_norm), xfail={'trend-adam': 'known'})\n"
        "def test_norm(check): check()\n"
        "@pytest.mark.fragility(oracle_test_error, task='digits', perturbations=['adam'])\n"
        "def test_oracle(check): check()\n"
        "def test_by_hand(trained_family, learning_curves, fragility): pass\n"
    )
    finished = project.run_apart(
        "--fragility", "--collect-only", "-q", "test_light.py", "-p", "no:hypothesispytest"
    )
    assert "test_light.py::test_norm[trend-adam]" in finished.stdout
    assert "test_light.py::test_oracle[spread-adam]" in finished.stdout
    assert "heavy imports: []" in finished.stdout
    assert not (project.path / ".fragility_cache").exists()


@pytest.mark.skipif(
    torch.__version__ < (2, 13), reason="older torch imports them in vmap and meta tensors"
)
def test_an_audit_imports_no_compiler(project: Project) -> None:
    """Nor SymPy, which comes with it: a third of a second in this process and in each worker."""
    (project.path / "conftest.py").write_text(
        SHOW_IMPORTS.replace('"torch", "numpy", "scipy", "sklearn"', '"sympy", "torch._dynamo"')
    )
    project.audit("falling")
    finished = project.run_apart("--fragility")
    assert finished.returncode == 0
    assert "heavy imports: []" in finished.stdout
