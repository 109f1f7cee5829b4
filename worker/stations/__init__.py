"""Stations take values and return values; they know no queue, no store and no settings."""
