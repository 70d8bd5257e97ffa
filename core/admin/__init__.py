"""The Gateway REST API: keys, policies, API definitions, organisations, reloads and health (tyk-core 4)."""
