"""Answers that the gateway gives itself: their texts, statuses and pages."""
