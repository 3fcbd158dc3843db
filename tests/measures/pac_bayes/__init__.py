"""PAC-Bayes bounds."""
