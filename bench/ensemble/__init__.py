"""What ensembles cost and what they gain."""
