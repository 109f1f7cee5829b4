"""Preprocessing and postprocessing around the network."""
