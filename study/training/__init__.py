"""What a worker does: many runs of one method, trained at once over one frozen model."""
