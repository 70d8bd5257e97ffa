"""tyk.conf: one table of options, and what is made from it (loader, lint, reference, example)."""

from core.config.load import Config, ConfigError, Loaded, load

__all__ = ["Config", "ConfigError", "Loaded", "load"]
