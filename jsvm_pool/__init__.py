"""JavaScript middleware on reusable V8 contexts."""
