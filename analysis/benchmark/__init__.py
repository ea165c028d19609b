"""The former name of the package `benchmarks`."""
