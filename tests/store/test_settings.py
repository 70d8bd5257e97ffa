"""The storage sections of tyk.conf: which server is meant, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from core.config import ConfigError, load
from core.config.table import options
from core.store.errors import StoreError
from core.store.settings import Address, StoreSettings

GOOD: dict[str, Any] = {"listen_port": 8080, "app_path": "apps", "secret": "s"}


def read(tmp_path: Path, section: str = "storage", environ: dict[str, str] | None = None, **more: Any) -> StoreSettings:
    """The settings from a tyk.conf with these members."""
    path = tmp_path / "tyk.conf"
    path.write_text(json.dumps(GOOD | more))
    return StoreSettings.from_config(load(str(path), environ or {}).config, section, "/run/store.sock")


@pytest.mark.parametrize(
    ("storage", "addresses"),
    [
        ({"host": "redis.local"}, [("redis.local", 6379)]),
        ({"host": "redis.local", "port": 7000}, [("redis.local", 7000)]),
        ({"hosts": {"old.local": "7001"}}, [("old.local", 7001)]),
        ({"addrs": ["a.local:1", "[::1]:2"], "host": "no", "hosts": {"no": "1"}}, [("a.local", 1), ("::1", 2)]),
    ],
    ids=["host", "port", "hosts", "addrs-win"],
)
def test_addresses_in_each_form(tmp_path: Path, storage: dict[str, Any], addresses: list[tuple[str, int]]) -> None:
    found = read(tmp_path, storage={"type": "redis", **storage})
    assert found.addresses == tuple(Address(*address) for address in addresses)
    assert not found.embedded


def test_embedded_is_what_is_meant_when_nothing_is_said(tmp_path: Path) -> None:
    sections: list[dict[str, Any]] = [{}, {"storage": {}}, {"storage": {"type": ""}}, {"storage": {"type": "embedded"}}]
    for more in sections:
        found = read(tmp_path, **more)
        assert found.embedded
        assert found.addresses == (Address("/run/store.sock"),)


def test_every_member_is_taken(tmp_path: Path) -> None:
    storage = {
        "type": "redis", "addrs": ["s1:26379", "s2:26379"], "master_name": "main", "sentinel_password": "sp",
        "username": "u", "password": "p", "database": 4, "timeout": 9,
    }  # fmt: skip
    ours = {"storage": {"command_timeout": 0.25, "max_waiting": 7, "max_queued_bytes": 70000, "max_reply_bytes": 80000}}
    found = read(tmp_path, storage=storage, preforge=ours)
    assert found == StoreSettings(
        (Address("s1", 26379), Address("s2", 26379)), master="main", sentinel_password="sp", username="u", password="p",
        database=4, timeout=9.0, command_timeout=0.25, max_waiting=7, max_queued=70000, max_reply=80000,
    )  # fmt: skip
    sentinels = found.of_sentinels()
    assert (sentinels.username, sentinels.password, sentinels.database) == ("", "sp", 0)
    assert read(tmp_path, storage={"type": "redis", "host": "h"}).timeout == 5.0


def test_cluster_and_tls(tmp_path: Path) -> None:
    storage = {"type": "redis", "addrs": ["c:1"], "enable_cluster": True, "use_ssl": True, "ssl_insecure_skip_verify": True}
    found = read(tmp_path, storage=storage)
    assert found.cluster
    assert found.tls is not None
    assert found.tls.insecure


@pytest.mark.parametrize(
    ("section", "switch"),
    [
        ("analytics_storage", "enable_separate_analytics_store"),
        ("cache_storage", "enable_separate_cache_store"),
        ("rate_limiter_storage", "enable_rate_limiter_storage"),
    ],
)
def test_other_sections_count_only_when_they_are_switched_on(tmp_path: Path, section: str, switch: str) -> None:
    more: dict[str, Any] = {"storage": {"type": "redis", "host": "main"}, section: {"type": "redis", "host": "other"}}
    assert read(tmp_path, section, **more).addresses == (Address("main", 6379),)
    assert read(tmp_path, section, **(more | {switch: True})).addresses == (Address("other", 6379),)
    with pytest.raises(StoreError, match=rf"^{section}: no server is named"):
        read(tmp_path, section, **({"storage": more["storage"], switch: True}))


def test_embedded_without_a_server_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tyk.conf"
    path.write_text(json.dumps(GOOD))
    with pytest.raises(StoreError, match=r"storage\.type"):
        StoreSettings.from_config(load(str(path), {}).config)


def test_wrong_types_are_found_when_the_file_is_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"\$\.analytics_storage\.port"):
        read(tmp_path, analytics_storage={"port": "many"})
    with pytest.raises(ConfigError, match=r"\$\.storage\.tls_min_version"):
        read(tmp_path, storage={"tls_min_version": "1.9"})


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("storage.optimisation_max_idle", "TYK_GW_STORAGE_MAXIDLE"),
        ("analytics_storage.optimisation_max_active", "TYK_GW_ANALYTICSSTORAGE_MAXACTIVE"),
        ("rate_limiter_storage.enable_cluster", "TYK_GW_RATELIMITERSTORAGE_ENABLECLUSTER"),
        ("cache_storage.ssl_insecure_skip_verify", "TYK_GW_CACHESTORAGE_SSLINSECURESKIPVERIFY"),
    ],
)
def test_environment_names(path: str, name: str) -> None:
    assert options()[path].environment == name


def test_environment_wins_over_the_file(tmp_path: Path) -> None:
    environ = {"TYK_GW_STORAGE_HOST": "env.local", "TYK_GW_STORAGE_PORT": "7777", "TYK_GW_STORAGE_PASSWORD": "pw"}
    found = read(tmp_path, environ=environ, storage={"type": "redis", "host": "file.local"})
    assert (found.addresses, found.password) == ((Address("env.local", 7777),), "pw")
