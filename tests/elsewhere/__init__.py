"""Networks that were trained elsewhere, and values that were measured elsewhere."""
