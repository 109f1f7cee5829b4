"""From pixels to the bytes of a file."""
