"""Fixtures for tests of one's own design."""

from __future__ import annotations

from tests.plugin.conftest import BASELINE_RUNS, Project


def test_trained_family(project: Project) -> None:
    """A family is iterable, and indexable by task, recipe, n and seed."""
    project.write(
        "@pytest.mark.fragility(**SMALL)\n"
        "def test_family(trained_family):\n"
        "    assert len(list(trained_family)) == len(trained_family) == 18\n"
        "    network = trained_family['blobs', 'adam', 32, 1]\n"
        "    assert (network.n, network.seed) == (32, 1)\n"
        "    assert network.inputs.shape == (32, 6)\n"
        "    assert network.recipe.optimizer.kind == 'adam'\n"
        "    with pytest.raises(KeyError, match='no run with recipe'):\n"
        "        trained_family['blobs', 'rmsprop', 32, 1]\n"
    )
    project.run("--fragility").assert_outcomes(passed=1)


def test_learning_curves_and_asserts(project: Project) -> None:
    """Curves of any measure, and the asserts that the checks use."""
    project.write(
        "from pytest_fragility import CheckBroken, CheckInconclusive\n"
        "pytestmark = pytest.mark.fragility(**SMALL)\n"
        "def test_kept(learning_curves, fragility):\n"
        "    curves = learning_curves(falling)\n"
        "    assert curves.measure['adam'].slope.mean == pytest.approx(-1)\n"
        "    assert curves.measure['adam'].values.shape == (3, 3)\n"
        "    assert fragility.assert_trend_kept(curves, trend='decreasing').status == 'kept'\n"
        "def test_named(learning_curves):\n"
        "    curves = learning_curves(lambda network: 1.0, name='one')\n"
        "    assert curves.measure_name == 'one'\n"
        "def test_broken(learning_curves, fragility):\n"
        "    with pytest.raises(CheckBroken, match='Falling with n, against rising'):\n"
        "        fragility.assert_trend_kept(learning_curves(falling), trend='increasing')\n"
        "def test_inconclusive(learning_curves, fragility):\n"
        "    with pytest.raises(CheckInconclusive, match='no certain sign'):\n"
        "        fragility.assert_trend_kept(learning_curves(noise), trend='increasing')\n"
        "def test_unnoticed(learning_curves, fragility):\n"
        "    fragility.assert_trend_kept(learning_curves(falling), trend='increasing')\n"
    )
    result = project.run("--fragility")
    result.assert_outcomes(passed=4, failed=1)
    result.stdout.fnmatch_lines(["*CheckBroken: falling: trend BROKEN", "*test_audit.py:*"])
    assert "pytest_fragility/" not in result.stdout.str().partition("= FAILURES =")[2]


def test_settings_are_the_sessions(project: Project) -> None:
    """``fragility`` carries what options ask for, to fixtures of any scope."""
    project.write(
        "@pytest.fixture(scope='session')\n"
        "def level(fragility): return 1 - fragility.settings.alpha\n"
        "def test_level(level): assert level == 0.75\n"
    )
    project.run("--fragility", "--fragility-alpha=0.25").assert_outcomes(passed=1)


def test_curves_have_the_markers_level_and_scale(project: Project) -> None:
    """A marker's alpha and scale hold for curves of hand-written tests."""
    project.write(
        "@pytest.mark.fragility(alpha=0.3, scale='linear', **{**SMALL, 'checks': 'trend'})\n"
        "def test_curves(learning_curves):\n"
        "    curve = learning_curves(lambda network: -1.0, name='minus').measure['baseline']\n"
        "    assert (curve.alpha, curve.scale) == (0.3, 'linear')\n"
    )
    project.run("--fragility").assert_outcomes(passed=1)


def test_networks_for_a_fixture_of_ones_own(project: Project) -> None:
    """A fixture that asks for networks makes its tests ask for them."""
    project.write(
        "@pytest.fixture\n"
        "def smallest(trained_family): return next(trained_family.select(n=16))\n"
        "@pytest.mark.fragility(**SMALL)\n"
        "def test_smallest(smallest): assert smallest.n == 16\n"
    )
    project.run("--fragility").assert_outcomes(passed=1)


def test_fixtures_skip_without_the_option(project: Project) -> None:
    """Unmarked tests that need networks are skipped, too, and nothing is trained."""
    project.write("def test_family(trained_family): pass\ndef test_curves(learning_curves): pass\n")
    result = project.run("-rs")
    result.assert_outcomes(skipped=2)
    result.stdout.fnmatch_lines(["SKIPPED*run pytest with --fragility"])
    assert not (project.path / ".fragility_cache").exists()


def test_check_without_marker(project: Project) -> None:
    """The ``check`` fixture says what it needs."""
    project.write("def test_forgotten(check): check()\n")
    result = project.run("--fragility")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*the check fixture needs @pytest.mark.fragility(measure)*"])
    assert not project.stored()


def test_family_beside_checks(project: Project) -> None:
    """A test may take a check and the family at once; the family is whole."""
    project.write(
        "@pytest.mark.fragility(falling, **SMALL)\n"
        "def test_both(check, trained_family):\n"
        "    check()\n"
        "    assert set(trained_family.recipes) == {'baseline', 'adam'}\n"
    )
    project.run("--fragility").assert_outcomes(passed=7)
    assert len(project.stored()) == 2 * BASELINE_RUNS
