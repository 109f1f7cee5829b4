"""Documents of a job and its items."""
