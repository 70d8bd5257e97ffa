"""JavaScript middleware: reusable V8 contexts (not part of this version yet)."""
