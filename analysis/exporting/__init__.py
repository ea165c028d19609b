"""A study for the paper that one writes: its table, its protocol in words, the references of its methods."""
