"""This machine as a launcher sees it: its cores and GPUs, and worker processes."""
