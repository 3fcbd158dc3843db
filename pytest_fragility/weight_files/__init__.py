"""Weights of networks, read from files that others wrote."""
