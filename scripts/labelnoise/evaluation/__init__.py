"""How good trained networks are: counts, scores and tables."""
