"""Audits of other networks than perceptrons: by name, by place, or by a function."""

from __future__ import annotations

import pytest

from tests.plugin.conftest import ALL_CHECKS, Project

NETWORKS = """
import torch
from torch import nn

WIDTH = 7


class Branch(nn.Module):
    def forward(self, inputs):
        return inputs if inputs.sum() > 0 else -inputs


def normalized(input_shape, classes):
    return nn.Sequential(nn.Linear(input_shape[0], WIDTH), nn.BatchNorm1d(WIDTH), nn.ReLU(),
                         nn.Linear(WIDTH, classes))


def branching(input_shape, classes):
    return nn.Sequential(Branch(), nn.Linear(input_shape[0], classes))
"""

READS_STATISTICS = """
def reads_statistics(network):
    assert network.model[1].running_mean.abs().sum() > 0
    assert network.recipe.architecture.name == "normalized"
    return 1 / network.n

"""


@pytest.fixture
def networks(project: Project) -> Project:
    """A project with networks of its own."""
    project.pytester.makepyfile(networks=NETWORKS)
    project.pytester.syspathinsert()
    return project


def test_a_function_on_the_marker(networks: Project) -> None:
    """Its networks are what is audited; a second run trains nothing, a changed function does."""
    networks.write(
        READS_STATISTICS
        + "import networks\n"
        + "@pytest.mark.fragility(reads_statistics, architecture=networks.normalized, **SMALL)\n"
        + "def test_audit(check):\n    check()\n"
    )
    assert networks.run("--fragility").ret == 0
    stored = networks.stored()
    assert len(stored) == 2 * 9
    first = networks.run_apart("--fragility")
    assert networks.stored() == stored
    assert "baseline: normalized, sgd" in " ".join(first.stdout.split())
    path = networks.path / "networks.py"
    path.write_text(path.read_text().replace("WIDTH = 7", "# wider\nWIDTH = 8"))
    assert networks.run("--fragility").ret == 0
    assert len(networks.stored()) == 4 * 9


def test_a_name_or_a_place_on_the_command_line(networks: Project, shared_cache: str) -> None:
    """In the place of the recipe's architecture."""
    networks.audit("falling")
    for value, shown in (
        ("scale_invariant", "scale-invariant mlp 64-64"),
        ("networks:normalized", "normalized"),
    ):
        result = networks.run("--fragility", shared_cache, f"--fragility-architecture={value}")
        result.assert_outcomes(passed=len(ALL_CHECKS))
        result.stdout.fnmatch_lines([f"*baseline: {shown}, sgd*"])


def test_networks_that_are_trained_one_at_a_time_are_told(networks: Project) -> None:
    """Among the warnings of the run, with module and reason."""
    networks.audit("falling")
    result = networks.run_apart("--fragility", "--fragility-architecture=networks:branching")
    assert result.returncode == 0
    shown = " ".join(result.stdout.split())
    assert "OneAtATimeWarning: networks with the architecture branching are trained one" in shown
    assert "since its module 0 (Branch): vmap: It looks like" in shown


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("rnn", "architecture='rnn': expected an architecture such as * mlp, cnn, resnet, vit*"),
        ("networks:missing", "*architecture=networks:missing: module networks has no 'missing'*"),
        ("nowhere:build", "*architecture=nowhere:build: no module named 'nowhere'*"),
        ("cnn", "*inputs of shape (6,) are no images*"),
    ],
)
def test_architectures_that_cannot_be_used_are_named(
    networks: Project, value: str, message: str
) -> None:
    """With what would do."""
    networks.audit("falling")
    result = networks.run("--fragility", f"--fragility-architecture={value}")
    assert result.ret != 0
    text = " ".join(result.stdout.str().split()) + " ".join(result.stderr.str().split())
    assert "INTERNALERROR" not in text
    pytest.LineMatcher([text]).fnmatch_lines([f"*{message}"])
