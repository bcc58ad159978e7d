"""How far a predicted mask can be trusted, and which slices to check."""
