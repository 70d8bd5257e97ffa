"""`make faults`, second part: plugins killed under load, and how long it takes until requests pass again.

A closed loop with a token of its own in each request runs against one gateway while its plugin is killed (kill -9), stays away,
and is started again, several times. The upstream answers with what the plugin has put into the request, which has to be the
token: a request that passed unasked, or with what was said about another one, is a failure. So is any answer but 200 and the
refusal, a refusal while the plugin is there, and more than 2 seconds until all requests pass again.

The time counts from the moment a server listens; for children, which the gateway starts again itself, from the kill. Children
belong to a worker: there the gateway has one, so that no other hides the time in which nothing passed.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from bench import gateway
from bench.load.engine import Engine
from bench.plugins.setups import Absent
from bench.plugins.victims import VICTIMS, Victim
from bench.processes import Child, StartError, free_port
from bench.upstream.server import Server

HEAL = 2.0
QUIET = 1.0
"""Seconds without a refusal after which all requests pass."""
LONGEST = 15.0
"""Seconds after which that is given up."""
STEP = 0.002
TOKEN = b"0" * 16
ECHOED = 2 * len(TOKEN)
UNASKED = ("wrong body length", "wrong token")
"""Failures of the engine: the plugin's mark is missing, or it is that of another request."""


@dataclass(slots=True)
class Figures:
    """Of one plugin. phases: name -> answers by status; first, whole: seconds of each round until a request passed, and until
    all did; failed: failures by kind; unanswered: requests that the upstream got and that nobody was told of."""

    title: str
    refused: int
    phases: dict[str, Counter[int]] = field(default_factory=dict)
    first: list[float] = field(default_factory=list)
    whole: list[float] = field(default_factory=list)
    failed: dict[str, int] = field(default_factory=dict)
    unanswered: int = 0

    @property
    def unasked(self) -> int:
        """Requests that passed without the plugin, or with what it said about another one."""
        return sum(self.failed.get(kind, 0) for kind in UNASKED)


class Scene:
    """One gateway with one plugin, and the loop."""

    def __init__(self, victim: Victim, folder: Path, workers: int, connections: int) -> None:
        self.victim = victim
        self.figures = Figures(victim.title, victim.refused)
        self._connections = connections
        self._polls = 0
        self._upstream = Server(echo=True)
        threading.Thread(target=self._upstream.serve, daemon=True).start()
        self._port = free_port()
        conf = gateway.write(
            folder, "gateway", self._port, f"http://127.0.0.1:{self._upstream.port}/", 1 if victim.supervised else workers,
            api=victim.api, options=victim.options,
        )  # fmt: skip
        victim.start()
        self._gateway = Child("preforge", gateway.command(conf), folder)
        self._gateway.wait_port(self._port)
        head = b"GET /api/"
        text = head + TOKEN + f" HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\n\r\n".encode()
        self._engine = Engine("127.0.0.1", self._port, [(text, (len(head),), ECHOED)], connections, others=(victim.refused,))
        self._thread = threading.Thread(target=self._engine.run, args=(86400.0,), daemon=True)

    def run(self, rounds: int, there: float, away: float) -> Figures:
        """Kill it so many times. there, away: seconds."""
        self._wait()
        self._thread.start()
        self._phase("there", there)
        for _ in range(rounds):
            before = self._statuses()
            self.victim.kill(self._gateway.pid)
            began = time.monotonic()
            if not self.victim.supervised:
                time.sleep(away)
                before = self._note("away", before)
                self.victim.start()
                began = time.monotonic()
            self._heal(began, before)
            self._phase("there again", there)
        self._stop()
        return self.figures

    def _wait(self) -> None:
        """Until a request passes; what is asked before the workers know their plugin is no part of the figures."""
        url, deadline = f"http://127.0.0.1:{self._port}/api/poll", time.monotonic() + 30
        while True:
            with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5) as answer:
                self._polls += 1
                if answer.read() != b"pollpoll":
                    raise StartError("the hook does not mark requests")
                if self._polls == 20:       # every worker has been asked, most likely
                    return
            if time.monotonic() > deadline:
                raise StartError("the hook does not run")
            time.sleep(0.02)

    def _statuses(self) -> Counter[int]:
        return Counter(self._engine.counters()["statuses"])

    def _note(self, phase: str, before: Counter[int]) -> Counter[int]:
        now = self._statuses()
        self.figures.phases.setdefault(phase, Counter()).update(now - before)
        return now

    def _phase(self, name: str, seconds: float) -> None:
        before = self._statuses()
        time.sleep(seconds)
        self._note(name, before)

    def _heal(self, began: float, before: Counter[int]) -> None:
        """Watch until no request has been refused for a while, and others pass.

        What has passed when a child was killed may still be counted afterwards; there the first request that passed is the one
        behind the longest time in which none did.
        """
        seen, refused, passed, last, longest = before, 0.0, 0.0, 0.0, 0.0
        while (now := time.monotonic() - began) < LONGEST and (now < max(refused, passed) + QUIET or now - last > longest):
            found = self._statuses()
            if found[self.victim.refused] > seen[self.victim.refused]:
                refused = now
            if found[200] > seen[200]:
                if not passed or (self.victim.supervised and now - last > longest):
                    passed = now
                last, longest = now, max(longest, now - last)
            seen = found
            time.sleep(STEP)
        self.figures.first.append(passed or LONGEST)
        self.figures.whole.append(max(refused, passed) if passed else LONGEST)
        self._note("healing", before)

    def _stop(self) -> None:
        self._engine.stop()
        self._thread.join(30)
        counters = self._engine.counters()
        self.figures.failed = {kind: number for kind, number in counters["failures"].items() if number}
        answered = counters["statuses"].get(200, 0) + self._polls + self._connections
        self.figures.unanswered = max(0, self._upstream.served - answered)

    def end(self) -> None:
        """Leave nothing behind."""
        self._engine.stop()
        self._gateway.end()
        self.victim.end()
        self._upstream.stop()


def judge(figures: Figures, heal: float = HEAL) -> list[str]:
    """What went wrong."""
    problems = []
    if figures.unasked:
        problems.append(f"{figures.unasked} requests passed unasked")
    if figures.unanswered:
        problems.append(f"the upstream got {figures.unanswered} requests that were not answered with 200")
    others = {kind: number for kind, number in figures.failed.items() if kind not in UNASKED}
    if others:
        problems.append(f"failures: {others}")
    for name in ("there", "there again"):
        if set(figures.phases[name]) != {200}:
            problems.append(f"while the plugin was {name}: {dict(figures.phases[name])}")
    if "away" in figures.phases and not figures.phases["away"][figures.refused]:
        problems.append("no request was refused while the plugin was away")
    if max(figures.whole) > heal:
        problems.append(f"it took {max(figures.whole):.2f} s until all requests passed again; {heal:g} s are allowed")
    return [f"{figures.title}: {problem}" for problem in problems]


def report(found: list[Figures]) -> None:
    """Both tables."""
    print(f"{'plugin':<26}{'phase':<14}answers")
    for one in found:
        for name, answers in one.phases.items():
            said = ", ".join(f"{status}: {number}" for status, number in sorted(answers.items())) or "none"
            print(f"{one.title:<26}{name:<14}{said}")
    print(f"\n{'seconds, median (worst)':<26}{'rounds':<8}{'first passed':<18}{'all pass':<18}passed unasked")
    for one in found:
        first, whole = (f"{statistics.median(times):.2f} ({max(times):.2f})" for times in (one.first, one.whole))
        print(f"{one.title:<26}{len(one.whole):<8}{first:<18}{whole:<18}{one.unasked}")


def main(arguments: list[str] | None = None) -> int:
    """Kill plugins, print what clients saw; 1 if it was not as it has to be."""
    parser = argparse.ArgumentParser(prog="python -m bench.plugin_faults", description=__doc__)
    parser.add_argument("--plugins", default=",".join(VICTIMS), help=f"of {', '.join(VICTIMS)} (default all)")
    parser.add_argument("--rounds", type=int, default=5, help="how often each one is killed (default 5)")
    parser.add_argument("--there", type=float, default=1.5, help="seconds before the next kill (default 1.5)")
    parser.add_argument("--away", type=float, default=4.0, help="seconds until a server is started again (default 4)")
    parser.add_argument("--heal", type=float, default=HEAL, help="seconds allowed until all requests pass (default 2)")
    parser.add_argument("--workers", type=int, default=2, help="that share a server (default 2)")
    parser.add_argument("--connections", type=int, default=16, help="(default 16)")
    options = parser.parse_args(arguments)
    unknown = set(options.plugins.split(",")) - set(VICTIMS)
    if unknown or options.rounds < 1:
        parser.error(f"--plugins: there is no {', '.join(sorted(unknown))}" if unknown else "--rounds: at least 1")
    found = []
    for name in options.plugins.split(","):
        with tempfile.TemporaryDirectory(prefix="preforge-faults-") as folder:
            try:
                victim = VICTIMS[name](Path(folder))
            except Absent as absent:
                print(f"{name}: not measured: {absent}")
                continue
            scene = Scene(victim, Path(folder), options.workers, options.connections)
            try:
                found.append(scene.run(options.rounds, options.there, options.away))
            finally:
                scene.end()
    report(found)
    problems = [problem for one in found for problem in judge(one, options.heal)]
    for problem in problems:
        print(f"FAILED: {problem}")
    if not problems:
        print("ok: nothing passed unasked, all failures were refusals, and the gateway healed by itself")
    return 1 if problems or not found else 0


if __name__ == "__main__":
    sys.exit(main())
