"""Image processing: decode, compose, measure, encode. No network, settings or torch."""
