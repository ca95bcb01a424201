"""From a dataset and its labels to a trained network."""
