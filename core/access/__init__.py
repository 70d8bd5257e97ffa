"""Who may call and how often: what the data path's key, rate and quota steps ask of the rest of the gateway."""
