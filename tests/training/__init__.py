"""The batched trainer."""
