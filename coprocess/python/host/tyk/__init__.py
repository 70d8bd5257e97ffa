"""What plugins import as `tyk`, and its modules also by their bare names (tyk-plugins 5.1)."""
