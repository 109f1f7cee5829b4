"""Read, verify and repair the results of a job."""
