"""Classic API definitions: reading app_path, checking every file, compiling plans.

``read_directory`` keeps the last good state of every file in a Snapshot, ``plan_specs`` turns a snapshot
into immutable PlanSpecs, ``lint`` reports everything that is wrong or surprising in a directory.
"""

from core.apidef.compile import plan_specs
from core.apidef.lint import lint
from core.apidef.options import CompileOptions, ReadOptions, compile_options, from_config
from core.apidef.read import ReadResult, read_directory
from core.apidef.snapshot import Delta, Entry, Snapshot

__all__ = [
    "CompileOptions",
    "Delta",
    "Entry",
    "ReadOptions",
    "ReadResult",
    "Snapshot",
    "compile_options",
    "from_config",
    "lint",
    "plan_specs",
    "read_directory",
]
