"""Learning curves and their statistics."""
