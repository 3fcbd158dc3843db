"""Norms of weights and sums over paths."""
