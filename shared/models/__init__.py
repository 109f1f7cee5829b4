"""Models, their weights and how weights are fetched."""
