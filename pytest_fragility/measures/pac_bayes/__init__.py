"""How much noise the weights tolerate."""
