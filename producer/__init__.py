"""Finds image keys, makes jobs of them, sends and watches them. Runs without torch."""
