"""The hook of the benchmark as plugins: hooks/pre.js once for each way in which a plugin can be reached."""
