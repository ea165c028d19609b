"""Figures that only the paper's report has, each of a sweep of its own. They save PNG, PDF and CSV."""
