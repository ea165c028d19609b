"""Where jobs run: worker processes on this machine, or array tasks on a Slurm cluster."""
