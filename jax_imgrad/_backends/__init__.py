"""Ways to compute, one a file; each defines what `_types.Backend` names."""
