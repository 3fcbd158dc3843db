"""Values that are measured already: an audit of a table, for which nothing is trained.

Run with ``pytest --fragility examples/test_from_a_table.py``. The table beside this file,
``values.csv``, has one row for each network and a column for each measure; it was made by
``python examples/test_from_a_table.py``, which trains 120 networks.
"""

from pathlib import Path

import pytest

TABLE = Path(__file__).with_name("values.csv")


@pytest.mark.fragility(
    "path_norm",
    table="values.csv",
    xfail={
        "*-adam-x10": "the path norm reverses under Adam at ten times its usual rate",
        "exponent-lr-x3": "these seeds do not decide whether three times the rate changes it",
    },
)
def test_path_norm(check):
    """A column of the table."""
    check()


@pytest.mark.fragility(
    "pac_bayes_origin", table="values.csv", checks="trend", perturbations=["lr-x3", "momentum"]
)
def test_pac_bayes_origin(check):
    """Another one, of which fewer rows are looked at."""
    check()


def main() -> None:
    """Train the networks, measure them and write the table anew."""
    from pytest_fragility import learning_curves
    from pytest_fragility.auditing.from_settings import train_family
    from pytest_fragility.measures import pac_bayes_origin, path_norm
    from pytest_fragility.settings import resolve_settings

    settings = resolve_settings(
        {
            "sizes": (32, 64, 128, 256, 512),
            "seeds": 6,
            "perturbations": ["lr-x3", "momentum", "adam-x10"],
            "checks": ["trend", "exponent", "spread"],
            "device": "cpu",
        }
    )
    family = train_family(settings)
    measured = [
        learning_curves(path_norm.bound_form, family, name="path_norm"),
        learning_curves(pac_bayes_origin.bound_form, family, name="pac_bayes_origin"),
    ]
    measured[0].to_table(TABLE, *measured[1:], overwrite=True)


if __name__ == "__main__":
    main()
