"""The views: conversation and stream call models, the others never do."""
