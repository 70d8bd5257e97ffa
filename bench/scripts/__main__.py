"""`make bench-js`: memory of contexts and scripts, growth over ten million calls, and what endless scripts do to other APIs.

The tables go to standard output as Markdown; the exit status is 1 if a bound is missed or a request failed that must not.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from bench.processes import StartError
from bench.scripts import growth, loops, memory
from bench.scripts.scene import Failed

PARTS = ("memory", "loops", "growth")


def measure(part: str, options: argparse.Namespace) -> tuple[str, dict[str, Any], list[str]]:
    """Run one part: its table, the same for JSON, and what is wrong. Raises Failed, StartError."""
    if part == "memory":
        held, problems = memory.run(options.seconds)
        return memory.table(held), memory.as_json(held), problems
    if part == "growth":
        grown, problems = growth.run(options.calls, options.most)
        return growth.table(grown), growth.as_json(grown), problems
    disturbed, problems = loops.run(options.seconds, options.workers)
    return loops.table(disturbed), loops.as_json(disturbed), problems


def main(arguments: list[str] | None = None) -> int:
    """Measure, print the tables; 1 if something is not as it has to be."""
    parser = argparse.ArgumentParser(prog="python -m bench.scripts", description=__doc__)
    parser.add_argument("--part", choices=(*PARTS, "all"), default="all", help="(default all)")
    parser.add_argument("--calls", type=int, default=10_000_000, help="of scripts, for growth (default 10 million)")
    parser.add_argument("--most", type=float, default=3600.0, help="seconds that growth may take (default 3600)")
    parser.add_argument("--seconds", type=float, default=15.0, help="of each phase of loops; of load for memory (default 15)")
    parser.add_argument("--workers", type=int, default=1, help="of loops; 1 has one CPU to itself (default 1)")
    parser.add_argument("--json", metavar="FILE", help="write the figures there too")
    options = parser.parse_args(arguments)
    wrong: list[str] = []
    figures: dict[str, Any] = {}
    for part in PARTS if options.part == "all" else (options.part,):
        try:
            table, figures[part], problems = measure(part, options)
        except (Failed, StartError, OSError, subprocess.SubprocessError) as error:
            wrong.append(f"{part}: {error}")
            continue
        print(f"\n{table}", flush=True)
        wrong += [f"{part}: {problem}" for problem in problems]
    if options.json:
        Path(options.json).write_text(json.dumps({**figures, "wrong": wrong}, indent=1))
    for problem in wrong:
        print(f"FAILED: {problem}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
