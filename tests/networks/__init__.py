"""Networks: building, initial weights, stacks."""
