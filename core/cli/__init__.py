"""The command line: preforge start | stop | reload | upgrade | status | lint | bundle | version."""

from core.cli.main import main

__all__ = ["main"]
