"""Label errors: kinds, their calibration, and their measurement."""
