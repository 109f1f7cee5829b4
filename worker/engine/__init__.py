"""Items through stages."""
