"""What task `glue` is made of: its subsets, their rows from files or the hub, and their metrics."""
