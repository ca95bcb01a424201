"""Tables as text, the paper's numbers, figures."""
