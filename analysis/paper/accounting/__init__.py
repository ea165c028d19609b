"""Compute and parameters of the paper's full-size models, counted exactly on the meta device."""
