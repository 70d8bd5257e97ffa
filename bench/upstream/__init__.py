"""The upstreams that the benchmarks put behind a proxy."""
