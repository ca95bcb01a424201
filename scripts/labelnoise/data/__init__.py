"""Source data in, dataset files out."""
