"""Master, workers, and what they tell each other (design: one master without loop or threads, N uvloop workers)."""
