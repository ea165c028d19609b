"""Slurm as a launcher sees it: its queue, batches of array tasks, their submission."""
