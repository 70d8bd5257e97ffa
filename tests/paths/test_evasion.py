"""A path that an upstream reads as a closed one must be closed in every spelling."""

from __future__ import annotations

import json

import pytest

from tests.conftest import Start
from tests.paths.support import CLOSED, arrived, error, listed
from tests.support.gateway import Gateway, Json, merge
from tests.support.keys import ORG, call, session
from tests.support.upstream import Upstream

SPELLINGS = [
    "/admin/users", "/%61dmin/users", "/adm%69n%2fusers", "/admin%2Fusers", "/%41dmin/../admin/users", "//admin//users",
    "/./admin/users", "/admin/./users", "/admin/x/../users", "/x/../admin/users", "/admin/%2e/users", "/admin/x/%2E%2e/users",
    "/admin%2f%2fusers", "/admin/users/", "/admin/users%0a", "/admin/users?x=1", "/admin/users;x", "/admin/users/%2e%2e/users",
]  # fmt: skip


def apis(upstream: Upstream) -> list[Json]:
    """The same closed path in several forms."""
    keyed = {"use_keyless": False, "org_id": ORG}
    return [
        listed("black", upstream, {"black_list": [{"path": "/admin/users"}]}),
        listed("star", upstream, {"black_list": [{"path": "/admin/*"}]}),
        listed("white", upstream, {"white_list": [{"path": "^/public"}]}),
        listed("free", upstream, {"ignored": [{"path": "/public"}]}, **keyed),
        listed("urls", upstream, {}, **keyed),
        merge(listed("root", upstream, {"internal": [{"path": "/hidden", "method": "GET"}]}), {"proxy": {"listen_path": "/"}}),
        listed("heavy", upstream, {"black_list": [{"path": "/([a-z]+/?)+$"}, {"path": "/.*/.*/.*/shut"}]}),
        listed("way", upstream, {}, proxy={"target_url": "tyk://root/"}),
        listed("rated", upstream, {"rate_limit": [{"path": "/few", "method": "GET", "rate": 1, "per": 600}]}),
    ]


@pytest.fixture(scope="module")
def cleaning(start: Start, upstream: Upstream) -> Gateway:
    """Unclean paths are redirected, as by default."""
    return start(apis(upstream))


@pytest.fixture(scope="module")
def raw(start: Start, upstream: Upstream) -> Gateway:
    """Unclean paths go upstream as they are."""
    return start(apis(upstream), {"http_server_options": {"skip_url_cleaning": True}})


@pytest.mark.parametrize("path", SPELLINGS)
@pytest.mark.parametrize("name", ["black", "star"])
def test_black_list_holds_in_every_spelling(cleaning: Gateway, raw: Gateway, name: str, path: str) -> None:
    answer = raw.fetch(f"/{name}{path}")
    assert (answer.status, error(answer)) == (403, CLOSED)
    answer = cleaning.fetch(f"/{name}{path}")
    for _ in range(2):
        if answer.status == 301:
            answer = cleaning.fetch(str(answer.get("Location")))
    assert (answer.status, error(answer)) == (403, CLOSED)


@pytest.mark.parametrize("path", ["/public/../admin", "/public/%2e%2e/admin", "/public/..%2fadmin", "/public/x/../../admin"])
def test_open_path_is_no_way_to_a_closed_one(cleaning: Gateway, raw: Gateway, path: str) -> None:
    assert raw.fetch(f"/white{path}").status == 403
    assert raw.fetch(f"/free{path}").status == 401
    for name, status in (("white", 403), ("free", 401)):
        moved = cleaning.fetch(f"/{name}{path}")
        assert (moved.status, moved.get("Location")) == (301, f"/{name}/admin")
        assert cleaning.fetch(f"/{name}/admin").status == status


def test_unclean_path_that_is_open_either_way_still_passes(raw: Gateway) -> None:
    assert arrived(raw.fetch("/white/public/a/../b")) == "/public/a/../b"
    assert arrived(raw.fetch("/free/public//x")) == "/public//x"
    assert arrived(raw.fetch("/black/a//b")) == "/a//b"


def test_what_another_api_may_see_is_not_remembered_for_clients(raw: Gateway) -> None:
    found = [raw.fetch(path).status for path in ("/way/hidden", "/hidden", "/way/hidden", "/way/%68idden", "/%68idden")]
    assert found == [200, 403, 200, 200, 403]


def test_path_made_to_keep_an_expression_busy_is_judged_like_any_other(raw: Gateway) -> None:
    assert raw.fetch("/heavy/" + "a" * 12000 + "1").status == 200
    assert raw.fetch("/heavy" + "/a" * 6000 + "1").status == 200
    assert raw.fetch("/heavy" + "/1" * 6000 + "/shut").status == 403


def test_encoded_percent_sign_is_data(raw: Gateway) -> None:
    """The upstream decodes once, and so does the gateway."""
    assert arrived(raw.fetch("/black/%2561dmin/users")) == "/%2561dmin/users"


def test_url_right_of_a_key_is_no_way_to_another_path(raw: Gateway) -> None:
    rights = {"urls": {"api_id": "urls", "versions": ["Default"], "allowed_urls": [{"url": "/public", "methods": ["GET"]}]}}
    body = session(access_rights=rights)
    raw_body = json.dumps(body).encode()
    made = raw.fetch(f"/tyk/keys/{ORG}pathkey", "X-Tyk-Authorization: test-secret", method="POST", body=raw_body)
    assert made.status == 200, made.body
    assert call(raw, "/urls/public/x", f"{ORG}pathkey").status == 200
    for path in ("/public/../admin", "/public/%2e%2e/admin", "/admin"):
        assert call(raw, f"/urls{path}", f"{ORG}pathkey").status == 403, path


def test_rate_of_a_path_counts_its_encoded_spellings(raw: Gateway) -> None:
    assert [raw.fetch(f"/rated{path}").status for path in ("/few", "/%66ew", "/fe%77")] == [200, 429, 429]
