"""The batched trainer: many small networks in one stack."""
