"""Numerics that several groups of measures share: outputs, batches of a stack, folded layers.

What only one group needs stands in that group.
"""
