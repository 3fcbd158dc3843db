"""How likely a random network fits the labels."""
