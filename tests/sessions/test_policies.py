"""What policies make of a session: nothing may open more, or limit less, than the policies say together."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.findings import Finding
from core.sessions.merging import seconds_each
from core.sessions.model import SessionData, encode, from_value
from core.sessions.policies import Policies, PolicyData, PolicyError, apply, checked, chosen, expiry

ORG = "c0ffee00c0ffee00c0ffee01"
OTHER = "dead00beef00dead00beef00"
Json = dict[str, Any]


def policy(policy_id: str, *apis: str, **more: Any) -> Json:
    rights = {api: {"api_id": api, "api_name": f"name of {api}", "versions": ["Default"]} for api in apis}
    return {"id": policy_id, "org_id": ORG, "active": True, "access_rights": rights, **more}


def known(*documents: Json) -> Policies:
    found: dict[tuple[str, str], PolicyData] = {}
    for document in documents:
        findings: list[Finding] = []
        one = checked(document, "policies.json", "$", findings)
        assert one is not None, findings
        found[one["org_id"], one["id"]] = one
    return Policies(found)


def session(*ids: str, **more: Any) -> SessionData:
    return from_value({"org_id": ORG, "apply_policies": list(ids), **more})


def applied(*documents: Json, org: str | None = ORG, **more: Any) -> SessionData:
    return apply(session(*(one["id"] for one in documents), **more), known(*documents), org=org)


def limit(result: SessionData, api: str, *names: str) -> list[Any]:
    return [result["access_rights"][api]["limit"][name] for name in names]


# -- which policies count ------------------------------------------------------------------


def test_session_without_policies_stays_as_it_is() -> None:
    before = session(rate=3, access_rights={"a": {"api_id": "a"}})
    assert apply(before, known(policy("p", "b")), org=ORG) is before


def test_old_field_names_a_policy_too() -> None:
    result = apply(session(apply_policy_id="p"), known(policy("p", "a")), org=ORG)
    assert set(result["access_rights"]) == {"a"}
    assert apply(session("p", apply_policy_id="gone"), known(policy("p", "a")), org=ORG)["access_rights"]


@pytest.mark.parametrize("ids", [["gone"], ["gone", "away"]], ids=["one", "all"])
def test_missing_policy_refuses(ids: list[str]) -> None:
    with pytest.raises(PolicyError):
        apply(session(*ids, access_rights={"a": {"api_id": "a"}}), known(policy("p", "a")), org=ORG)


def test_missing_policy_among_others_is_left_out() -> None:
    result = apply(session("gone", "p"), known(policy("p", "a", rate=2, per=1)), org=ORG)
    assert set(result["access_rights"]) == {"a"}


@pytest.mark.parametrize("owner", [OTHER, ""])
@pytest.mark.parametrize("others", [[], ["q"]])
def test_policy_of_another_organisation_refuses(owner: str, others: list[str]) -> None:
    policies = known(policy("p", "a", org_id=owner), policy("q", "a"))
    with pytest.raises(PolicyError, match="another organisation"):
        apply(session("p", *others), policies, org=ORG)


def test_policy_is_looked_up_in_the_organisation_of_the_key() -> None:
    policies = known(policy("p", "mine"), policy("p", "theirs", org_id=OTHER))
    assert set(apply(session("p"), policies, org=ORG)["access_rights"]) == {"mine"}
    assert set(apply(session("p", org_id=OTHER), policies, org=OTHER)["access_rights"]) == {"theirs"}
    with pytest.raises(PolicyError, match="another organisation"):
        apply(session("p", org_id=OTHER), policies, org=ORG)


def test_key_without_an_organisation_uses_that_of_the_api() -> None:
    policies = known(policy("p", "theirs", org_id=OTHER), policy("p", "mine"))
    assert set(apply(session("p", org_id=""), policies, org=ORG)["access_rights"]) == {"mine"}
    assert apply(session("p", org_id=""), known(policy("p", "a")), org=None)["access_rights"]


def test_policy_that_is_switched_off_is_not_applied() -> None:
    off = policy("off", "a", active=False)
    with pytest.raises(PolicyError, match="not active"):
        applied(off)
    assert set(applied(off, policy("on", "b"))["access_rights"]) == {"b"}


def test_policies_in_the_session_stand_for_those_it_names() -> None:
    own = {"policies": [policy("own", "a", rate=7, per=1)]}
    result = apply(session("gone", meta_data=own), Policies(), org=ORG)
    assert limit(result, "a", "rate", "per") == [7, 1]


@pytest.mark.parametrize("own", [["text"], [{"id": "x", "rate": "fast"}], [policy("p", "a", org_id=OTHER)]])
def test_broken_policies_in_the_session_refuse(own: list[Any]) -> None:
    with pytest.raises(PolicyError):
        apply(session("p", meta_data={"policies": own}), known(policy("p", "a")), org=ORG)


def test_policies_without_rights_do_not_open_every_api() -> None:
    for document in (policy("p", rate=5, per=1), policy("p", "a", partitions={"rate_limit": True})):
        with pytest.raises(PolicyError, match="no valid policies"):
            applied(document)


# -- access rights ---------------------------------------------------------------------------


def test_rights_of_a_policy_replace_those_of_the_key() -> None:
    result = applied(policy("p", "a"), access_rights={"own": {"api_id": "own"}})
    assert set(result["access_rights"]) == {"a"}
    right = result["access_rights"]["a"]
    names = ("api_id", "api_name", "versions", "allowance_scope")
    assert [right[name] for name in names] == ["a", "name of a", ["Default"], ""]


def test_versions_and_urls_are_added_up() -> None:
    first, second = policy("p"), policy("q")
    first["access_rights"] = {"a": {"versions": ["1"], "allowed_urls": [{"url": "/x", "methods": ["GET"]}]}}
    second["access_rights"] = {
        "a": {"versions": ["2", "1"], "allowed_urls": [{"url": "/x", "methods": ["GET", "PUT"]}, {"url": "/y", "methods": []}]}
    }
    right = applied(first, second)["access_rights"]["a"]
    assert right["versions"] == ["1", "2"]
    urls = [(entry["url"], entry["methods"]) for entry in right["allowed_urls"]]
    assert urls == [("/x", ["GET", "PUT"]), ("/y", [])]


def test_graph_rights_are_added_up() -> None:
    def graph(policy_id: str, fields: list[str], depth: int, hidden: bool) -> Json:
        made = policy(policy_id)
        types = [{"name": "Query", "fields": fields}]
        rights = [{"type_name": "Query", "field_name": "f", "limits": {"max_query_depth": depth}}]
        made["access_rights"] = {"a": {
            "restricted_types": types, "allowed_types": types, "field_access_rights": rights, "disable_introspection": hidden,
        }}  # fmt: skip
        return made

    right = applied(graph("p", ["x", "y"], 3, False), graph("q", ["y", "z"], -1, True))["access_rights"]["a"]
    assert right["restricted_types"] == right["allowed_types"] == [{"name": "Query", "fields": ["x", "y", "z"]}]
    assert right["field_access_rights"][0]["limits"]["max_query_depth"] == -1
    assert right["disable_introspection"] is True


def test_two_policies_count_apart() -> None:
    result = applied(policy("p", "a", rate=1, per=60), policy("q", "b", rate=2, per=60))
    assert [result["access_rights"][api]["allowance_scope"] for api in "ab"] == ["p", "q"]
    assert limit(result, "a", "rate") + limit(result, "b", "rate") == [1, 2]


def test_partition_for_access_leaves_the_limits_of_the_key() -> None:
    own = {"b": {"api_id": "b"}}
    only = policy("p", "a", rate=100, per=1, quota_max=9, partitions={"acl": True})
    result = applied(only, rate=1, per=60, quota_max=5, quota_renewal_rate=7, max_query_depth=2, access_rights=own)
    assert set(result["access_rights"]) == {"a"}
    assert limit(result, "a", "rate", "per", "quota_max", "quota_renewal_rate", "max_query_depth") == [1, 60, 5, 7, 2]
    assert (result["rate"], result["quota_max"]) == (1, 5)


@pytest.mark.parametrize(
    ("partition", "names"),
    [
        ("rate_limit", ("rate", "per", "throttle_interval", "throttle_retry_limit")),
        ("quota", ("quota_max", "quota_renewal_rate")),
        ("complexity", ("max_query_depth",)),
    ],
)
def test_other_partitions_leave_the_rights_of_the_key(partition: str, names: tuple[str, ...]) -> None:
    values = {"rate": 2, "per": 60, "throttle_interval": 3, "throttle_retry_limit": 4, "quota_max": 5, "quota_renewal_rate": 6,
              "max_query_depth": 7}  # fmt: skip
    own = {"a": {"api_id": "a", "versions": ["own"], "limit": dict.fromkeys(values, 99)}}
    result = applied(policy("p", "a", "new", **values, partitions={partition: True}), access_rights=own)
    assert set(result["access_rights"]) == {"a"}, "a policy that does not decide about access opens nothing"
    assert result["access_rights"]["a"]["versions"] == ["own"]
    assert result["access_rights"]["a"]["limit"] == {
        **from_value({"access_rights": own})["access_rights"]["a"]["limit"], **{name: values[name] for name in names},
    }  # fmt: skip


def test_partitions_of_several_policies_make_one_right() -> None:
    result = applied(
        policy("access", "a", partitions={"acl": True}),
        policy("quota", "a", quota_max=5, quota_renewal_rate=60, partitions={"quota": True}),
        policy("rate", "a", rate=3, per=1, partitions={"rate_limit": True}),
        rate=100, per=1, quota_max=-1,
    )  # fmt: skip
    assert limit(result, "a", "rate", "per", "quota_max", "quota_renewal_rate") == [3, 1, 5, 60]
    assert result["access_rights"]["a"]["allowance_scope"] == ""


def test_policy_without_rights_sets_the_limits_of_the_key() -> None:
    only = policy("p", rate=4, per=2, quota_max=6, quota_renewal_rate=8, max_query_depth=3)
    result = applied(only, policy("access", "a", partitions={"acl": True}))
    assert limit(result, "a", "rate", "per", "quota_max", "quota_renewal_rate", "max_query_depth") == [4, 2, 6, 8, 3]


# -- limits ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "first", "second", "result"),
    [
        ("quota_max", 5, 9, 9),
        ("quota_max", 9, 5, 9),
        ("quota_max", -1, 9, -1),
        ("quota_max", 9, -1, -1),
        ("quota_max", 0, 4, 4),
        ("quota_renewal_rate", 60, 30, 60),
        ("throttle_interval", 1.5, 0.5, 1.5),
        ("throttle_retry_limit", 3, 4, 4),
        ("max_query_depth", 3, -1, -1),
        ("max_query_depth", 3, 2, 3),
    ],
)
def test_larger_limit_wins(name: str, first: float, second: float, result: float) -> None:
    found = applied(policy("p", "a", **{name: first}), policy("q", "a", **{name: second}))
    assert limit(found, "a", name) == [result]


@pytest.mark.parametrize(
    ("first", "second", "result"),
    [
        ((10, 1), (5, 1), (10, 1)),
        ((5, 1), (10, 1), (10, 1)),
        ((10, 60), (1, 1), (1, 1)),
        ((2, 1), (120, 60), (2, 1)),
        ((-1, 1), (5, 1), (-1, 1)),
        ((5, 1), (-1, 1), (-1, 1)),
        ((0, 0), (5, 1), (5, 1)),
        ((5, 1), (0, 0), (5, 1)),
        ((5, 1), (7, 0), (5, 1)),
    ],
)
def test_faster_rate_wins(first: tuple[int, int], second: tuple[int, int], result: tuple[int, int]) -> None:
    pair = [policy(name, "a", rate=rate, per=per) for name, (rate, per) in zip("pq", (first, second), strict=True)]
    assert tuple(limit(applied(*pair), "a", "rate", "per")) == result


def test_limits_of_the_key_do_not_beat_those_of_its_policy() -> None:
    result = applied(policy("p", "a", rate=2, per=1, quota_max=5), rate=1000, per=1, quota_max=-1, max_query_depth=-1)
    assert limit(result, "a", "rate", "per", "quota_max", "max_query_depth") == [2, 1, 5, 0]
    assert (result["rate"], result["per"], result["quota_max"], result["max_query_depth"]) == (2, 1, 5, 0)


def test_limits_in_the_rights_of_a_policy_count_per_api_only() -> None:
    rights = {"a": {"api_id": "a", "limit": {"rate": 9, "per": 1, "quota_max": 99}}}
    document = {**policy("p", rate=2, per=1, quota_max=5), "access_rights": rights}
    assert limit(applied(document), "a", "rate", "quota_max") == [2, 5]
    assert limit(applied({**document, "partitions": {"per_api": True}}), "a", "rate", "quota_max") == [9, 99]


def test_running_quota_goes_on() -> None:
    own = {"a": {"api_id": "a", "limit": {"quota_max": 3, "quota_renews": 1234}}}
    assert limit(applied(policy("p", "a", quota_max=5), access_rights=own), "a", "quota_renews") == [1234]
    per_api = policy("p", "a", quota_max=5, partitions={"per_api": True})
    assert limit(applied(per_api, access_rights=own), "a", "quota_renews") == [1234]


def test_endpoints_take_the_faster_rate() -> None:
    def with_endpoints(policy_id: str, *entries: tuple[str, str, int, int]) -> Json:
        made = policy(policy_id)
        made["access_rights"] = {"a": {"endpoints": [
            {"path": path, "methods": [{"name": method, "limit": {"rate": rate, "per": per}}]}
            for path, method, rate, per in entries
        ]}}  # fmt: skip
        return made

    first = with_endpoints("p", ("/x", "GET", 1, 1), ("/y", "GET", 10, 60))
    second = with_endpoints("q", ("/x", "GET", 5, 1), ("/x", "PUT", 2, 1), ("/y", "GET", 5, 30))
    found = {
        (endpoint["path"], method["name"]): (method["limit"]["rate"], method["limit"]["per"])
        for endpoint in applied(first, second)["access_rights"]["a"]["endpoints"]
        for method in endpoint["methods"]
    }
    assert found == {("/x", "GET"): (5, 1), ("/x", "PUT"): (2, 1), ("/y", "GET"): (10, 60)}


# -- per_api ---------------------------------------------------------------------------------


def test_per_api_gives_every_api_counters_of_its_own() -> None:
    document = policy("p", "b", rate=3, per=1, quota_max=30, partitions={"per_api": True})
    document["access_rights"]["a"] = {"api_id": "a", "limit": {"rate": 7, "per": 1, "quota_max": -1}}
    result = applied(document, rate=1000, per=1)
    assert limit(result, "a", "rate", "quota_max") == [7, -1]
    assert limit(result, "b", "rate", "quota_max") == [3, 30]
    assert [result["access_rights"][api]["allowance_scope"] for api in "ab"] == ["a", "p"]


def test_two_per_api_policies_take_the_larger_limits() -> None:
    made = []
    for name, rate, quota in (("p", 2, 50), ("q", 5, 10)):
        document = policy(name, partitions={"per_api": True})
        document["access_rights"] = {"a": {"limit": {"rate": rate, "per": 1, "quota_max": quota, "quota_renewal_rate": quota}}}
        made.append(document)
    assert limit(applied(*made), "a", "rate", "quota_max", "quota_renewal_rate") == [5, 50, 50]


def test_per_api_cannot_be_mixed_with_partitions() -> None:
    per_api, partitioned = policy("p", "a", partitions={"per_api": True}), policy("q", "a", partitions={"acl": True})
    for pair in ((per_api, partitioned), (partitioned, per_api)):
        with pytest.raises(PolicyError, match="per_api"):
            applied(*pair)
    with pytest.raises(PolicyError, match="at once"):
        applied(policy("p", "a", partitions={"per_api": True, "quota": True}))


def test_key_with_limits_of_its_own_counts_per_api() -> None:
    rights = {"a": {"limit": {"quota_max": 5}}, "b": {"limit": {}}}
    before = session(access_rights=rights)
    result = apply(before, Policies(), org=ORG)
    assert [result["access_rights"][api]["allowance_scope"] for api in "ab"] == ["a", ""]
    assert before["access_rights"]["a"]["allowance_scope"] == ""


# -- the rest --------------------------------------------------------------------------------


def test_inactive_is_what_any_policy_says() -> None:
    on, off = policy("p", "a"), policy("q", "a", is_inactive=True)
    assert applied(on, off)["is_inactive"] is True
    assert applied(off, on)["is_inactive"] is True
    assert applied(on, is_inactive=True)["is_inactive"] is False
    assert apply(session(is_inactive=True), Policies(), org=ORG)["is_inactive"] is True


def test_tags_and_meta_data_are_merged() -> None:
    result = applied(
        policy("p", "a", tags=["one", "two"], meta_data={"both": "p", "p": 1}),
        policy("q", "a", tags=["two", "own"], meta_data={"both": "q"}),
        tags=["own"], meta_data={"own": True, "both": "key"},
    )  # fmt: skip
    assert sorted(result["tags"]) == ["one", "own", "two"]
    assert result["meta_data"] == {"own": True, "both": "q", "p": 1}


@pytest.mark.parametrize("name", ["hmac_enabled", "enable_http_signature_validation"])
def test_signatures_are_on_when_anyone_says_so(name: str) -> None:
    assert applied(policy("p", "a"), policy("q", "a", **{name: True}))[name] is True
    assert applied(policy("p", "a"), **{name: True})[name] is True
    assert applied(policy("p", "a"))[name] is False


@pytest.mark.parametrize(
    ("own", "theirs", "result"),
    [
        ("5", "1700000000", "1700000000"),
        ("1700000001", 1700000000, "1700000001"),
        ("", None, ""),
        ("abc", "12", "abc"),
        ("", True, ""),
    ],
)
def test_last_change_is_the_newest(own: str, theirs: Any, result: str) -> None:
    assert applied(policy("p", "a", last_updated=theirs), last_updated=own)["last_updated"] == result


def test_what_happens_after_expiry_comes_from_the_policy() -> None:
    result = applied(policy("p", "a", post_expiry_action="retain", post_expiry_grace_period=-1), policy("q", "a"))
    assert (result["post_expiry_action"], result["post_expiry_grace_period"]) == ("retain", -1)


def test_new_key_expires_as_its_policies_say() -> None:
    policies = known(policy("p", "a", key_expires_in=10), policy("q", "a", key_expires_in=20), policy("r", "a"))
    named = {"p": 1010, "pq": 1020, "qpr": 1010, "r": 7, "": 7}
    assert {ids: expiry(session(*ids, expires=7), policies, ORG, 1000) for ids in named} == named
    with pytest.raises(PolicyError):
        expiry(session("gone"), policies, ORG, 1000)


# -- properties ------------------------------------------------------------------------------

LIMITS = st.fixed_dictionaries(
    {
        "rate": st.sampled_from([-1, 0, 1, 2, 100]),
        "per": st.sampled_from([0, 1, 60]),
        "quota_max": st.sampled_from([-1, 0, 1, 10, 1000]),
        "quota_renewal_rate": st.sampled_from([0, 60, 3600]),
        "max_query_depth": st.sampled_from([-1, 0, 5]),
    }
)
PARTS = st.fixed_dictionaries({}, optional={name: st.booleans() for name in ("quota", "rate_limit", "acl", "complexity")})


@st.composite
def several(draw: st.DrawFn) -> list[Json]:
    made = []
    for at in range(draw(st.integers(1, 4))):
        apis = draw(st.lists(st.sampled_from("abc"), unique=True, max_size=3))
        per_api = {"per_api": True} if draw(st.integers(0, 9)) == 0 else draw(PARTS)
        made.append(policy(f"p{at}", *apis, **draw(LIMITS), partitions=per_api))
    return made


@settings(max_examples=150, deadline=None)
@given(several(), LIMITS, st.lists(st.sampled_from("abcd"), unique=True))
def test_merging_changes_nothing_but_its_result(documents: list[Json], own: Json, apis: list[str]) -> None:
    policies = known(*documents)
    before = session(*(one["id"] for one in documents), **own, access_rights={api: {"api_id": api} for api in apis})
    kept, kept_policies = copy.deepcopy(before), copy.deepcopy(dict(policies.by_id))
    try:
        first = apply(before, policies, org=ORG)
    except PolicyError:
        first = None
    assert before == kept
    assert dict(policies.by_id) == kept_policies
    if first is not None:
        for right in first["access_rights"].values():
            right["limit"]["rate"] = 12345.0
        assert dict(policies.by_id) == kept_policies
        assert encode(apply(before, policies, org=ORG))


@settings(max_examples=150, deadline=None)
@given(several(), LIMITS, st.lists(st.sampled_from("abcd"), unique=True))
def test_only_what_policies_or_the_key_grant_is_open(documents: list[Json], own: Json, apis: list[str]) -> None:
    policies = known(*documents)
    before = session(*(one["id"] for one in documents), **own, access_rights={api: {"api_id": api} for api in apis})
    try:
        result = apply(before, policies, org=ORG)
    except PolicyError:
        return
    granted: set[str] = set()
    for one in documents:
        parts = {name for name, wanted in one["partitions"].items() if wanted}
        if not parts or parts & {"acl", "per_api"}:
            granted |= set(one["access_rights"])
    assert set(result["access_rights"]) == (granted or set(apis))
    assert result["access_rights"]


@settings(max_examples=150, deadline=None)
@given(st.lists(LIMITS, min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_order_of_whole_policies_does_not_matter_to_limits(limits: list[Json], random: Any) -> None:
    documents = [policy(f"p{at}", "a", **one) for at, one in enumerate(limits)]
    shuffled = list(documents)
    random.shuffle(shuffled)
    first, second = (applied(*order)["access_rights"]["a"]["limit"] for order in (documents, shuffled))
    assert seconds_each(first) == seconds_each(second)
    for name in ("quota_max", "quota_renewal_rate", "max_query_depth"):
        assert first[name] == second[name]


def test_chosen_policies_keep_their_order() -> None:
    policies = known(policy("p", "a"), policy("q", "a"))
    assert [one["id"] for one in chosen(session("q", "p"), policies, ORG)] == ["q", "p"]
