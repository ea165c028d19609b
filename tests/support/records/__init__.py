"""Records, comparisons and profiles that no run has left."""
