"""What is shown: a dashboard a file."""
