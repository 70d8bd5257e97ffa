"""Answers of upstreams and virtual endpoints, kept in the store as Tyk keeps them (tyk-core 2.7)."""
