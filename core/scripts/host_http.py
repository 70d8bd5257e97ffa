"""HTTP requests of scripts: TykMakeHttpRequest and TykBatchRequest (tyk-jsvm 6.1, 6.2), and TykFetch, which is ours."""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import logging
import os
import ssl
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from accel.headers import canonical
from core.apidef.specs import TransportSpec
from core.config.gojson import Anything, Bool, ListOf, MapOf, Num, Obj, Str
from core.outbound.gate import Gate
from core.outbound.messages import Answer, Header, OutboundError, Outgoing, check_headers, check_method
from core.outbound.networks import Network
from core.outbound.proxies import Proxies
from core.outbound.urls import Url, UrlError, parse
from core.scripts.host_text import body_of, dumps, loads, readable, to_text
from core.scripts.host_types import Caller, HostError, HostFailure
from core.tls import TlsError, client_context

if TYPE_CHECKING:
    from core.outbound.client import Client

log = logging.getLogger("preforge.jsvm")

OPTION = "preforge.jsvm.blocked_networks"
USER_AGENT = "Go-http-client/1.1"
MOST_SECONDS = 600.0        # of one request where neither the settings nor the script's time end it
_NAMES = MapOf(Str())
REQUEST = Obj(
    {
        "Method": Str(),
        "Body": Anything(),
        "Headers": _NAMES,
        "Domain": Str(),
        "Resource": Str(),
        "FormData": _NAMES,
        "Timeout": Num(),
    }
)
_PART = Obj({"method": Str(), "headers": _NAMES, "body": Anything(), "relative_url": Str()})
BATCH = Obj({"requests": ListOf(_PART), "suppress_parallel_execution": Bool()})
FETCH = Obj(
    {
        "url": Str(),
        "method": Str(),
        "headers": MapOf(Anything()),
        "body": Anything(),
        "timeout": Num(),
        "redirect": Str(),
        "base64": Bool(),
    }
)
_FAILED = {"relative_url": "", "code": 0, "headers": None, "body": ""}
# What Go's client takes from elsewhere.
_IGNORED = frozenset(("host",))


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """timeout: seconds of one request, 0 for as long as its script may run; most_bytes: of an answer, and of all answers
    of a batch; most_requests: at a time; verbatim: header names stay as scripts write them; tls: where no API says it."""

    timeout: float
    most_bytes: int
    most_requests: int
    blocked: tuple[Network, ...]
    verbatim: bool
    tls: TransportSpec

    @classmethod
    def from_config(cls, config: Any) -> HttpSettings:
        ours = config.preforge.jsvm
        return cls(
            timeout=max(0.0, float(ours.http_timeout)),
            most_bytes=max(0, ours.max_response_bytes),
            most_requests=max(1, ours.max_requests),
            blocked=tuple(ipaddress.ip_network(text, strict=False) for text in ours.blocked_networks),
            verbatim=config.ignore_canonical_mime_header_key,
            tls=TransportSpec(
                config.proxy_ssl_insecure_skip_verify,
                config.proxy_ssl_min_version,
                config.proxy_ssl_max_version,
                tuple(config.proxy_ssl_ciphers),
                "",
            ),
        )


@dataclass(slots=True)
class _Budget:
    """Bytes that the answers of one call may still have."""

    left: int


class ScriptHttp:
    """One per worker, on its loop. Raises HostFailure and HostError, as its functions fail."""

    def __init__(self, settings: HttpSettings, environ: Mapping[str, str] | None = None) -> None:
        self.counts: Counter[str] = Counter()
        self.gate = Gate(settings.most_requests)
        self._settings = settings
        self._proxies = Proxies(os.environ if environ is None else environ)
        self._clients: dict[bool, Client] = {}      # by whether they use proxies
        self._contexts: dict[TransportSpec, ssl.SSLContext] = {}

    @property
    def blocked(self) -> int:
        """Connections to blocked networks that were not made."""
        return sum(client.blocked for client in self._clients.values())

    def configure(self, settings: HttpSettings) -> None:
        """Other bounds and rules from now on."""
        news = settings.blocked != self._settings.blocked
        self._settings = settings
        self._contexts.clear()
        self.gate.configure(settings.most_requests)
        for proxied, client in self._clients.items():
            client.configure(self._client_settings(proxied))
        if news and True in self._clients:
            self._tell_of_proxies()

    def _tell_of_proxies(self) -> None:
        if self._settings.blocked:
            log.warning(
                "requests of scripts go through the proxies of the environment: %s stops addresses only there, names are"
                " looked up by the proxy", OPTION
            )  # fmt: skip

    async def make_request(self, text: str, caller: Caller) -> str | None:
        """TykMakeHttpRequest."""
        if text == "undefined":
            return None
        try:
            given = loads(text, REQUEST, "request")
            body = body_of(given["Body"], "$.Body")
        except ValueError as error:
            raise HostFailure(f"JSVM: Failed to deserialise HTTP Request object: {error}") from None
        if not body and given["FormData"]:
            body = urlencode(sorted(given["FormData"].items())).encode()
        try:
            url = parse(given["Domain"] + given["Resource"], whole=True)
            request = self._outgoing(given["Method"], url, given["Headers"], body)
            answer = await self._send(request, caller, given["Timeout"], _Budget(self._settings.most_bytes))
        except (OutboundError, UrlError) as error:
            raise HostFailure(f"Request failed: {error}") from None
        code, content, headers = answer.status, readable(to_text(answer.body)), self._headers(answer)
        found = {"Code": code, "Body": content, "Headers": headers, "code": code, "body": content, "headers": headers}
        return dumps(found)

    async def batch(self, text: str, caller: Caller) -> str | None:
        """TykBatchRequest. Answers in the order in which they arrive, or in that of the requests, one after the other."""
        try:
            given = loads(text, BATCH, "batch")
            requests = [(part["relative_url"], self._part(part)) for part in given["requests"]]
        except (ValueError, OutboundError) as error:
            raise HostFailure(f"Batch request error: {error}") from None
        budget = _Budget(self._settings.most_bytes)
        found: list[dict[str, Any]] = []
        left = iter(requests)

        async def work() -> None:
            for url, request in left:
                found.append(await self._unit(url, request, caller, budget))

        hands = 1 if given["suppress_parallel_execution"] else min(len(requests), self._settings.most_requests)
        if hands == 1:
            await work()
        else:
            async with asyncio.TaskGroup() as group:
                for _ in range(hands):
                    group.create_task(work())
        return dumps(found)

    def _part(self, part: dict[str, Any]) -> Outgoing | UrlError:
        """One request of a batch. An address that leads nowhere fails alone, as with Go; what is no request at all fails
        the batch: raises ValueError, OutboundError."""
        body = body_of(part["body"], "$.requests[].body")
        check_method(part["method"] or "GET")
        try:
            url = parse(part["relative_url"])
        except UrlError as error:
            return error
        return self._outgoing(part["method"], url, part["headers"], body)

    async def _unit(self, url: str, request: Outgoing | UrlError, caller: Caller, budget: _Budget) -> dict[str, Any]:
        try:
            if isinstance(request, UrlError):
                raise OutboundError(str(request))
            answer = await self._send(request, caller, 0.0, budget, batch=True)
        except OutboundError as error:
            log.error("Batch request failed: %s", error, extra={"fields": {"api_id": caller.api_id}})
            return _FAILED
        return {
            "relative_url": url,
            "code": answer.status,
            "headers": self._headers(answer),
            "body": readable(to_text(answer.body)),
        }

    async def fetch(self, text: str, caller: Caller) -> str:
        """TykFetch. Names of the answer's headers are in lower case. Raises HostError."""
        try:
            given = loads(text, FETCH, "request")
            body = body_of(given["body"], "$.body")
            headers = _listed(given["headers"])
            redirect = given["redirect"] or "follow"
            if redirect not in ("follow", "manual", "error"):
                raise ValueError('$.redirect: expected "follow", "manual" or "error"')
            request = self._outgoing(given["method"].upper(), parse(given["url"]), dict(headers), body, more=headers)
            answer = await self._send(
                request, caller, given["timeout"], _Budget(self._settings.most_bytes), follow=redirect == "follow"
            )
        except (OutboundError, ValueError) as error:
            raise HostError(f"TykFetch: {error}") from None
        if redirect == "error" and 300 <= answer.status < 400:
            raise HostError(f"TykFetch: the answer {answer.status} redirects")
        grouped: dict[str, list[str]] = {}
        for name, value in answer.headers:
            grouped.setdefault(name.lower(), []).append(value)
        found = {"status": answer.status, "headers": grouped, "url": answer.url}
        if given["base64"]:
            return dumps({**found, "body": base64.b64encode(answer.body).decode(), "base64": True})
        return dumps({**found, "body": to_text(answer.body)})

    def _outgoing(
        self, method: str, url: Url, headers: Mapping[str, str], body: bytes, *, more: list[Header] | None = None
    ) -> Outgoing:
        """more: headers with several values, in place of `headers`. Raises OutboundError."""
        named = [(self._name(name), value) for name, value in (headers.items() if more is None else more)]
        fields = [header for header in check_headers(tuple(named)) if header[0].lower() not in _IGNORED]
        agent = next((value for name, value in fields if name.lower() == "user-agent"), USER_AGENT)
        fields = [header for header in fields if header[0].lower() != "user-agent"]
        if agent:
            fields.insert(0, ("User-Agent", agent))
        return Outgoing(check_method(method or "GET"), url, tuple(fields), body)

    def _name(self, name: str) -> str:
        if self._settings.verbatim or not name.isascii():
            return name
        return canonical(name.encode()).decode()

    def _headers(self, answer: Answer) -> dict[str, list[str]]:
        """By canonical name, sorted, as Go shows them."""
        found: dict[str, list[str]] = {}
        for name, value in answer.headers:
            if name.lower() != "transfer-encoding":
                key = canonical(name.encode("utf-8", "surrogateescape")).decode("utf-8", "replace")
                found.setdefault(key, []).append(readable(value))
        return dict(sorted(found.items()))

    async def _send(
        self, request: Outgoing, caller: Caller, seconds: float, budget: _Budget, *, follow: bool = True,
        batch: bool = False,
    ) -> Answer:  # fmt: skip
        """seconds: that the script allows, 0 for what the settings say. Raises OutboundError."""
        self.counts["requests"] += 1
        try:
            if seconds < 0:
                raise OutboundError("the timeout is negative")
            answer = await self._timed(request, caller, seconds or self._settings.timeout or MOST_SECONDS, budget,
                                       follow, batch)  # fmt: skip
        except OutboundError as error:
            self.counts[error.reason] += 1
            raise
        except asyncio.CancelledError:
            self.counts["cancelled"] += 1
            raise
        budget.left -= len(answer.body)
        return answer

    async def _timed(
        self, request: Outgoing, caller: Caller, seconds: float, budget: _Budget, follow: bool, batch: bool
    ) -> Answer:
        from core.outbound.client import Manner  # noqa: PLC0415  # see there

        seconds = min(seconds, caller.deadline - asyncio.get_running_loop().time(), MOST_SECONDS)
        try:
            async with asyncio.timeout(max(0.0, seconds)), self.gate.place(patient=batch):
                tls = self._settings.tls if batch or caller.tls is None else caller.tls
                manner = Manner(max(0, budget.left), follow=follow, inflate=True, tls=lambda: self._context(tls))
                answer = await self._client(proxied=not batch).send(request, manner)
        except TimeoutError:
            raise OutboundError(f"no answer within {max(0.0, seconds):.3g} s", "timeout") from None
        if len(answer.body) > budget.left:
            raise OutboundError(f"the answers have more than {self._settings.most_bytes} bytes", "large")
        return answer

    def _context(self, spec: TransportSpec) -> ssl.SSLContext:
        found = self._contexts.get(spec)
        if found is None:
            try:
                found = self._contexts[spec] = client_context(spec)
            except (TlsError, ssl.SSLError, ValueError) as error:
                raise OutboundError(f"TLS: {error}") from None
        return found

    def _client(self, *, proxied: bool) -> Client:
        from core.outbound.client import Client  # noqa: PLC0415  # see there

        proxied = proxied and bool(self._proxies)
        found = self._clients.get(proxied)
        if found is None:
            found = self._clients[proxied] = Client(self._client_settings(proxied))
            if proxied:
                self._tell_of_proxies()
        return found

    def _client_settings(self, proxied: bool) -> Any:
        from core.outbound.client import ClientSettings  # noqa: PLC0415  # see there

        return ClientSettings(self._settings.blocked, OPTION, self._proxies if proxied else None)

    async def close(self) -> None:
        await asyncio.gather(*(client.close() for client in self._clients.values()))


def _listed(headers: dict[str, Any]) -> list[Header]:
    """Headers with one value or a list of them. Raises ValueError."""
    found: list[Header] = []
    for name, value in headers.items():
        for one in value if isinstance(value, list) else [value]:
            if not isinstance(one, str):
                raise ValueError(f"$.headers[{name!r}]: expected a string or an array of strings")
            found.append((name, readable(one)))
    return found
