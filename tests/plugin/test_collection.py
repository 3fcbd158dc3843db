"""Test ids are the same wherever and however tests are collected."""

from __future__ import annotations

from pytest_fragility.recipes.equivalences import EQUIVALENCES, SYMMETRY_NAMES
from tests.plugin.conftest import ALL_CHECKS, STANDARD_CHECKS, Project, node_ids


def test_ids_do_not_depend_on_the_option(project: Project) -> None:
    """The same ids with and without --fragility, in the order of the plan; nothing is trained."""
    project.audit("falling")
    expected = [f"test_audit.py::test_audit[{check}]" for check in ALL_CHECKS]
    assert project.ids() == expected
    assert project.ids("--fragility") == expected
    assert not (project.path / ".fragility_cache").exists()


def test_checks_of_a_kind(project: Project) -> None:
    """``checks`` takes one kind or several, in the order given."""
    project.audit("falling", "checks=['spread', 'trend'], perturbations=['adam', 'momentum']")
    assert [test_id.partition("[")[2] for test_id in project.ids()] == [
        "trend-baseline]",
        "spread-adam]",
        "spread-momentum]",
        "trend-adam]",
        "trend-momentum]",
        *[f"{name}]" for name in STANDARD_CHECKS],
    ]


def test_linear_scale_checks_no_powers(project: Project) -> None:
    """On a linear scale there are checks of the trend and of the same function, and no others."""
    project.audit("falling", "scale='linear', perturbations=['adam']")
    assert [test_id.partition("[")[2] for test_id in project.ids()] == [
        "trend-baseline]",
        "trend-adam]",
        *[f"symmetry-{name}]" for name in SYMMETRY_NAMES],
        *[f"equivalence-{name}]" for name in EQUIVALENCES],
        *[f"{name}]" for name in STANDARD_CHECKS],
    ]


def test_ids_do_not_depend_on_the_hash_seed(project: Project) -> None:
    """Processes with different hash seeds collect the same ids, as xdist needs."""
    (project.path / "test_light.py").write_text(
        "import pytest\n"
        "from pytest_fragility.measures import noise\n"
        "@pytest.mark.fragility(noise, xfail={'trend-*': 'a', 'spread-*': 'b'})\n"
        "def test_noise(check): check()\n"
    )
    outputs = [
        project.run_apart("--collect-only", "-q", "test_light.py", PYTHONHASHSEED=seed).stdout
        for seed in ("1", "2")
    ]
    first, second = map(node_ids, outputs)
    assert len(first) > 20
    assert first == second
