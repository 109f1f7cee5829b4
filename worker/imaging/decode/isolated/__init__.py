"""Decode images in isolated child processes."""
