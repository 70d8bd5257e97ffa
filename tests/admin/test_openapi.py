"""The description of the REST API must be true: what it allows works, what it forbids is refused, answers look as it says."""

from __future__ import annotations

import json
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import load_all_checks
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    ignored_auth,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from core.admin import openapi
from core.admin.routes import ROUTES
from tests.support.gateway import Gateway
from tests.support.keys import keyed, session
from tests.support.site import SECRET, Site, manage

load_all_checks()
DOCUMENT = openapi.document([(route.method, route.path) for route in ROUTES], "0")
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT)
CHECKS = [
    content_type_conformance,
    ignored_auth,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
]


@pytest.fixture(scope="module")
def gateway(shared_site: Site) -> Gateway:
    policies = shared_site.directory / "policies"
    policies.mkdir()
    return shared_site.gateway(
        keyed("a", shared_site.upstream.url),
        policies={"policy_source": "file", "policy_path": str(policies)},
        health_check={"enable_health_checks": True},
    )


def test_document_is_served_as_it_is_built(gateway: Gateway) -> None:
    answer = gateway.fetch("/tyk/openapi.json")
    assert (answer.status, answer.get("Content-Type")) == (200, "application/json")
    served = json.loads(answer.body)
    served["info"]["version"] = "0"
    assert served == json.loads(json.dumps(DOCUMENT))


def test_every_route_is_described_once() -> None:
    described = {(m.upper(), p) for p, item in DOCUMENT["paths"].items() for m in item if m != "parameters"}
    assert described == {(route.method, f"/tyk/{route.path}") for route in ROUTES}


@SCHEMA.parametrize()
@settings(
    max_examples=6, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
def test_gateway_does_what_the_document_says(gateway: Gateway, case: Any) -> None:
    if case.path == "/tyk/reload":
        case.query = {"block": "true"}
    case.call_and_validate(
        base_url=f"http://127.0.0.1:{gateway.port}", headers={"X-Tyk-Authorization": SECRET}, checks=CHECKS
    )


def test_gateway_still_serves_what_it_served_before(gateway: Gateway) -> None:
    body = session("a")
    key = json.loads(manage(gateway, "POST", "/tyk/keys/create", body).body)["key"]
    assert gateway.fetch("/a/x", f"Authorization: {key}").status == 200
