"""Models and data from local paths or the hub, refused where they are not whole."""
