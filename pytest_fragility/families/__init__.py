"""Networks that were trained elsewhere, and values that were measured elsewhere.

Two kinds of files are read. A *table* holds values that are measured already: one row per network
with its recipe, n, seed and test error, and a column for each measure. A *manifest* lists
checkpoints, one row per network, on which measures are then asked. Both are read whole before
anything is judged, and all that is wrong with one is said together.
"""
