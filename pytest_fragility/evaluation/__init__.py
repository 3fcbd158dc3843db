"""Asking measures about networks."""
