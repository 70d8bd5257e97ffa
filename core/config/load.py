"""Reading tyk.conf (tyk-core 1.1): file, then environment, then what follows from them."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.config.gojson import decode_document, walk
from core.config.plugins import read_plugins
from core.config.table import Option, options, parse_value, schema
from core.findings import Finding

CANDIDATES = ("tyk.conf", "/etc/tyk/tyk.conf")
# Options for which a negative number means something.
_PLUGINS = ("$.coprocess_options", "$.preforge.plugins")     # what read_plugins() reads

SIGNED = frozenset(("analytics_config.storage_expiration_time", "http_server_options.xff_depth", "jsvm_timeout"))
# Zero means "not given" for these: the value in effect is the default of the table (tyk-core 1.1, conf setup).
FILLED = frozenset(
    (
        "health_check_endpoint_name", "readiness_check_endpoint_name", "graceful_shutdown_timeout_duration",
        "proxy_default_timeout", "storage.type", "log_level", "log_format",
    )
)  # fmt: skip


class ConfigError(Exception):
    """The configuration cannot be used; `findings` says what is wrong and where."""

    def __init__(self, findings: list[Finding]) -> None:
        super().__init__("\n".join(finding.render() for finding in findings if finding.severity == "error"))
        self.findings = findings


class Config:
    """Values by their JSON names: config.http_server_options.use_ssl. Immutable and picklable."""

    __slots__ = ("_values",)

    def __init__(self, values: dict[str, Any]) -> None:
        object.__setattr__(self, "_values", values)

    def __getattr__(self, name: str) -> Any:
        try:
            return self._values[name]
        except KeyError:
            raise AttributeError(f"there is no option {name!r}") from None

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError("the configuration cannot be changed")

    def __getstate__(self) -> dict[str, Any]:
        return self._values  # type: ignore[no-any-return]

    def __setstate__(self, state: dict[str, Any]) -> None:
        object.__setattr__(self, "_values", state)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Config) and bool(self._values == other._values)

    __hash__ = None  # type: ignore[assignment]

    def at(self, path: str) -> Any:
        """The value of a dotted path."""
        found: Any = self
        for name in path.split("."):
            found = getattr(found, name)
        return found


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration, where it came from, and what was noticed."""

    config: Config
    path: str
    findings: list[Finding] = field(default_factory=list)


def locate(path: str | None) -> str:
    """The file to read. Raises ConfigError if there is none."""
    if path:
        return path
    for candidate in CANDIDATES:
        if Path(candidate).is_file():
            return candidate
    raise ConfigError(
        [
            Finding(
                "error",
                CANDIDATES[0],
                "",
                f"there is no {' and no '.join(CANDIDATES)}",
                "Name a file with --conf.",
            )
        ]
    )


def load(path: str | None, environ: Mapping[str, str], *, port: int | None = None) -> Loaded:
    """Read the configuration. port overrides listen_port. Raises ConfigError for anything that cannot be used."""
    file = locate(path)
    findings: list[Finding] = []
    document: Any = {}
    if environ.get("TYK_GW_OMITCONFIGFILE", "").lower() not in ("true", "1"):
        try:
            raw = Path(file).read_bytes()
        except OSError as error:
            raise ConfigError(
                [Finding("error", file, "", f"cannot be read: {error.strerror or error}")]
            ) from error
        document, findings = decode_document(raw, file)
    given = walk(document, schema(), file, "$", findings) if not _errors(findings) else {}
    if port is not None:
        given["listen_port"] = port
    flat = dict(_flatten(given, ""))
    _environment(flat, environ, findings)
    values: dict[str, Any] = {}
    for option in options().values():
        value = flat.get(option.path)
        if value is None or (option.path in FILLED and not value):
            value = option.default
        if isinstance(value, str) and "://" in value:
            value = _reference(value, option, flat, environ, file, findings)
        _check(option, value, file, findings)
        _put(values, option.path.split("."), value)
    config = _freeze(values)
    _check_whole(config, file, findings)
    if _errors(findings):
        raise ConfigError(findings)
    return Loaded(config, file, findings)


def changed(old: Config, new: Config) -> list[Option]:
    """The options that differ."""
    return [option for option in options().values() if old.at(option.path) != new.at(option.path)]


def held(old: Config, new: Config) -> Config:
    """`new`, with the options that only a restart changes as they are in `old`."""
    values: dict[str, Any] = {}
    for option in options().values():
        source = old if option.effect == "restart" else new
        _put(values, option.path.split("."), source.at(option.path))
    return _freeze(values)


def _errors(findings: list[Finding]) -> bool:
    return any(finding.severity == "error" for finding in findings)


def _flatten(value: dict[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, item in value.items():
        path = f"{prefix}{name}"
        if path in options():
            yield path, item
        elif isinstance(item, dict):
            yield from _flatten(item, f"{path}.")


def _environment(flat: dict[str, Any], environ: Mapping[str, str], findings: list[Finding]) -> None:
    for option in options().values():
        names = [option.environment]
        if option.path in ("log_level", "log_format"):
            names.append("TYK_" + option.path.replace("_", "").upper())
        for name in names:
            if name not in environ:
                continue
            try:
                flat[option.path] = _from_text(option, environ[name])
            except ValueError as error:
                findings.append(
                    Finding("error", f"environment variable {name}", f"$.{option.path}", str(error))
                )


def _from_text(option: Option, text: str) -> Any:
    if option.type in ("any", "{any}", "[cert]") or (option.type.startswith("[") and text.startswith("[")):
        try:
            return json.loads(text)
        except ValueError as error:
            raise ValueError(f"expected JSON text: {error}") from error
    return parse_value(option.type, text)


def _reference(
    value: str,
    option: Option,
    flat: dict[str, Any],
    environ: Mapping[str, str],
    file: str,
    findings: list[Finding],
) -> str:
    """Replace env://NAME, secrets://key and file://name (tyk-core 1.1)."""
    scheme, _, name = value.partition("://")
    place = f"$.{option.path}"
    if scheme == "env":
        found = environ.get(f"TYK_SECRET_{name.upper()}")
        hint = f"Set the environment variable TYK_SECRET_{name.upper()}."
    elif scheme == "secrets":
        found = (flat.get("secrets") or {}).get(name)
        hint = f"Add {name!r} to $.secrets."
    elif scheme == "file" and option.path != "bundle_base_url":
        base = Path(flat.get("kv.file.base_path") or "/nonexistent").resolve()
        target = (base / name).resolve()
        try:
            found = target.read_text().rstrip("\n") if target.is_relative_to(base) else None
        except OSError:
            found = None
        hint = "Give $.kv.file.base_path and a readable file below it."
    elif scheme in ("consul", "vault", "kv"):
        found, hint = None, "Use env://, secrets:// or file://."
    else:
        return value
    if found is None:
        findings.append(Finding("error", file, place, f"the reference {value!r} leads nowhere", hint))
        return ""
    return str(found)


def _check(option: Option, value: Any, file: str, findings: list[Finding]) -> None:
    """Ranges, choices and networks."""
    place = f"$.{option.path}"
    if option.choices and str(value) not in option.choices:
        allowed = ", ".join(repr(c) for c in option.choices if c)
        findings.append(Finding("error", file, place, f"expected one of {allowed}, got {value!r}"))
    elif option.type == "port" and not 0 <= value <= 65535:
        findings.append(Finding("error", file, place, f"expected a port from 0 to 65535, got {value}"))
    elif option.type in ("int", "num") and option.support == "used" and value < 0 and option.path not in SIGNED:
        findings.append(Finding("error", file, place, f"expected a number that is not negative, got {value}"))
    elif option.type == "[cidr]":
        for index, item in enumerate(value):
            try:
                ipaddress.ip_network(item, strict=False)
            except ValueError:
                findings.append(
                    Finding("error", file, f"{place}[{index}]", f"expected an address or network, got {item!r}",
                            "Write for example 10.0.0.0/8.")
                )  # fmt: skip


def _check_whole(config: Config, file: str, findings: list[Finding]) -> None:
    if not config.listen_port:
        findings.append(
            Finding(
                "error", file, "$.listen_port", "there is no port to listen on", 'Add "listen_port": 8080.'
            )
        )
    if config.control_api_port and config.control_api_port == config.listen_port:
        findings.append(
            Finding(
                "error",
                file,
                "$.control_api_port",
                "it equals $.listen_port",
                "Use another port, or leave it out.",
            )
        )
    options_ = config.http_server_options
    if options_.use_ssl and not options_.certificates and not options_.ssl_certificates:
        findings.append(
            Finding("error", file, "$.http_server_options.use_ssl", "TLS needs a certificate",
                    "Add $.http_server_options.certificates.")
        )  # fmt: skip
    if options_.min_version and options_.max_version and options_.min_version > options_.max_version:
        findings.append(
            Finding("error", file, "$.http_server_options.min_version", "it is above max_version")
        )
    jsvm = config.preforge.jsvm
    for name in ("max_contexts", "memory_limit_mb", "max_requests"):
        if getattr(jsvm, name) < 1:
            place = f"$.preforge.jsvm.{name}"
            findings.append(Finding("error", file, place, f"expected at least 1, got {getattr(jsvm, name)}"))
    if jsvm.contexts > jsvm.max_contexts:
        message = f"expected at most max_contexts, {jsvm.max_contexts}, got {jsvm.contexts}"
        findings.append(Finding("error", file, "$.preforge.jsvm.contexts", message))
    if not any(one.severity == "error" and one.path.startswith(_PLUGINS) for one in findings):
        findings += read_plugins(config, file)[1]
    bundles = config.preforge.bundles
    for name in ("timeout", "load_timeout", "max_bytes", "max_files", "max_file_bytes", "max_unpacked_bytes", "max_ratio"):
        if getattr(bundles, name) == 0:
            findings.append(Finding("error", file, f"$.preforge.bundles.{name}", "expected more than 0, got 0"))
    if not config.app_path:
        findings.append(
            Finding(
                "error",
                file,
                "$.app_path",
                "there is no directory of API definitions",
                'Add "app_path": "apps".',
            )
        )


def _put(values: dict[str, Any], names: list[str], value: Any) -> None:
    for name in names[:-1]:
        values = values.setdefault(name, {})
    values[names[-1]] = value


def _freeze(values: dict[str, Any], prefix: str = "") -> Config:
    known = options()
    return Config(
        {
            name: item if f"{prefix}{name}" in known else _freeze(item, f"{prefix}{name}.")
            for name, item in values.items()
        }
    )
