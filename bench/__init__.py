"""Benchmarks, load generator, soak test and the tour that `make run` gives."""
