# ruff: noqa: PTH100, PTH118, PTH120 - pathlib would make each start longer
"""Start of a host process: `<interpreter> -u <this file>`."""

from __future__ import annotations

import os
import sys
from types import ModuleType


def _reach_ourselves() -> None:
    """Make `coprocess.python.host` importable without putting the gateway's packages on the plugin's path."""
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry) != here]
    for depth, name in ((2, "coprocess"), (1, "coprocess.python")):
        package = ModuleType(name)
        package.__path__ = [os.path.normpath(os.path.join(here, *[os.pardir] * depth))]
        sys.modules[name] = package


if __name__ == "__main__":
    if sys.version_info < (3, 8):  # noqa: UP036  (any interpreter may have been chosen)
        sys.exit(f"{sys.executable}: Python 3.8 or later is needed, this is {sys.version.split()[0]}")
    _reach_ourselves()
    from coprocess.python.host.serve import main

    main()
