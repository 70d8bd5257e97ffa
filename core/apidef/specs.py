"""What one definition becomes: immutable, pure data from which the worker builds its plan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from core.apidef.addresses import AddressLists
    from core.apidef.caching import CacheSpec
    from core.apidef.edits import HeaderChange
    from core.apidef.endpoints import EndpointSpec
    from core.apidef.event_scripts import EventScriptSpec
    from core.apidef.extractors import CustomAuthSpec
    from core.apidef.plugins import PluginSpec
    from core.apidef.recording import RecordingSpec
    from core.apidef.scripts import ScriptSpec
    from core.apidef.versions import Selector

RefuseKind = Literal["status", "text", "unsupported"]


@dataclass(frozen=True, slots=True)
class RouteSpec:
    """How requests find the API (tyk-core 3.2).

    ``pattern`` is a regex source over the start of the path, given when the listen path has variables;
    ``literal_prefix`` is then the text before the first one. The longest ``sort_length`` wins.
    """

    literal_prefix: str
    pattern: str | None
    sort_length: int
    strict: bool


@dataclass(frozen=True, slots=True)
class TargetSpec:
    """One upstream: ``scheme`` is http or https, ``host`` lower case without brackets, path as configured."""

    scheme: str
    host: str
    port: int
    path: str
    query: str


@dataclass(frozen=True, slots=True)
class TransportSpec:
    """TLS towards the upstream; versions as Go numbers them (771 is TLS 1.2), 0 is the default."""

    insecure_skip_verify: bool
    min_version: int
    max_version: int
    ciphers: tuple[str, ...]
    server_name: str


@dataclass(frozen=True, slots=True)
class AuthSpec:
    """Where an auth token may be: header, query parameter, cookie; "" is not looked at (tyk-core 2.2)."""

    header: str
    param: str
    cookie: str


@dataclass(frozen=True, slots=True)
class RefuseSpec:
    """Why requests are refused, and with what.

    kind: "status": the error page with ``status`` and ``message``; "text": ``message``
    as the plain body; "unsupported": 500, ``reason`` says what this build cannot run. The refusal holds
    from the unix time ``after`` on (seconds; 0: always).
    """

    kind: RefuseKind
    status: int
    message: str
    reason: str
    after: float = 0.0


@dataclass(frozen=True, slots=True)
class PlanSpec:
    """One API. ``file`` is where it came from; the other fields carry the meaning of their definition keys.

    ``domain`` is "" for any host, else the lower-case host; with variables ``domain_pattern`` is the regex
    source for the whole lower-case host without port. ``loop_target`` is the api_id that a ``tyk://`` target
    leads to, ``loop_path`` the path there. Header edits are those of the effective version, removals first.
    An ``internal`` API has no route of its own. ``token`` is where clients put their auth token, None when the API does
    not ask for one; ``strip_auth`` is what is removed before the request goes upstream. ``api_rate`` is the limit of all
    clients together, (requests, seconds). ``events`` is the JSON text of ``event_handlers``, "" without. ``version``
    is the name of the version that this is; with a ``selector`` requests choose among ``versions``, (key, spec) pairs
    of the same API. ``expires`` is the unix time from which a version is refused, None for never, ``api_expires`` the
    one of the whole API. ``endpoints`` holds the entries that speak of paths. ``recording`` says what is unusual
    about the records of its requests, None for nothing. ``addresses`` says which clients it is open to, None for all.
    ``scripts`` is its JavaScript, one object in the specs of all versions, ``global_scripts`` that of global hooks,
    ``event_scripts`` that of its event handlers, None for none; ``plugins`` is what plugins do for it, likewise for all
    versions. ``custom_auth`` is what an auth_check of any driver needs, None without one.
    ``injected`` is what a response processor edits after the version's own edits. ``cache`` says which answers are kept,
    None for none.
    """

    file: str
    api_id: str
    name: str
    org_id: str
    active: bool
    internal: bool
    keyless: bool
    domain: str
    domain_pattern: str | None
    listen_path: str
    route: RouteSpec
    strip_listen_path: bool
    disable_strip_slash: bool
    preserve_host_header: bool
    targets: tuple[TargetSpec, ...]
    load_balancing: bool
    loop_target: str
    loop_path: str
    request_headers_remove: tuple[str, ...]
    request_headers_add: tuple[tuple[str, str], ...]
    response_headers_remove: tuple[str, ...]
    response_headers_add: tuple[tuple[str, str], ...]
    global_timeout: float | None
    tls: TransportSpec
    refuse: tuple[RefuseSpec, ...]
    token: AuthSpec | None = None
    strip_auth: tuple[AuthSpec, ...] = ()
    disable_rate_limit: bool = False
    disable_quota: bool = False
    api_rate: tuple[float, float] | None = None
    events: str = ""
    version: str = ""
    not_versioned: bool = True
    expires: float | None = None
    selector: Selector | None = None
    versions: tuple[tuple[str, PlanSpec], ...] = ()
    api_expires: float | None = None
    endpoints: tuple[EndpointSpec, ...] = ()
    recording: RecordingSpec | None = None
    addresses: AddressLists | None = None
    scripts: ScriptSpec | None = None
    global_scripts: ScriptSpec | None = None
    event_scripts: EventScriptSpec | None = None
    custom_auth: CustomAuthSpec | None = None
    injected: HeaderChange | None = None
    plugins: PluginSpec | None = None
    cache: CacheSpec | None = None
