"""The store of trained runs."""
