"""A study's folder: plans it, has what is missing done, collects, keeps it in order."""
