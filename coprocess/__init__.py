"""Rich plugins: bundles; dispatcher and drivers are not part of this version yet."""
