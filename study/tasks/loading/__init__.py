"""Models and data from local paths or the hub, refused with a reason where they are incomplete."""
