"""What the benchmark of the proxy measures."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from bench import gateway
from bench.plugins import setups


@dataclass(frozen=True, slots=True)
class Row:
    """What to measure."""

    name: str
    path: str = "/api/x"
    body_bytes: int = 13
    workers: int = 1
    definitions: int = 1
    tls: bool = False
    keyed: bool = False
    options: dict[str, Any] = field(default_factory=dict)
    api: dict[str, Any] = field(default_factory=dict)      # fields of the definition
    hook: setups.Make | None = None                         # that does what hooks/pre.js does
    latency: bool = False                                   # measured with one connection, too


ANALYTICS = {"enable_analytics": True, "analytics_config": {"type": ""}}
ROLLING = {"enable_redis_rolling_limiter": True}

ROWS = {
    "small": Row("keyless, 13 bytes", latency=True),
    "1k": Row("keyless, 1 KB body", "/api/1k", 1024),
    "100k": Row("keyless, 100 KB body", "/api/100k", 102400),
    "apis": Row("keyless, 10,000 definitions", definitions=10000),
    "tls": Row("keyless, TLS in front", tls=True),
    "workers": Row("keyless, 2 workers on 2 CPUs", workers=2),
    "token": Row("token, rate limit, quota", keyed=True),
    "full": Row("token, rate limit, quota, analytics", keyed=True, options=ANALYTICS),
    "js": Row("one JavaScript pre hook", hook=setups.javascript, latency=True),
    "virtual": Row("JavaScript virtual endpoint", options={"enable_jsvm": True}, api=gateway.virtual_endpoint()),
    "grpc": Row("one gRPC pre hook, TCP", hook=setups.grpc_tcp, latency=True),
    "grpc-unix": Row("one gRPC pre hook, unix socket", hook=setups.grpc_unix, latency=True),
    "jsonrpc": Row("one JSON-RPC pre hook", hook=setups.jsonrpc, latency=True),
    "python": Row("one Python pre hook, bundle", hook=setups.python, latency=True),
    "rolling": Row("token, rolling window in the store, quota, analytics", keyed=True, options={**ANALYTICS, **ROLLING}),
}
