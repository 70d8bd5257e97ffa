"""Requests that the gateway makes of its own: for web hooks and for scripts."""
