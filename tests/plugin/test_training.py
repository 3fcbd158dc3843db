"""Which networks are trained, and how often."""

from __future__ import annotations

from tests.plugin.conftest import BASELINE_RUNS, Project


def test_tests_share_networks(project: Project) -> None:
    """All selected tests are trained for at once, each network once; a second run trains none."""
    project.write(
        "@pytest.mark.fragility(falling, **SMALL)\n"
        "def test_one(check): check()\n"
        "@pytest.mark.fragility(falling, **{**SMALL, 'perturbations': ['adam', 'momentum']})\n"
        "def test_two(check): check()\n"
        "@pytest.mark.fragility(**SMALL)\n"
        "def test_three(trained_family): assert len(trained_family) == 18\n"
    )
    result = project.run("--fragility")
    result.assert_outcomes(passed=7 + 10 + 1)
    lines = [line for line in result.outlines if line.startswith("fragility: train")]
    assert lines[0] == "fragility: training 27 networks"
    assert lines[1].startswith("fragility: trained 27 networks in ")
    assert len(lines) == 2
    stored = project.stored()
    assert len(stored) == 3 * BASELINE_RUNS
    times = {path: path.stat().st_mtime_ns for path in stored}
    again = project.run("--fragility")
    again.assert_outcomes(passed=7 + 10 + 1)
    again.stdout.no_fnmatch_line("fragility: train*")
    assert {path: path.stat().st_mtime_ns for path in project.stored()} == times


def test_only_what_is_selected_is_trained(project: Project) -> None:
    """Recipes that no selected check needs are not trained."""
    project.audit("falling", "**{**SMALL, 'perturbations': ['adam', 'momentum', 'rmsprop']}")
    counts = []
    for selection in ("trend-baseline", "trend and momentum", "momentum", "admissible"):
        result = project.run("--fragility", "-k", selection)
        assert result.ret == 0
        counts.append(len(project.stored()) // BASELINE_RUNS)
    assert counts == [1, 2, 2, 4]


def test_tests_without_networks_train_none(project: Project) -> None:
    """A marked test that uses no networks costs nothing, nor do deselected audits."""
    project.write(
        "@pytest.mark.fragility(**SMALL)\n"
        "def test_settings(fragility): assert fragility.settings.alpha == 0.05\n"
        "@pytest.mark.fragility(falling, **SMALL)\n"
        "def test_audit(check): check()\n"
    )
    result = project.run("--fragility", "-k", "test_settings")
    result.assert_outcomes(passed=1, deselected=7)
    assert not project.stored()


def test_nothing_is_kept_where_none_is_asked(project: Project) -> None:
    """``cache_dir=None`` trains in memory."""
    project.audit("falling", "cache_dir=None, **SMALL")
    project.run("--fragility").assert_outcomes(passed=7)
    assert not list(project.path.rglob("*.safetensors"))


def test_a_measure_is_called_once_per_network(project: Project) -> None:
    """All checks share its values; of the smallest ones it is asked twice, whether it draws."""
    project.write(
        "calls = []\n"
        "def counted(network):\n"
        "    calls.append((network.recipe, network.n, network.seed))\n"
        "    return 1 / network.n\n"
        "@pytest.mark.fragility(counted, **SMALL)\n"
        "def test_audit(check): check()\n"
        "def test_calls():\n"
        "    twice = [call for call in set(calls) if calls.count(call) == 2]\n"
        "    assert {(recipe.optimizer.kind, n) for recipe, n, _ in twice} == {('sgd', 16)}\n"
        "    assert len(twice) == 3\n"
        "    assert len(calls) - len(twice) == len(set(calls)) == 18\n"
    )
    project.run("--fragility").assert_outcomes(passed=8)
