"""Per-byte, per-header and per-frame work, compiled with Cython. Imports nothing of the other packages."""
