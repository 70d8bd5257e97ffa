"""Scripts of APIs: what they can ask the gateway for."""
