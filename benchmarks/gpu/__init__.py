"""Checks and measurements of a GPU: `make gpu`; docs/performance.md says how to read them."""
