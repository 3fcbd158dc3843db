"""Reference measures, grouped by what they read, and controls.

Every measure says in its docstring what it computes, where that comes from, what it reads, what it
does with biases, normalization and convolutions, and when it raises. ``measure.bound_form`` is the
form in which it enters its bound.

A new measure is one function under ``@reference`` in a file of its group: what stands there is
offered here, to type checkers too. These files import neither torch nor NumPy at their top.
"""

# ruff: noqa: F403, PLE0605
from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from pytest_fragility.measures.adapters import adapt as adapt
from pytest_fragility.measures.bound_forms import bound_form as bound_form
from pytest_fragility.measures.control_measures import *
from pytest_fragility.measures.marginal_likelihood.function_bounds import *
from pytest_fragility.measures.measure import Measure as Measure
from pytest_fragility.measures.measure import constant as constant
from pytest_fragility.measures.measure import control as control
from pytest_fragility.measures.measure import is_constant as is_constant
from pytest_fragility.measures.measure import is_control as is_control
from pytest_fragility.measures.measure import measure_name as measure_name
from pytest_fragility.measures.measure import oracle as oracle
from pytest_fragility.measures.measure import unclaimed as unclaimed
from pytest_fragility.measures.norms.path_norms import *
from pytest_fragility.measures.norms.weight_norms import *
from pytest_fragility.measures.pac_bayes.bounds import *
from pytest_fragility.measures.pac_bayes.bounds_as_published import *
from pytest_fragility.measures.sharpness.sharpness import *
from pytest_fragility.measures.stacked import StackMeasure as StackMeasure
from pytest_fragility.measures.stacked import stacked as stacked

if TYPE_CHECKING:
    from pytest_fragility.measures.marginal_likelihood.kernels import (
        monte_carlo_kernel as monte_carlo_kernel,
    )
    from pytest_fragility.measures.marginal_likelihood.kernels import (
        network_kernel as network_kernel,
    )
    from pytest_fragility.measures.marginal_likelihood.kernels import relu_kernel as relu_kernel
    from pytest_fragility.measures.marginal_likelihood.log_evidence import (
        log_evidence as log_evidence,
    )
    from pytest_fragility.measures.pac_bayes.noise_search import sigma_search as sigma_search
    from pytest_fragility.measures.sharpness.hessian import (
        hessian_trace_estimate as hessian_trace_estimate,
    )

# these need torch or SciPy, which naming a measure does not
_HOME_OF = {
    "hessian_trace_estimate": "sharpness.hessian",
    "log_evidence": "marginal_likelihood.log_evidence",
    "monte_carlo_kernel": "marginal_likelihood.kernels",
    "network_kernel": "marginal_likelihood.kernels",
    "relu_kernel": "marginal_likelihood.kernels",
    "sigma_search": "pac_bayes.noise_search",
}
# what is offered besides the measures
_TOOLS = (
    *("Measure", "StackMeasure", "adapt", "at_initialization", "bound_form", "constant"),
    *("control", "control_measures", "is_constant", "is_control", "measure_name", "oracle"),
    *("prior_kernel", "reference_measures", "stacked", "unclaimed"),
)


def control_measures() -> dict[str, Measure]:
    """Return the measures by name whose verdict is known beforehand."""
    return {name: each for name, each in _measures().items() if is_control(each)}


def reference_measures() -> dict[str, StackMeasure]:
    """Return the measures by name that are computed over stacks, controls among them."""
    return {name: each for name, each in _measures().items() if isinstance(each, StackMeasure)}


def _measures() -> dict[str, Measure]:
    """Return what the files of the groups offer, in alphabetical order."""
    offered = {name: each for name, each in globals().items() if not name.startswith("_")}
    return {
        name: offered[name]
        for name in sorted(offered)
        if callable(offered[name])
        and (is_control(offered[name]) or isinstance(offered[name], StackMeasure))
    }


# type checkers follow the imports instead
if not TYPE_CHECKING:
    __all__ = sorted((*_TOOLS, *_HOME_OF, *_measures()), key=lambda name: (name.islower(), name))

    def __dir__() -> list[str]:
        return [*__all__]

    def __getattr__(name: str) -> Any:
        if name not in _HOME_OF:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)
