"""Small texts, and models and benchmarks for them."""
