"""The report of a job: one self-contained page with totals, figures and a list of the images."""
