"""Model registry, weights cache and downloads."""
