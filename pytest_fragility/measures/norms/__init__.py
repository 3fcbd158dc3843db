"""Norms of weights, and sums over the paths of a network.

Norms that differ in the layer's norm or in how layers are put together are rows of one table, in
`weight_norms`.
"""
