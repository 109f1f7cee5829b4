"""From image keys to a job."""
