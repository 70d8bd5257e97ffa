"""What the gateway tells about itself: metrics, logs and the access log."""
