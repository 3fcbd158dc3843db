"""Families: networks trained here or elsewhere, and values in a table.

All are `Observed`: a family says what it offers, and knows no measures and no kinds of checks.
Begin with `observations` and `trained_family`; tables and manifests are read whole before anything
is judged, and all that is wrong with one is said together.
"""
