"""Each list of a version lets through what it names, and nothing more (tyk-core 2.5)."""

from __future__ import annotations

import pytest

from tests.conftest import Start
from tests.paths.support import CLOSED, arrived, error, listed, post
from tests.support.gateway import Gateway, wait_for
from tests.support.upstream import Upstream, silent

NO_ACTION = {"action": "no_action", "code": 200, "data": "", "headers": {}}
TEAPOT = {"action": "reply", "code": 418, "data": "short", "headers": {"X-Tea": "pot"}}


@pytest.fixture(scope="module")
def gateway(start: Start, upstream: Upstream) -> Gateway:
    """One API per list."""
    upstream.on("/slow", silent)
    upstream.on("/v1/slow", silent)
    keyed = {"use_keyless": False, "auth": {"auth_header_name": "Authorization"}}
    return start(
        [
            listed("white", upstream, {"white_list": [{"path": "/open"}, {"path": "/one", "method": "GET"}]}),
            listed("off", upstream, {"white_list": [{"path": "/open", "disabled": True}],
                                     "black_list": [{"path": "/shut", "disabled": True}]}),
            listed("black", upstream, {"black_list": [{"path": "/shut"}, {"path": "/one", "method": "POST"}]}),
            listed("both", upstream, {"white_list": [{"path": "/x"}], "black_list": [{"path": "/x/y"}],
                                      "ignored": [{"path": "/i"}],
                                      "mock_response": [{"path": "/m", "method": "GET", "code": 202, "body": "<html>"}]}),
            listed("actions", upstream, {
                "white_list": [{"path": "/open", "method_actions": {"GET": NO_ACTION, "PUT": {"action": "odd"}}}],
                "black_list": [{"path": "/tea", "method_actions": {"GET": TEAPOT, "POST": NO_ACTION}}],
            }),
            listed("keyed", upstream, {"ignored": [{"path": "/free"}, {"path": "/get", "method": "GET"}],
                                       "black_list": [{"path": "/free/not"}]}, **keyed),
            listed("inner", upstream, {"internal": [{"path": "/hidden", "method": "GET"}], "white_list": [{"path": "/seen"}]}),
            listed("outer", upstream, {}, proxy={"target_url": "tyk://inner/"}),
            listed("case", upstream, {"black_list": [{"path": "/Shut", "ignore_case": True}, {"path": "/Exact"}]}),
            listed("allcase", upstream, {"black_list": [{"path": "/Shut"}]}, version={"ignore_endpoint_case": True}),
            listed("old", upstream, {"black_list": [{"path": "/unused"}]},
                   version={"use_extended_paths": False,
                            "paths": {"black_list": ["/shut/[0-9]+$"], "ignored": ["/free"]}}, **keyed),
            listed("rate", upstream, {"rate_limit": [{"path": "/few", "method": "GET", "rate": 2, "per": 600}]}),
            listed("norate", upstream, {"rate_limit": [{"path": "/few", "method": "GET", "rate": 2, "per": 600}]},
                   disable_rate_limit=True),
            listed("hard", upstream, {"hard_timeouts": [{"path": "/slow", "method": "GET", "duration": "100ms"}]},
                   version={"global_enforce_timeout": "300ms"}, proxy={"target_url": upstream.url + "/v1"}),
        ],
        {"preforge": {"limits": {"max_path_results": 8}}},
    )  # fmt: skip


def test_white_list_closes_everything_else(gateway: Gateway) -> None:
    assert arrived(gateway.fetch("/white/open/below")) == "/open/below"
    assert arrived(gateway.fetch("/white/one")) == "/one"
    for answer in (gateway.fetch("/white/other"), post(gateway, "/white/one"), gateway.fetch("/white/")):
        assert (answer.status, error(answer)) == (403, CLOSED)


def test_entry_that_is_disabled_neither_opens_nor_closes(gateway: Gateway) -> None:
    assert arrived(gateway.fetch("/off/shut")) == "/shut"
    assert arrived(gateway.fetch("/off/other")) == "/other"


def test_black_list_closes_its_paths_before_anything_else_is_asked(gateway: Gateway) -> None:
    for answer in (gateway.fetch("/black/shut"), gateway.fetch("/black/a/shut/b"), post(gateway, "/black/one")):
        assert (answer.status, error(answer)) == (403, CLOSED)
    assert arrived(gateway.fetch("/black/one")) == "/one"
    assert gateway.fetch("/keyed/free/not").status == 200, "ignored goes before the black list"


def test_lists_decide_in_their_order(gateway: Gateway) -> None:
    assert gateway.fetch("/both/x").status == 200
    assert gateway.fetch("/both/x/y").status == 403
    assert gateway.fetch("/both/i").status == 200, "ignored counts as listed"
    mock = gateway.fetch("/both/m")
    assert (mock.status, mock.body, mock.get("Content-Type")) == (202, b"<html>", "text/html; charset=utf-8")
    assert mock.get("X-Ratelimit-Limit") is None
    assert post(gateway, "/both/m").status == 403, "a mock of another method is not listed"


def test_method_action_decides_for_its_method_only(gateway: Gateway) -> None:
    assert gateway.fetch("/actions/open").status == 200
    assert post(gateway, "/actions/open").status == 403
    assert gateway.fetch("/actions/open", method="PUT", body=b"").status == 403, "an unknown action must not open"
    tea = gateway.fetch("/actions/tea")
    assert (tea.status, tea.body, tea.get("X-Tea")) == (418, b"short", "pot")
    assert post(gateway, "/actions/tea").status == 403


def test_ignored_path_needs_no_key_and_all_others_do(gateway: Gateway) -> None:
    assert arrived(gateway.fetch("/keyed/free")) == "/free"
    assert arrived(gateway.fetch("/keyed/free", "Authorization: nonsense")) == "/free"
    assert arrived(gateway.fetch("/keyed/get")) == "/get"
    assert post(gateway, "/keyed/get").status == 401
    assert gateway.fetch("/keyed/other").status == 401


def test_internal_path_is_for_other_apis_only(gateway: Gateway) -> None:
    answer = gateway.fetch("/inner/hidden")
    assert (answer.status, error(answer)) == (403, CLOSED)
    assert arrived(gateway.fetch("/outer/hidden")) == "/hidden"
    assert post(gateway, "/inner/hidden").status == 403, "of another method it is just not on the white list"
    assert gateway.fetch("/outer/other").status == 403


def test_case_counts_unless_it_is_to_be_ignored(gateway: Gateway) -> None:
    assert gateway.fetch("/case/sHUT").status == 403
    assert gateway.fetch("/case/exact").status == 200
    assert gateway.fetch("/case/Exact").status == 403
    assert gateway.fetch("/allcase/sHUT").status == 403


def test_paths_of_the_older_form_are_used_when_the_newer_is_off(gateway: Gateway) -> None:
    assert gateway.fetch("/old/free").status == 200
    assert gateway.fetch("/old/shut/12").status == 403
    assert gateway.fetch("/old/shut/12x").status == 401
    assert gateway.fetch("/old/unused").status == 401


def test_rate_of_a_path_counts_all_clients_of_that_path(gateway: Gateway) -> None:
    assert [gateway.fetch(path).status for path in ("/rate/few", "/rate/few/x", "/rate/few")] == [200, 200, 429]
    assert gateway.fetch("/rate/other").status == 200
    assert post(gateway, "/rate/few").status == 200
    assert [gateway.fetch("/norate/few").status for _ in range(4)] == [200] * 4


def test_hard_timeout_goes_before_the_one_of_the_version(gateway: Gateway, upstream: Upstream) -> None:
    upstream.on("/v1/calm", silent)
    answer = gateway.fetch("/hard/slow")
    assert (answer.status, error(answer)) == (504, "Upstream service reached hard timeout.")
    assert gateway.fetch("/hard/calm").status == 504
    assert arrived(gateway.fetch("/hard/quick")) == "/v1/quick"


def test_more_paths_than_are_remembered_are_still_judged_right(gateway: Gateway) -> None:
    before = gateway.metrics().get("preforge_path_results_cleared_total", 0)
    for n in range(30):
        assert gateway.fetch(f"/black/x{n}").status == 200
        assert gateway.fetch(f"/black/shut{n}").status == 403
    wait_for(lambda: gateway.metrics()["preforge_path_results_cleared_total"] > before, "the memory was emptied")


def test_reload_changes_the_answer_for_a_path_that_is_remembered(gateway: Gateway, upstream: Upstream) -> None:
    gateway.write_api(listed("later", upstream, {}))
    gateway.reload()
    wait_for(lambda: gateway.fetch("/later/shut").status == 200, "the API is there")
    gateway.write_api(listed("later", upstream, {"black_list": [{"path": "/shut"}]}))
    gateway.reload()
    wait_for(lambda: gateway.fetch("/later/shut").status == 403, "the black list is in force")
    gateway.write_api(listed("later", upstream, {"black_list": [{"path": "/other"}]}))
    gateway.reload()
    wait_for(lambda: gateway.fetch("/later/shut").status == 200, "another black list is in force")
