"""Figures of merit with their intervals."""
