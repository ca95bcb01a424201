"""What trained networks are worth: counts, scores and tables."""
