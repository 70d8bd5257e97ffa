"""JavaScript middleware in the request chain: what scripts are given, and what becomes of what they return."""
