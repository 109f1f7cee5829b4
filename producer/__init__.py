"""Create jobs from image keys, submit them and follow them. Needs no torch."""
