"""The one table of options: every setting of an audit, every flag, every key of a file.

It is read on each run of pytest where the package is installed: data, which import nothing else.
"""

from __future__ import annotations

from typing import Any

from pytest_fragility.settings.option import (
    ALWAYS,
    CALL,
    FLAG,
    IF_TYPED,
    IN_CODE,
    INI,
    JUDGING,
    MARK,
    RUN,
    SOURCE,
    TRAINING,
    TYPED,
    WHAT,
    WHERE,
    Option,
)

DEFAULT_FOLDER = ".fragility_cache"
NO_LADDER = "none"
# what names networks or values that exist already
SOURCES = FAMILY, MANIFEST, TABLE = "family", "manifest", "table"

# in the order in which an unknown argument is answered with them
OPTIONS = (
    Option(
        "",
        "run the tests marked with fragility; without it they are skipped",
        on=TYPED,
        takes="flag",
    ),
    Option(
        "measure",
        "audit this measure, with no test file; can be repeated",
        takes="texts",
        metavar="MODULE:FUNCTION",
        repeated=True,
        needs_audits=ALWAYS,
    ),
    Option("task", "what is learned", WHAT, default="digits+label-noise-0.2"),
    Option(
        "recipe",
        "the baseline: which networks are trained, and how",
        TRAINING,
        IN_CODE,
        words="ReLU MLP 64-64, SGD 0.05, batch 16, stop at train cross-entropy 0.1",
    ),
    Option(
        "architecture",
        "the networks: mlp, cnn, resnet, vit, scale_invariant, or MODULE:FUNCTION, which returns "
        "a new module; can be repeated, also as NAME=MODULE:FUNCTION, for the names in a manifest",
        TRAINING,
        words="mlp",
        takes="texts",
        repeated=True,
    ),
    Option(
        "architectures", "what a manifest's names of architectures stand for", TRAINING, IN_CODE
    ),
    Option(
        "profile",
        "how much to spend: quick (3 perturbations, 4 seeds), standard (9, 6 seeds) or thorough "
        "(14, 10 seeds)",
        TRAINING,
        default="standard",
        choices=("quick", "standard", "thorough"),
    ),
    Option("sizes", "training set sizes, at least two", WHAT, IN_CODE, words="the profile's"),
    Option(
        "seeds",
        "number of seeds; auto trains as many as each check needs, up to 21, auto-N up to N",
        WHAT,
        words="the profile's",
        takes="seeds",
    ),
    Option(
        "perturbations",
        "training changes, by name",
        WHAT,
        words="the profile's",
        takes="names",
        once=True,
    ),
    Option(
        "checkpoints",
        "where the check of stopping looks, along one training",
        WHAT,
        words="the profile's",
        takes="names",
        once=True,
        needs_audits=IF_TYPED,
    ),
    Option(
        "ladder",
        "tasks of different complexity: label-noise, teacher-depth, mnist-to-fashion or none",
        WHAT,
        default="label-noise",
        takes="name or names",
        needs_audits=IF_TYPED,
    ),
    Option(
        "checks",
        "which kinds of checks are made, by name",
        JUDGING,
        IN_CODE,
        words="all that can be made, but for those that only a name asks for",
    ),
    Option(
        "locate",
        "also walk along each axis (learning rate, batch size, ...) to the smallest change that "
        "breaks a measure; trains more networks, within the budget. Configuration files may name "
        "axes",
        TRAINING,
        default=False,
        takes="axes",
        needs_audits=IF_TYPED,
    ),
    Option(
        "trend",
        "the slope that the baseline must show: error (test error's sign), increasing or "
        "decreasing",
        JUDGING,
        IN_CODE,
        default="error",
        choices=("error", "increasing", "decreasing"),
    ),
    Option(
        "exponent_tolerance",
        "how far the exponent may move beyond what test error's moved",
        JUDGING,
        IN_CODE,
        default=0.1,
        takes="number",
    ),
    Option(
        "spread_tolerance",
        "how far the level may move beyond what test error's moved, in decades",
        JUDGING,
        IN_CODE,
        default=0.1,
        takes="number",
    ),
    Option(
        "error_margin",
        "how far test error's exponent, and its level in decades, may move under a change that "
        "counts as small",
        JUDGING,
        IN_CODE,
        default=0.1,
        takes="number",
    ),
    Option(
        "least_sensitivity",
        "how much exponents and levels must change over the ladder where test error's change by "
        "one; at most the inverse of it",
        JUDGING,
        IN_CODE,
        default=0.25,
        takes="number",
    ),
    Option(
        "invariance_tolerance",
        "how far the value may move, in decades, where the network's function stays the same",
        JUDGING,
        IN_CODE,
        default=0.02,
        takes="number",
    ),
    Option(
        "alpha",
        "every check errs with probability at most A; intervals have level 1 - A",
        JUDGING,
        default=0.05,
        takes="rate",
    ),
    Option(
        "scale",
        "of values and of sizes: log, or linear for values without a logarithm",
        JUDGING,
        IN_CODE,
        default="log",
        choices=("log", "linear"),
    ),
    Option(
        "fit",
        "how lines are fitted to learning curves: least-squares, theil-sen or repeated-medians",
        JUDGING,
        default="least-squares",
        choices=("least-squares", "theil-sen", "repeated-medians"),
    ),
    Option(
        "device",
        "where to train and measure: auto, cpu, cuda, cuda:1",
        WHERE,
        default="auto",
        takes="device",
    ),
    Option(
        "cache_dir",
        "where trained networks are kept, relative to the rootdir",
        WHERE,
        default=DEFAULT_FOLDER,
        takes="folder",
    ),
    Option(
        "budget",
        "networks that may be trained on demand, by property-based tests and searches",
        TRAINING,
        default=5_000,
        takes="whole",
    ),
    Option(
        "measure_timeout",
        "cut a measure off that takes longer for a network",
        WHERE,
        words="no limit",
        takes="seconds",
    ),
    Option(
        "executor_timeout",
        "end where a Dask cluster does nothing for longer",
        WHERE,
        (CALL, FLAG, INI),
        default=600.0,
        takes="seconds",
    ),
    Option(
        FAMILY,
        "audit networks or values that exist already, from Family.from_checkpoints or "
        "Family.from_table",
        SOURCE,
        IN_CODE,
        words="none, networks are trained",
    ),
    Option(
        MANIFEST,
        "audit networks that were trained elsewhere: a list of their checkpoints, CSV or JSON",
        SOURCE,
        words="none, networks are trained",
        metavar="FILE",
        once=True,
        needs_audits=ALWAYS,
    ),
    Option(
        TABLE,
        "audit values that were measured elsewhere, with no test file: a table, CSV or JSON; all "
        "of its measures, or those that --fragility-measure names",
        SOURCE,
        (CALL, MARK, FLAG),
        metavar="FILE",
        once=True,
        needs_audits=ALWAYS,
    ),
    Option("name", "what reports call the measure", on=IN_CODE, words="its own"),
    Option("xfail", "which checks are known to fail, by id, and why", on=(MARK,)),
    Option("progress", "what is called while networks are trained", on=(CALL,)),
    Option("executor", "who trains and measures in the place of this machine", on=(CALL,)),
    Option(
        "durations",
        "show at the end where the time went, and the slowest measures",
        on=TYPED,
        takes="flag",
    ),
    Option(
        "dask",
        "train and measure on the Dask cluster whose scheduler has this address",
        on=TYPED,
        metavar="tcp://HOST:PORT",
        rerun=True,
    ),
    Option(
        "report",
        "write what audits find to this folder: a page, JSON, CSV and Markdown",
        on=TYPED,
        takes="folder",
        needs_audits=IF_TYPED,
    ),
    Option(
        "store",
        "run no tests: list the trained runs that are kept, remove some, or read them all",
        on=(FLAG,),
        takes="choice",
        choices=("list", "prune", "verify"),
    ),
    Option(
        "store_max_age",
        "with --fragility-store=prune: remove what was not used for so long, such as 30d",
        on=(FLAG,),
        metavar="AGE",
    ),
    Option(
        "store_max_size",
        "with --fragility-store=prune: keep what was used last, up to so much, such as 2GB",
        on=(FLAG,),
        metavar="SIZE",
    ),
    Option(
        "init",
        "run no tests: write a starter, test_fragility.py, into the current folder",
        on=(FLAG,),
        takes="flag",
    ),
    Option(
        "save",
        "save verdicts and exponents as a baseline, to be kept under version control",
        on=(FLAG,),
        once=True,
        needs_audits=ALWAYS,
    ),
    Option(
        "compare",
        "fail only where a check got worse than in this baseline",
        on=(FLAG,),
        once=True,
        rerun=True,
        needs_audits=ALWAYS,
    ),
    Option(
        "baselines",
        "where baselines are kept, relative to the rootdir",
        on=TYPED,
        default="fragility_baselines",
        takes="folder",
        rerun=True,
    ),
)

BY_NAME = {option.name: option for option in OPTIONS}
SETTINGS = tuple(option for option in OPTIONS if option.says != RUN)
DEFAULTS: dict[str, Any] = {option.name: option.default for option in SETTINGS}


def settings_that_say(*what: str) -> list[str]:
    """Return the names of the settings that answer some of an audit's questions."""
    return [option.name for option in SETTINGS if option.says in what]
