"""A soak: what clients do, what is done to the system meanwhile, and what is seen of it."""
