"""The marker, as ``pytest --markers`` shows it."""

MARKER = "fragility"
MARKER_HELP = (
    "fragility(measure, *, name=None, xfail=None, task=..., recipe=..., sizes=..., seeds=..., "
    "perturbations=..., checkpoints=..., ladder=..., checks=..., locate=False, trend='error', "
    "exponent_tolerance=0.1, spread_tolerance=0.1, error_margin=0.1, least_sensitivity=0.25, "
    "invariance_tolerance=0.02, budget=5000, measure_timeout=None, alpha=0.05, scale='log', "
    "fit=..., profile=..., device=..., cache_dir=..., table=..., manifest=..., family=...): "
    "audit a generalization measure for fragility, one test per check"
)
