"""Command line, configuration, API definitions, plans, processes: everything that composes the gateway."""
