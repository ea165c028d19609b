"""What the commands share: how they end, and what they show on the way."""
