"""Everything that can be said about a configuration without starting it. Reads files only; writes and binds nothing."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from pathlib import Path

from core.analytics.settings import findings as analytics_findings
from core.config.load import Config, ConfigError, load
from core.config.plugin_check import check_bundles, check_plugins
from core.config.table import options
from core.errors.pages import ErrorPages
from core.findings import Finding
from core.store.check import check as check_stores

DEFAULT_SECRETS = frozenset(("352d20ee67be67f6340b4c0605b044b7", "secret", "change-me"))


def lint(path: str | None, environ: Mapping[str, str]) -> tuple[Config | None, list[Finding]]:
    """The configuration (None if it cannot be used) and all findings."""
    try:
        loaded = load(path, environ)
    except ConfigError as error:
        return None, error.findings
    config, file = loaded.config, loaded.path
    found = list(loaded.findings)
    found += _without_effect(config, file)
    found += _paths(config, file)
    found += _certificates(config, file)
    found += check_stores(config, file)
    found += check_plugins(config, file)
    found += check_bundles(config, file)
    found += _risks(config, file)
    found += analytics_findings(config, file)
    return config, found


def _without_effect(config: Config, file: str) -> list[Finding]:
    found = []
    for option in options().values():
        value = config.at(option.path)
        if option.support == "used" or value == option.default or not value:
            continue
        if option.support == "accepted":
            message = "this version reads the option but does not act on it"
        else:
            message = "the option is obsolete or belongs to a commercial component, and is ignored"
        found.append(Finding("info", file, f"$.{option.path}", message, option.doc))
    return found


def _paths(config: Config, file: str) -> list[Finding]:
    found = []
    if not Path(config.app_path).is_dir():
        found.append(
            Finding("error", file, "$.app_path", f"{config.app_path} is not a directory",
                    f"It is looked up from the working directory, {Path.cwd()}.")
        )  # fmt: skip
    if config.template_path:
        if not Path(config.template_path).is_dir():
            found.append(
                Finding("warning", file, "$.template_path", f"{config.template_path} is not a directory",
                        "Leave it empty for the built-in templates.")
            )  # fmt: skip
        else:
            found += ErrorPages(config.template_path).findings
    if config.pid_file_location:
        directory = Path(config.pid_file_location).parent
        while not directory.exists():
            directory = directory.parent
        if not os.access(directory, os.W_OK):
            found.append(
                Finding("error", file, "$.pid_file_location", f"{directory} cannot be written",
                        "Choose a directory that this user may write.")
            )  # fmt: skip
    return found


def _certificates(config: Config, file: str) -> list[Finding]:
    """Whether the listener's certificates can be loaded."""
    found = []
    options_ = config.http_server_options
    pairs = [
        (f"$.http_server_options.certificates[{n}]", c.get("cert_file", ""), c.get("key_file", ""))
        for n, c in enumerate(options_.certificates)
    ]
    pairs += [
        (f"$.http_server_options.ssl_certificates[{n}]", c, c)
        for n, c in enumerate(options_.ssl_certificates)
    ]
    for place, certificate, key in pairs:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
        except (OSError, ssl.SSLError) as error:
            found.append(
                Finding("error", file, place, f"certificate {certificate!r} with key {key!r} cannot be loaded: {error}",
                        "Both must be PEM files that belong together.")
            )  # fmt: skip
    return found


def _risks(config: Config, file: str) -> list[Finding]:
    found = []
    if not config.secret:
        found.append(
            Finding("warning", file, "$.secret", "without a secret the administration API is off",
                    "Set a long random secret if you want /tyk/reload and the like.")
        )  # fmt: skip
    elif config.secret in DEFAULT_SECRETS:
        found.append(
            Finding("warning", file, "$.secret", "everybody knows this secret", "Set a long random one.")
        )
    if config.proxy_ssl_insecure_skip_verify:
        found.append(
            Finding("warning", file, "$.proxy_ssl_insecure_skip_verify",
                    "certificates of upstreams are not verified: anybody on the way can read and change the traffic",
                    "Add the upstreams' authority to the system's trust store instead.")
        )  # fmt: skip
    low = config.http_server_options.min_version
    if low in (769, 770):
        found.append(
            Finding(
                "warning",
                file,
                "$.http_server_options.min_version",
                "TLS 1.0 and 1.1 are broken",
                "Use 771 (1.2).",
            )
        )
    if not config.http_server_options.enable_strict_routes:
        found.append(
            Finding("info", file, "$.http_server_options.enable_strict_routes",
                    "a listen path without a final slash also matches longer names: /app serves /apple",
                    "Set it to true, or end listen paths with a slash.")
        )  # fmt: skip
    if config.preforge.trusted_proxies and config.http_server_options.xff_depth == 0:
        found.append(
            Finding("warning", file, "$.http_server_options.xff_depth",
                    "the first entry of X-Forwarded-For counts, which clients write themselves behind a proxy that appends",
                    "Set it to the number of trusted proxies, or let them send X-Real-IP.")
        )  # fmt: skip
    if config.hash_keys and config.hash_key_function in ("", "murmur32"):
        found.append(
            Finding("warning", file, "$.hash_key_function",
                    "Tyk's murmur32 ignores up to three characters at the end of a key, so that keys that differ there are one",
                    "Use sha256 for new keys; the old ones go on as they are.")
        )  # fmt: skip
    if config.preforge.limits.underscore_headers == "allow":
        found.append(
            Finding("warning", file, "$.preforge.limits.underscore_headers",
                    "Content_Length and the like reach upstreams, which may read them as the real header")
        )  # fmt: skip
    return found
