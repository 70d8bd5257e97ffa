"""Trying a script on a request: its steps on a data path of their own, with everything else as in a gateway."""

from __future__ import annotations

import asyncio
import copy
import logging
import time
from array import array
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, cast

from accel.http1 import Exchange, Gateway, KeyEntry, Plan, PyStep, Step, WaitStep
from accel.limits import clock_ms
from accel.router import Route, Router
from accel.shm import SharedCounters
from core.access.rewrite import Loops
from core.apidef.scripts import VirtualSpec
from core.apidef.specs import PlanSpec
from core.errors.pages import ErrorPages
from core.findings import Finding
from core.scripts.context import Returned, Script
from core.scripts.service import ScriptService
from core.scripts.steps import ScriptSteps
from core.scripts.trial_api import API, compile_case
from core.scripts.trial_case import Auth, Case, Line, Message, Outcome, TrialError
from core.scripts.trial_store import NotKept, TrialServices, admin_of, store_of
from core.scripts.trial_wire import Pipe, read_response
from core.sessions.model import new, output
from core.sessions.notifications import Signer
from core.worker_server import settings
from jsvm_pool.program import Program

if TYPE_CHECKING:
    from core.services import Services

MOST_LINES = 1000       # of the log that are kept
MARGIN = 30.0           # seconds that a call may take beyond jsvm_timeout
CLOSE_SECONDS = 0.5
_LOOP_STATUS = 204
_SHORT = "the request is not whole: its body is shorter than it says"


async def try_script(case: Case, config: Any, conf: str, calls: int) -> Outcome:
    """Play a case, several times; what is told is what came of the first time, and of the first that failed.

    config, conf: the configuration and its path, "" for none. Raises TrialError when the case cannot be played.
    """
    log = logging.getLogger("preforge")
    collector, level, propagates = Collector(), log.level, log.propagate
    log.addHandler(collector)
    log.setLevel(logging.DEBUG)
    log.propagate = False
    try:
        trial = Trial(case, config, conf, collector)
        try:
            return await trial.run(calls)
        finally:
            await trial.close()
    finally:
        log.removeHandler(collector)
        log.setLevel(level)
        log.propagate = propagates


class Collector(logging.Handler):
    """Keeps what is logged during a call, apart from what scripts could not do."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[Line] = []
        self.failures: list[str] = []
        self.left_out = 0

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.exc_info is not None and record.exc_info[1] is not None:
            text = f"{text}: {record.exc_info[1]!r}"
        if record.name == "preforge.scripts" and record.levelno >= logging.ERROR:
            self.failures.append(text)
        elif len(self.lines) >= MOST_LINES:
            self.left_out += 1
        else:
            raw = getattr(record, "raw", False)
            script = raw or getattr(record, "fields", {}).get("type") == "log-msg"
            self.lines.append(Line("raw" if raw else record.levelname.lower(), text, script))

    def clear(self) -> None:
        """Before another call."""
        self.lines, self.failures, self.left_out = [], [], 0


class Timed:
    """A Script that notes how long each call took, from the call to the result on the loop."""

    def __init__(self, script: Script, seconds: array[float]) -> None:
        self._script = script
        self._seconds = seconds

    def call(self, payload: bytes, done: Callable[[Returned], None], /) -> None:
        begun = time.perf_counter()

        def ended(returned: Returned) -> None:
            self._seconds.append(time.perf_counter() - begun)
            done(returned)

        self._script.call(payload, ended)


class Destinations(Loops):
    """Every tyk:// address leads to a plan that notes the request, and knows the name."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.name = ""
        self._plan = plan

    def find(self, name: str) -> tuple[Plan, bytes]:
        self.name = name
        return self._plan, b""


class Trial:
    """One case, on its own gateway."""

    def __init__(self, case: Case, config: Any, conf: str, collector: Collector) -> None:
        """Raises TrialError."""
        self._case = case
        self._collector = collector
        self._method = case.request[: case.request.index(b" ")].decode("latin-1")
        self._spec, findings = compile_case(case, config, conf)
        self._notes: list[Line] = []
        self._flaws: list[str] = []
        self._note(findings)
        if conf and not config.enable_jsvm:
            self._notes.append(Line("warning", f"enable_jsvm is off in {conf}: the gateway runs no scripts", script=False))
        self._store = store_of(config, conf)
        program = None if self._spec.scripts is None else self._spec.scripts.program
        texts = [] if program is None else [*(one.text for one in program.sources), *(one.text for one in program.modules)]
        counters = SharedCounters.create(1, 16)
        region = counters.region(0)
        self._scripts = ScriptService(admin_of(config, conf, self._store, texts), counters, region)
        keyspace = NotKept(self._store, config, Signer.from_config(config))
        parts = TrialServices.made(keyspace, config, conf, self._scripts)
        self._loops = Destinations(Plan(b"", steps=[PyStep(self._looped)]))
        # The hooks use nothing of it but what TrialServices has.
        steps = ScriptSteps(cast("Services", parts), self._make, self._loops)
        steps.configure(config)
        own = {**settings(config), "close_connections": True, "id_upstream": False, "id_response": False}
        loop = asyncio.get_running_loop()
        log = logging.Logger("preforge.trial", logging.CRITICAL)     # the plan leads nowhere, and that is not worth a line
        self._gateway = Gateway(loop, region, ErrorPages(config.template_path).render, log, None, own)
        self._seconds = array("d")
        self._outcome = Outcome()
        self._key: KeyEntry | None = None
        self._steps = self._own_steps(steps)
        self._response_steps = steps.hooks(self._spec, "response")

    def _make(self, spec: PlanSpec, program: Program, entry: int, mode: str, name: str, config: bytes) -> Script:
        return Timed(self._scripts.make(spec, program, entry, mode, name, config), self._seconds)

    def _own_steps(self, scripts: ScriptSteps) -> list[Step]:
        spec, kind = self._spec, self._case.hook
        if kind == "response":
            return [PyStep(self._respond, whole_body=True)]
        if kind == "virtual":
            data = cast(VirtualSpec, spec.endpoints[0].data)
            virtual = scripts.virtual_data(spec, spec.endpoints[0].path, data)
            return [] if virtual is None else [WaitStep(virtual.run, whole_body=True)]
        return scripts.auth(spec) if kind == "auth_check" else scripts.hooks(spec, kind)

    def _note(self, findings: Iterable[Finding]) -> None:
        """Keep what was noticed about the scripts: errors are failures, even if the call succeeds."""
        for finding in findings:
            if finding.severity == "error":
                self._flaws.append(finding.message)
            else:
                self._notes.append(Line(finding.severity, finding.message, script=False))

    async def run(self, calls: int) -> Outcome:
        """Play the case so many times, or until it fails. Raises TrialError."""
        await self._store.start()
        self._note(await self._scripts.prepare([self._spec]))
        given = None
        if self._case.response is not None:
            given = await self._play([])
            if given is None:
                raise TrialError("the response that is given cannot be sent to a client")
        first = None
        for number in range(1, calls + 1):
            self._collector.clear()
            self._outcome = Outcome()
            answer = await self._play(self._response_steps)
            if first is None:
                first = self._told(answer, given)
                first.logs = self._notes + first.logs
                first.failures = [*self._flaws]
            if self._collector.failures:
                first.failures += self._collector.failures
                first.failed_call = number
                break
        if first is None:
            raise TrialError("expected one call or more")
        return first

    async def close(self) -> None:
        self._gateway.abort()
        await self._scripts.close(CLOSE_SECONDS)
        await self._store.close()

    async def _play(self, response_steps: list[Step]) -> Message | None:
        """Send the request; returns the answer."""
        steps = [PyStep(self._begin, whole_body=True), *self._steps, PyStep(self._end)]
        plan = Plan(API.encode(), name=API.encode(), steps=steps, response_steps=response_steps)
        self._gateway.swap(Router([(None, Route(b"/", plan))]), ())
        pipe = Pipe(secure=self._case.secure)
        client = self._gateway.client()
        client.connection_made(pipe)
        try:
            client.data_received(self._case.request)
            if not client.eof_received() and not self._case.secure and not pipe.is_closing():
                raise TrialError(_SHORT)
            async with asyncio.timeout(self._scripts.timeout + MARGIN):
                await pipe.ended
        except TimeoutError:
            raise TrialError(_SHORT) from None
        finally:
            client.connection_lost(None)
        return read_response(bytes(pipe.written), self._method)

    def _told(self, answer: Message | None, given: Message | None) -> Outcome:
        """What came of one play."""
        outcome, collector = self._outcome, self._collector
        outcome.seconds = self._seconds
        outcome.logs, outcome.logs_left_out = collector.lines, collector.left_out
        if outcome.before is None:
            said = "it ends the connection" if answer is None else answer.start
            raise TrialError(f"the gateway refuses this request before any script runs: {said}")
        if self._case.hook == "response":
            outcome.before, outcome.after = given, answer
        elif outcome.after is None and not outcome.leads_to:
            outcome.answer = answer
        if self._key is not None and outcome.meta is not None:
            outcome.meta = outcome.meta[0], self._key.session["meta_data"]
        return outcome

    # -- steps ---------------------------------------------------------------------------

    def _begin(self, x: Exchange) -> None:
        outcome = self._outcome
        if outcome.before is not None:
            self._loops.name = "self"
            self._looped(x)
            return
        outcome.before = _request(x)
        kind = self._case.hook
        if kind in ("pre", "auth_check") or (kind == "response" and self._case.session is None):
            return
        session = copy.deepcopy(self._case.session) if self._case.session is not None else new()
        self._key = x.key = KeyEntry(b"", b"", session, clock_ms())
        outcome.meta = session["meta_data"], session["meta_data"]

    def _respond(self, x: Exchange) -> None:
        given = self._case.response
        if given is not None:
            x.respond(given.status, given.fields, given.body)

    def _end(self, x: Exchange) -> None:
        self._outcome.after = _request(x)
        if self._case.hook == "auth_check" and x.key is not None:
            session = output(x.key.session)
            self._outcome.auth = Auth(x.key.token.decode("utf-8", "replace"), session)

    def _looped(self, x: Exchange) -> None:
        query = b"?" + x.query if x.query else b""
        self._outcome.leads_to = f"tyk://{self._loops.name}{(x.path + query).decode('utf-8', 'replace')}"
        x.answer(_LOOP_STATUS)


def _request(x: Exchange) -> Message:
    target = x.path + b"?" + x.query if x.query else x.path
    fields = tuple((name.decode("latin-1"), value.decode("utf-8", "replace")) for name, value in x.req.items())
    return Message(f"{x.method.decode('latin-1')} {target.decode('utf-8', 'replace')}", fields, x.body or b"")
