"""Tokens and hashes must be Tyk's to the byte: a key that is looked up under another name is a key that is lost."""

from __future__ import annotations

import base64
import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.sessions import tokens
from core.sessions.murmur import ALGORITHMS, digest

ORG = "c0ffee00c0ffee00c0ffee01"
LIVE = "eyJvcmciOiJkZWZhdWx0IiwiaWQiOiJlMDA2ODU1NzI1ZWE0ODAwOTQ3ZGE5YzZjNWUxNzA4NiIsImgiOiJtdXJtdXI2NCJ9"
# tyk-core 10.2: input, Tyk's murmur32, murmur64, murmur128
VECTORS = [
    ("", "00000000", "0" * 16, "0" * 32),
    ("abc", "00000000", "b4963f3f3fad7867", "b4963f3f3fad78673ba2744126ca2d52"),
    ("abcd", "86a7049e", "b87bb7d64656cd4f", "b87bb7d64656cd4ff2003e886073e875"),
    ("abcde", "86a7049e", "2036d091f496bbb8", "2036d091f496bbb8c5c7eea04bcfec8c"),
    ("default", "2f25c839", "a18b3a56cab3dcf3", "a18b3a56cab3dcf339c9785c9a23b634"),
    ("defaultuser", "276460e0", "88309d1d4f2e7bac", "88309d1d4f2e7bac6ccb1905f103f21d"),
    (LIVE, "d37981b6", "4f374f43db21f904", "4f374f43db21f90450eb9087edec29fa"),
]


def opened(token: str) -> bytes:
    return base64.b64decode(token)


@pytest.mark.parametrize(("text", "short", "middle", "long"), VECTORS)
def test_hashes_are_those_of_tyk(text: str, short: str, middle: str, long: str) -> None:
    data = text.encode()
    assert (digest("murmur32", data), digest("murmur64", data), digest("murmur128", data)) == (short, middle, long)
    assert digest("sha256", data) == hashlib.sha256(data).hexdigest()


def test_suffixes_of_endpoint_limits_are_those_of_tyk() -> None:
    assert [digest("murmur32", f"GET:{path}".encode()) for path in ("/x", "/y")] == ["355a3178"] * 2
    assert [digest("murmur64", f"GET:{path}".encode()) for path in ("/x", "/y")] == ["5b99e120f0991026", "2caef875b6251877"]


@pytest.mark.parametrize("algorithm", ["", "md5", "Murmur64"])
def test_unknown_algorithm_hashes_as_tyk_does(algorithm: str) -> None:
    assert digest(algorithm, b"default") == "2f25c839"


def test_token_without_a_function_is_the_organisation_and_the_id() -> None:
    assert tokens.generate(ORG, "mykey", "") == f"{ORG}mykey"
    assert tokens.generate("", "mykey", "") == "mykey"


def test_organisation_is_not_put_in_front_twice() -> None:
    assert tokens.generate(ORG, f"{ORG}mykey", "") == f"{ORG}mykey"
    assert tokens.generate(ORG, f"{ORG}mykey", "murmur64") == tokens.generate(ORG, "mykey", "murmur64")


def test_token_with_a_function_is_the_one_of_a_live_gateway() -> None:
    assert tokens.generate("default", "e006855725ea4800947da9c6c5e17086", "murmur64") == LIVE
    assert tokens.hash_key(LIVE, True) == "4f374f43db21f904"
    made = tokens.generate(ORG, "fk1", "murmur64")
    assert made == "eyJvcmciOiJjMGZmZWUwMGMwZmZlZTAwYzBmZmVlMDEiLCJpZCI6ImZrMSIsImgiOiJtdXJtdXI2NCJ9"
    assert tokens.hash_key(made, True) == "42c11894cf2cc2b0"


@pytest.mark.parametrize("function", ["md5", "MURMUR64", "x"])
def test_unknown_function_makes_a_murmur64_token(function: str) -> None:
    assert tokens.algorithm_of(tokens.generate(ORG, "k", function)) == "murmur64"


@pytest.mark.parametrize("function", ["", *ALGORITHMS])
def test_token_without_an_id_is_random(function: str) -> None:
    made = {tokens.generate(ORG, key_id, function) for key_id in ("", "", ORG)}
    assert len(made) == 3
    ids = {tokens.id_of(one) or one.removeprefix(ORG) for one in made}
    assert all(len(one) == 32 and set(one) <= set("0123456789abcdef") for one in ids)


def test_id_stands_in_a_token_as_it_is() -> None:
    assert opened(tokens.generate("o", "a<b>&é", "sha256")) == '{"org":"o","id":"a<b>&é","h":"sha256"}'.encode()


def test_id_cannot_break_out_of_its_token() -> None:
    token = tokens.generate("mine", 'x","org":"theirs', "murmur64")
    assert tokens.org_of(token) == "mine"
    assert json.loads(opened(token)) == {"org": "mine", "id": 'x","org":"theirs', "h": "murmur64"}


def test_bytes_that_are_no_text_make_different_tokens() -> None:
    first, second = (tokens.generate("o", bytes([byte]).decode("utf-8", "surrogateescape"), "sha256") for byte in (0xFE, 0xFF))
    assert first != second
    assert {tokens.org_of(first), tokens.algorithm_of(second)} == {"o", "sha256"}


@pytest.mark.parametrize(
    ("token", "org"),
    [
        (LIVE, "default"),
        (f"{ORG}x", ORG),
        (f"{ORG.upper()}x", ORG.upper()),
        (ORG, ""),
        (f"{ORG[:-1]}gx", ""),
        ("short", ""),
        ("", ""),
        ("eyJ", ""),
        (LIVE.rstrip("="), "default"),
        (LIVE[:-3], ""),
        (base64.b64encode(b'{"org":7,"id":"x"}').decode(), ""),
        (base64.b64encode(b'{"id":"x"}').decode(), ""),
        (base64.b64encode(b'["org"]').decode(), ""),
        ("eyJvcmciOiJ4In0", ""),
        ("eyJvcmciOiJ4In0=", "x"),
        ("ey\u00e9", ""),
        ("\udcff" * 30, ""),
    ],
)
def test_organisation_of_a_token(token: str, org: str) -> None:
    assert tokens.org_of(token) == org


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_token_is_hashed_as_it_says_itself(algorithm: str) -> None:
    token = tokens.generate(ORG, "key", algorithm)
    assert tokens.hash_key(token, True) == digest(algorithm, token.encode())
    assert tokens.hash_key(token, False) == token


def test_legacy_token_is_hashed_with_murmur32() -> None:
    assert tokens.hash_key("defaultuser", True) == "276460e0"


def test_token_of_this_organisation_means_itself_alone() -> None:
    for token in (f"{ORG}key", tokens.generate(ORG, "key", "sha256")):
        assert tokens.candidates(token, ORG, "murmur64", ["sha256"]) == [token]
    assert tokens.candidates("key", "", "murmur64", ["sha256"]) == ["key"]


def test_other_token_is_looked_up_in_the_order_of_tyk() -> None:
    made = [tokens.generate(ORG, "key", function) for function in ("murmur64", "sha256", "murmur128")]
    assert tokens.candidates("key", ORG, "murmur64", ["sha256", "murmur128"]) == [made[0], "key", made[1], made[2]]
    assert tokens.candidates("key", ORG, "", []) == [f"{ORG}key", "key"]
    assert tokens.candidates("key", ORG, "murmur64", ["murmur64"]) == [made[0], "key"]


def test_keys_by_name_can_be_turned_off() -> None:
    assert tokens.candidates("key", ORG, "murmur64", ["sha256"], by_name=False) == ["key"]


def test_organisation_alone_is_no_key_that_changes_with_every_request() -> None:
    assert tokens.candidates(ORG, ORG, "murmur64", ["sha256"]) == [ORG]


@pytest.mark.parametrize(("length", "least", "short"), [(3, 0, True), (4, 0, False), (3, 3, True), (5, 5, True), (6, 5, False)])
def test_short_tokens_are_never_looked_up(length: int, least: int, short: bool) -> None:
    assert tokens.too_short("x" * length, least) is short


def test_logs_show_the_end_of_a_token_only() -> None:
    assert tokens.shortened(f"{ORG}secret") == "****cret"
    assert tokens.shortened("abcd") == "----"
    assert tokens.shortened("abcdef", whole=True) == "abcdef"


@given(st.text(max_size=40), st.text(min_size=1, max_size=60), st.sampled_from(["", *ALGORITHMS]))
def test_what_is_put_into_a_token_comes_out_again(org: str, key_id: str, function: str) -> None:
    token = tokens.generate(org, key_id, function)
    bare = key_id.removeprefix(org)
    if not function:
        assert not bare or token == org + bare
        return
    assert tokens.org_of(token) == org
    assert tokens.algorithm_of(token) == function
    assert not bare or tokens.id_of(token) == bare


@given(st.binary(max_size=200))
def test_no_token_of_a_client_is_an_error(raw: bytes) -> None:
    coded = base64.b64encode(raw).decode()
    for token in (raw.decode("utf-8", "surrogateescape"), coded, f"ey{coded}"):
        found = tokens.candidates(token, ORG, "murmur64", ["sha256", ""])
        assert token in found
        assert all(tokens.hash_key(one, True) for one in found)
