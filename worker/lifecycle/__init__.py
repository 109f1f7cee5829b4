"""How a worker process leaves, and how its threads start."""
