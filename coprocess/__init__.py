"""Rich plugins: dispatcher and drivers (not part of this version yet)."""
