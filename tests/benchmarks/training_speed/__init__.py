"""What the benchmark of training speed is made of."""
