"""Text, files, seeds, code as a digest."""
