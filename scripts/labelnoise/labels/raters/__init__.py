"""Learning from people who outlined the same objects how their outlines differ."""
