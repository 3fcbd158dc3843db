"""How much noise the weights tolerate, and the PAC-Bayes bounds that this gives.

The measures stand in `bounds` and, as their authors' code computes them, in `bounds_as_published`.
"""
