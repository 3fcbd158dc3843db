"""The workflows that the README offers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from pytest_fragility.settings import DEFAULT_FOLDER

yaml = pytest.importorskip("yaml")

README = Path(__file__).parents[1] / "README.md"


def workflows() -> dict[str, dict[Any, Any]]:
    """Return the README's workflows by name."""
    blocks = re.findall(r"^```yaml\n(.*?)^```", README.read_text("utf-8"), re.M | re.S)
    return {found["name"]: found for found in map(yaml.safe_load, blocks)}


def steps(name: str) -> list[dict[str, Any]]:
    """Return the steps of a workflow's only job."""
    (job,) = workflows()[name]["jobs"].values()
    found: list[dict[str, Any]] = job["steps"]
    return found


def the_audit(name: str) -> str:
    """Return the command that audits."""
    (command,) = [s["run"] for s in steps(name) if "pytest --fragility " in s.get("run", "")]
    return str(command)


@pytest.mark.parametrize("name", ["fragility", "fragility-cuda"])
def test_workflows_are_complete(name: str) -> None:
    """Each can be read, has triggers and a job, and uploads the folder that it reports to."""
    workflow = workflows()[name]
    # YAML 1.1 takes the word for a truth value
    assert workflow[True] and list(workflow["jobs"]) == ["audit"]
    assert all(("uses" in step) != ("run" in step) for step in steps(name))
    (upload,) = [s for s in steps(name) if s.get("uses", "").startswith("actions/upload")]
    folder, junit = upload["with"]["path"].split()
    assert f"--fragility-report={folder} " in the_audit(name)
    assert the_audit(name).endswith(f"--junitxml={junit}")
    assert "\n" not in the_audit(name)


def test_networks_are_kept_between_runs() -> None:
    """They are restored before the audit and saved after it, under keys that begin alike."""
    used = [step.get("uses", "") for step in steps("fragility")]
    restore, save = (
        next(step for step in steps("fragility") if step.get("uses", "").startswith(action))
        for action in ("actions/cache/restore", "actions/cache/save")
    )
    audited = next(
        i for i, s in enumerate(steps("fragility")) if s.get("run") == the_audit("fragility")
    )
    assert used.index(restore["uses"]) < audited < used.index(save["uses"])
    assert restore["with"]["path"] == save["with"]["path"] == DEFAULT_FOLDER
    assert restore["with"]["key"] == save["with"]["key"]
    assert save["if"] == "${{ !cancelled() }}"
    for prefix in restore["with"]["restore-keys"].split("\n"):
        assert save["with"]["key"].startswith(prefix)
        assert "steps.torch.outputs.version" in prefix or not prefix
