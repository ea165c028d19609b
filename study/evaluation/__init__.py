"""Benchmarks of the language models that runs leave."""
