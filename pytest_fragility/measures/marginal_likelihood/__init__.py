"""How likely a random network fits the labels: PAC-Bayes bounds on marginal likelihoods.

The measures stand in `function_bounds`; the other files work out kernels and their evidence.
"""
