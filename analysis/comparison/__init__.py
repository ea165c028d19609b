"""A new method against a baseline: numbers, and sentences made of them."""
