"""Pixels: decode, compose, judge, encode. No network, no settings, no torch."""
