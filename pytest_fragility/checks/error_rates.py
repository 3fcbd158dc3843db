"""How often a verdict may be wrong, and how that chance is shared out: all of it stands here.

A *wrong certificate* is an audit that passes a measure which breaks a tolerance under an admissible
perturbation. An audit passes only if every check is kept, so that the check which should have
failed must err: its own chance, alpha, bounds that of the whole audit, however many perturbations
and checks there are (the intersection-union principle; Berger 1982). No correction is made, and
none is needed. Within that check there are ways to err, and their chances add up to alpha:

====================================================  =============  ===================
the check is kept, since ...                          interval       chance to err
====================================================  =============  ===================
the measure's change lies within the tolerance        1 - alpha      alpha / 2
its change beyond test error's does                   1 - alpha / 2  alpha / 4
the perturbation is called inadmissible: by slope     1 - alpha / 4  alpha / 8
... by level                                          1 - alpha / 4  alpha / 8
its ranks follow test error's                         1 - alpha / 2  alpha / 4
====================================================  =============  ===================

A *wrong conviction* is a check that is broken for a measure which is well inside the tolerances, or
under a perturbation that is not admissible. For each check its chance is at most alpha: both the
measure's change and its change beyond test error's must lie outside of the tolerance on the same
side (alpha / 2 for each side), or those over one part of a curve that is no power law (half of that
again, shared among the parts); and the perturbation must be admissible by slope and by level
(alpha / 2). Over many checks, perturbations or measures some innocent one is convicted more often
than that: an audit of k checks convicts, on average, at most k alpha wrongly. That is not corrected
for, since a person looks at each conviction, which quotes its interval; a smaller alpha makes all
of them rarer.

What is corrected for: searches over perturbations, whose findings count only if fresh seeds confirm
them, at levels that add up to alpha (`pytest_fragility.auditing.search`); looks at growing numbers
of seeds, each of which has its share of alpha; tasks of a ladder that are compared pair by pair;
and pairs of networks with the same function, all of which must agree.

Several measures are several audits: each certificate holds at alpha for itself.
"""

from __future__ import annotations

# levels of intervals are 1 - alpha times these
ACQUITTED_BY_ERROR = 1 / 2
INADMISSIBLE_BY_EITHER = 1 / 4
BROKEN_IN_A_PART = 1 / 2

# of a rank correlation: taus are skewed, so that the usual interval errs too often
RANKS_ARE_SKEWED = 1 / 2

# of a curve, of another one, and of their difference
SHAPES_LOOKED_AT = 3

# controls are judged at this level, all their checks together: an audit that ends for nothing
# should be rarer than once in a thousand
CONTROL_ALPHA = 0.001
