"""Create a job from image keys."""
