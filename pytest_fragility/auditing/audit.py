"""The public function `audit`: one measure, one verdict for each check."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_fragility._util.stopwatch import timing
from pytest_fragility._util.text import shown
from pytest_fragility.auditing.engine import Engine, Request
from pytest_fragility.auditing.from_settings import train_plans
from pytest_fragility.auditing.result import AuditResult
from pytest_fragility.checks.check import Needs
from pytest_fragility.errors import SettingsError
from pytest_fragility.settings import (
    DEFAULT_FOLDER,
    DEFAULTS,
    require_use,
    resolve_settings,
)
from pytest_fragility.settings.naming import name_in_audit

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from pytest_fragility.families.family import Family
    from pytest_fragility.families.measured_family import MeasuredFamily
    from pytest_fragility.families.train import Progress
    from pytest_fragility.measures.measure import Measure
    from pytest_fragility.parallel.futures import Executors
    from pytest_fragility.perturbations import Perturbation
    from pytest_fragility.perturbations.perturbation import Change
    from pytest_fragility.recipes import Architecture, Recipe
    from pytest_fragility.tasks import Ladder, Task


def audit(
    measure: Measure | str,
    *,
    name: str | None = None,
    family: Family | MeasuredFamily | None = None,
    manifest: Any = None,
    table: Any = None,
    task: Task | str | None = None,
    recipe: Recipe | None = None,
    architecture: Architecture | Callable[..., Any] | str | None = None,
    architectures: Mapping[str, Any] | None = None,
    sizes: Sequence[int] | None = None,
    seeds: int | Sequence[int] | str | None = None,
    perturbations: Sequence[str | Perturbation | Change] | None = None,
    checkpoints: Sequence[str | Perturbation] | None = None,
    ladder: Ladder | str | Sequence[Task | str] | None = None,
    checks: str | Sequence[str] | None = None,
    locate: bool | Sequence[str] | None = None,
    trend: str | None = None,
    exponent_tolerance: float | None = None,
    spread_tolerance: float | None = None,
    error_margin: float | None = None,
    least_sensitivity: float | None = None,
    invariance_tolerance: float | None = None,
    alpha: float | None = None,
    scale: str | None = None,
    fit: str | None = None,
    profile: str | None = None,
    budget: int | None = None,
    measure_timeout: float | None = None,
    executor_timeout: float | None = None,
    device: str | None = None,
    cache_dir: Path | str | None = DEFAULT_FOLDER,
    progress: Progress | None = None,
    executor: Executor | Callable[[], Executor | None] | None = None,
) -> AuditResult:
    """Audit a generalization measure for fragility.

    Everything but the measure has a default; None stands for it, but for ``cache_dir``.

    Parameters
    ----------
    measure
        A function of one `TrainedNetwork` that returns one real number; of a table, the name of a
        column.
    name
        What reports call the measure; its ``__name__`` by default.
    family
        Networks or values that exist already, from `Family.from_checkpoints`, `Family.from_table`
        or an earlier training: nothing is trained. Of the options that say what is audited, `task`
        (a name), `perturbations`, `checkpoints`, `sizes`, `seeds` and `ladder` (names) choose from
        what is there; a family that was trained here is audited as it is.
    manifest
        The list of checkpoints that `Family.from_checkpoints` reads, in the place of `family`.
    table
        The table that `Family.from_table` reads, in the place of `family`.
    task
        What is learned: a `Task` or a name. Default: digits with 20 % random training labels.
    recipe
        The baseline.
    architecture
        The networks, in the place of the recipe's: an architecture such as ``CNN()``, a name
        (``mlp``, ``cnn``, ``resnet``, ``vit``, ``scale_invariant``), a function that returns a
        new ``torch.nn.Module``, or where one stands, ``module:function``.
    architectures
        The same by the names that a manifest gives them.
    sizes
        Training set sizes, at least two.
    seeds
        A number of seeds, or a list of them; at least two. ``auto`` trains them as they are
        needed, for each check, in looks at 5, 8, 13 and 21 seeds; ``auto-34`` goes on to 34.
    perturbations
        Names from the catalogue, `Perturbation` objects, or functions from `Recipe` to `Recipe`.
    checkpoints
        Perturbations that change nothing but where the training stops, for the check of stopping:
        all are recorded in one training.
    ladder
        Tasks of different complexity, for the check of that name: a `Ladder`, a list of tasks, or
        ``label-noise`` (the default: the task with 0, 20 and 50 % random training labels),
        ``teacher-depth``, ``mnist-to-fashion`` or ``none``. Those that are named undergo the task's
        operations.
    checks
        Of ``trend``, ``exponent``, ``spread``, ``stopping``, ``complexity``, ``symmetry`` and
        ``equivalence``, which are all made by default, and ``rank``.
    locate
        Whether to walk along each axis (learning rate, batch size, ...) to the smallest change
        that breaks the measure, or along which; trains more networks. Default: False.
    trend
        The slope that the baseline must show: ``error`` (test error's sign, the default),
        ``increasing`` or ``decreasing``.
    exponent_tolerance
        Largest change of the exponent beyond what test error's moved. Default: 0.1.
    spread_tolerance
        Largest change of the level beyond what test error's moved, in decades. Default: 0.1.
    error_margin
        Largest change of test error's exponent, and of its level in decades, under an admissible
        perturbation. Default: 0.1.
    least_sensitivity
        Least change of the measure's exponents, and of its levels, over the ladder, where test
        error's change by one; at most the inverse of it. Default: 0.25.
    invariance_tolerance
        Largest change of the value, in decades, where the network's function stays the same; on a
        linear scale, the largest relative change. Default: 0.02.
    alpha
        Every check errs with probability at most alpha. Default: 0.05.
    scale
        ``log`` (the default), or ``linear`` for values without a logarithm.
    fit
        How lines are fitted to learning curves: ``least-squares`` (the default), or
        ``theil-sen`` or ``repeated-medians``, which withstand points that lie far off.
    profile
        ``quick``, ``standard`` (the default) or ``thorough``: sizes, seeds and perturbations that
        are not given.
    budget
        How many networks may be trained on demand, where breaking points are located. Default:
        5,000.
    measure_timeout
        Seconds that the measure may take for a network, before it is cut off; by default there is
        no limit.
    executor_timeout
        Seconds that a Dask cluster may do nothing (without workers, say, or with a scheduler that
        does not answer) before the audit ends. Default: 600.
    device
        ``auto`` (the default), ``cpu``, ``cuda`` or ``cuda:1``.
    cache_dir
        Where trained runs are kept; None keeps nothing.
    progress
        Called as ``progress(runs done, runs to train, share of the work done)`` while training.
    executor
        Who trains and measures in the place of this machine: a `concurrent.futures.Executor`, or
        a function without parameters that returns one. The function is asked again where an
        executor breaks, and what it returns is shut down at the end. None has all done here.

    Returns
    -------
    AuditResult
        Verdicts with their evidence; ``print(result)`` shows a table.

    Raises
    ------
    SettingsError
        If an option's value cannot be used.
    TaskError
        If the data cannot be used.
    MeasureError
        If the measure fails under all checks. What keeps some of them from being judged (a measure
        that fails, a budget that does not suffice) is noted in the result.
    StoreError
        If the cache folder cannot be used.
    """
    # the first statement, so that nothing else is local yet
    asked = {name: value for name, value in locals().items() if name in DEFAULTS}
    # its default stands in the signature, where it can be read
    if cache_dir == DEFAULT_FOLDER:
        del asked["cache_dir"]
    settings = resolve_settings(asked)
    require_use(asked, settings)
    if executor is None and executor_timeout is not None:
        raise SettingsError(
            f"executor_timeout={shown(executor_timeout)} would change nothing: there is no "
            "executor; leave it out"
        )
    if settings.given is not None and executor is not None:
        raise SettingsError(
            "executor= trains and measures, and what exists already is audited in this process; "
            "leave it out"
        )
    chosen_name = name_in_audit(measure, name, settings)
    with timing() as stopwatch, _executors(executor, settings.executor_timeout) as executors:
        engine = Engine(partial(train_plans, progress=progress, executors=executors))
        # curves of all recipes, whatever the checks look at; looks train what they need
        trains_at_once = not settings.looks and settings.given is None
        whole = Needs(frozenset(settings.recipes()), True, True) if trains_at_once else None
        planned = tuple(settings.checks)
        engine.add(Request(chosen_name, settings, lambda: (measure, chosen_name), planned, whole))
        return replace(engine.result(chosen_name), durations=stopwatch.durations)


@contextmanager
def _executors(given: Any, limit: float) -> Iterator[Executors | None]:
    """Yield what an executor is asked through, and shut down what it was asked for."""
    from pytest_fragility.parallel.futures import Executors

    if given is None:
        yield None
        return
    with closing(Executors(given, limit=limit)) as executors:
        yield executors
