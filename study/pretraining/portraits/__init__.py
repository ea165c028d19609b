"""Pretrains what the pixel portraits need: the base model and its judges. See `__main__`."""
