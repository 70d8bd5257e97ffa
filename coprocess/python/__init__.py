"""Plugins written for Tyk's embedded Python, run in supervised host processes."""

from coprocess.python.driver import PythonDriver
from coprocess.python.settings import PythonServices, PythonSettings

__all__ = ["PythonDriver", "PythonServices", "PythonSettings"]
