"""Rich plugins in the data path: hooks that plugin servers answer (tyk-plugins 3)."""
