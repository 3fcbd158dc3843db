"""Norms of weights and path norms."""
