"""Requests whose clients leave before the end: where they are then, and what remains of them."""
