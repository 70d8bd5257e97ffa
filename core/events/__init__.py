"""Events: what happened at a request or in the administration, and who is told of it."""
