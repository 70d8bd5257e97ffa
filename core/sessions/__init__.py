"""Keys and what they stand for: sessions, policies, tokens, and how they lie in the store."""
