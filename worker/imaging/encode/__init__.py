"""Encode pixels as image files."""
