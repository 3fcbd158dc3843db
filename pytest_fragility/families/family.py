"""`Family`: trained networks, with the ways in (a table, checkpoints) and out (a folder)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_fragility.families.checkpoints import read_source
from pytest_fragility.families.export import export
from pytest_fragility.families.manifests import given_architectures
from pytest_fragility.families.selection import Asked
from pytest_fragility.families.tables import read_table
from pytest_fragility.families.trained_family import TrainedFamily
from pytest_fragility.perturbations import BASELINE

if TYPE_CHECKING:
    from typing_extensions import Self

    from pytest_fragility.families.measured_family import MeasuredFamily
    from pytest_fragility.tasks.task import Task


class Family(TrainedFamily):
    """A trained family: iterable over its networks, indexable by task, recipe, n and seed.

    It iterates over the networks of its own task; those of a ladder's tasks are in `rungs`.

    Parameters
    ----------
    plan
        The grid.
    trained
        Every run of the plan, by recipe name, n and seed.
    device
        Where its networks live.
    rungs
        Families of the ladder's tasks, under the baseline alone.
    equivalents
        The family of the pairs of trainings that give the same function.
    executors
        Who else may measure its networks; None has all measured in this process.
    stacks
        What families with networks in common have of them together; None begins anew.
    lost_rungs
        By task name: why tasks of the ladder have no family.
    source, grid, descriptions, test_size, has_samples, ladder_notes, asked, choose
        What is known of networks that were trained elsewhere; of those trained here, the plan says
        it.

    Examples
    --------
    >>> network = family["digits", "adam", 128, 0]
    >>> [network.n for network in family.select(recipe="baseline", seed=0)]
    [32, 64, 128, 256, 512, 1024]
    """

    @classmethod
    def from_table(cls, table: Any, *, baseline: str = BASELINE) -> MeasuredFamily:
        """Return the values of measures that were taken elsewhere, to be audited as they are.

        A table has one row for each network, and the columns ``recipe`` (``baseline`` or a
        perturbation's name), ``n``, ``seed`` and ``test_error`` (the share of test samples that
        were mistaken); each further column holds a measure's values. ``task`` names the task; the
        baselines of several tasks are a ladder. With ``test_size``, the number of test samples,
        intervals carry a bound on the noise of a finite test set, and with ``mistaken``
        (``numpy.packbits(mistaken).tobytes().hex()``) that noise itself; without either they hold
        for this test set alone. ``parameters`` (how many a network has), ``description`` (a recipe
        in words), ``reached_target``, ``diverged`` (whether a training did) and ``unfinished`` (in
        words, what is wrong with one) may be there too. A column whose name begins with ``_`` is a
        comment. Recipes that are called as changes of the stopping rule alone, such as ``past-x2``,
        serve the check of stopping; ``stop-accuracy`` is a perturbation, too.

        Parameters
        ----------
        table
            The path of a file of CSV, JSON or JSON Lines, gzipped or not; a data frame of pandas,
            polars, Arrow or another library that narwhals knows; a list of dicts, or a dict of
            columns. Columns that count the rows are left out.
        baseline
            The name of the recipe that is the baseline.

        Returns
        -------
        MeasuredFamily
            For ``audit("path_norm", family=...)``; `MeasuredFamily.curves` gives learning curves.

        Raises
        ------
        TableError
            If the table cannot be used; all rows that are wrong are named together.

        Examples
        --------
        >>> audit("path_norm", family=Family.from_table("values.csv"))
        """
        return read_table(table, baseline=baseline)

    @classmethod
    def from_checkpoints(
        cls,
        manifest: Any,
        *,
        architecture: Any = None,
        architectures: Mapping[str, Any] | None = None,
        tasks: Mapping[str, Task] | None = None,
        baseline: str = BASELINE,
        device: str = "auto",
    ) -> Self:
        """Return networks that were trained elsewhere, from a list of their checkpoints.

        A manifest has one row for each network, and the columns ``checkpoint`` (a file of
        safetensors, one of `torch.save` with a state dict in it, or the index of several; told by
        content, relative to the manifest), ``recipe``, ``n``, ``seed`` and ``test_error``. The
        further columns may be left out, and what they would say is then not known: a measure that
        asks for it is told which column to add.

        ``initial_checkpoint`` holds the weights before training; ``samples`` names a file (text,
        one number a line, or ``.npy``) with the rows of the task's training pool that the network
        was trained on, its first n counting; which samples those are is never guessed. ``task``
        names a built-in task, one of `tasks`, or is a label, whose data are not known.
        ``architecture`` is a built-in name, JSON with ``kind`` and parameters, or a name of
        `architectures`: nothing is imported because a file names it. ``optimizer`` (a name or
        JSON), ``lr``, ``momentum``, ``batch_size`` and all other fields of a `Recipe` say how a
        network was trained, as far as a measure asks; a field that a row with any of them leaves
        out has its default. ``test_size``, ``mistaken``, ``train_loss``, ``train_error``,
        ``steps``, ``reached_target`` and ``diverged`` say how training went. A column whose name
        begins with ``_`` is a comment.

        Checkpoints are read when a network is first asked for, all of them, and stay in memory;
        measures are asked about them in this process.

        Parameters
        ----------
        manifest
            The path of a file of CSV, JSON or JSON Lines, gzipped or not; a data frame of pandas,
            polars, Arrow or another library that narwhals knows; a list of dicts, or a dict of
            columns. Columns that count the rows are left out.
        architecture
            The networks of rows that do not say: an architecture, a name, a function that returns a
            new module, or ``module:function``, which rows may then call so, too.
        architectures
            The same by the names that the manifest gives them.
        tasks
            Tasks by the names that the manifest gives them.
        baseline
            The name of the recipe that is the baseline.
        device
            Where measures are asked about them: ``auto``, ``cpu``, ``cuda``, ``cuda:1``.

        Raises
        ------
        TableError
            If the manifest cannot be used, or later, if checkpoints cannot: all of them are named
            together.
        """
        given = given_architectures(architecture, architectures)
        source = read_source(manifest, given, cls, device=device, tasks=tasks, baseline=baseline)
        return source.family(Asked())

    def export(self, folder: Path | str, *, overwrite: bool = False) -> None:
        """Write all networks to a folder, with a manifest that `from_checkpoints` reads.

        The folder is written whole or not at all: ``manifest.csv``, one file of safetensors for
        each network's weights and for its initial weights, and the rows of the pool that each seed
        trains on. Pairs of trainings with the same function are left out. All tasks of the file are
        the ladder of what is read back, the audited one too; tasks and architectures that are not
        built in have to be handed over to `from_checkpoints` again, a function by the place that
        the manifest calls it by: ``architectures={"mymodule:build": build}``.

        Parameters
        ----------
        folder
            Made; its parent must be there.
        overwrite
            Whether a folder that an export has made may be replaced.

        Raises
        ------
        TableError
            If the folder is there, or cannot be written.
        """
        export(self, Path(folder), overwrite=overwrite)
