"""What the definition loader needs to know from tyk.conf, so that it does not depend on the Config class."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from coprocess.bundles import BundleSettings
from core.apidef.bundles import bundle_settings
from core.apidef.script_files import MAX_MODULES, MAX_SCRIPT_BYTES, ScriptLimits, locate
from core.config.plugins import PluginOptions, plugin_options

MAX_FILE_BYTES = 10 * 1024 * 1024
MAX_FILES = 100_000


@dataclass(frozen=True, slots=True)
class CompileOptions:
    """Gateway-wide settings that shape a plan; names are those of tyk.conf (tyk-core 1.2)."""

    listen_port: int = 8080
    enable_custom_domains: bool = False
    enable_strict_routes: bool = False
    enable_path_prefix_matching: bool = False
    enable_path_suffix_matching: bool = False
    ignore_endpoint_case: bool = False
    proxy_ssl_insecure_skip_verify: bool = False
    proxy_ssl_min_version: int = 0
    proxy_ssl_max_version: int = 0
    proxy_ssl_ciphers: tuple[str, ...] = ()
    ssl_force_common_name_check: bool = False
    enable_jsvm: bool = False
    disable_virtual_path_blobs: bool = False
    max_script_bytes: int = MAX_SCRIPT_BYTES
    plugins: PluginOptions = field(default_factory=PluginOptions)


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """Settings of the directory reader. ``environ`` and ``secrets`` feed ``env://`` and ``secrets://``.

    ``conf`` is the path of tyk.conf, "" when there is none. ``fetch_bundles``: False changes nothing on disk.
    """

    compile: CompileOptions = CompileOptions()
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ), repr=False)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    conf: str = ""
    middleware_path: str = ""
    tyk_js_path: str = ""
    bundles: BundleSettings = field(default_factory=BundleSettings)
    fetch_bundles: bool = True
    max_modules: int = MAX_MODULES
    max_file_bytes: int = MAX_FILE_BYTES
    max_files: int = MAX_FILES

    def fingerprint(self) -> str:
        """Return a digest of everything but the file that the reading of one file depends on."""
        text = json.dumps([sorted(self.environ.items()), sorted(self.secrets.items()), repr(self.compile)])
        return hashlib.sha256(text.encode()).hexdigest()

    def script_limits(self) -> ScriptLimits:
        """Return what bounds the reading of scripts."""
        beside = str(Path(self.conf).parent)
        return ScriptLimits("" if beside == "." else beside, self.compile.max_script_bytes, self.max_modules)


def compile_options(cfg: Any) -> CompileOptions:
    """Take the compile options from a Config object (attributes named as the keys of tyk.conf)."""
    server = cfg.http_server_options
    return CompileOptions(
        listen_port=cfg.listen_port,
        enable_custom_domains=cfg.enable_custom_domains,
        enable_strict_routes=server.enable_strict_routes,
        enable_path_prefix_matching=server.enable_path_prefix_matching,
        enable_path_suffix_matching=server.enable_path_suffix_matching,
        ignore_endpoint_case=cfg.ignore_endpoint_case,
        proxy_ssl_insecure_skip_verify=cfg.proxy_ssl_insecure_skip_verify,
        proxy_ssl_min_version=cfg.proxy_ssl_min_version,
        proxy_ssl_max_version=cfg.proxy_ssl_max_version,
        proxy_ssl_ciphers=tuple(cfg.proxy_ssl_ciphers),
        ssl_force_common_name_check=cfg.ssl_force_common_name_check,
        enable_jsvm=cfg.enable_jsvm,
        disable_virtual_path_blobs=cfg.disable_virtual_path_blobs,
        max_script_bytes=cfg.preforge.jsvm.max_script_bytes,
        plugins=plugin_options(cfg),
    )


def from_config(cfg: Any, environ: Mapping[str, str] | None = None, conf: str = "") -> ReadOptions:
    """Take the read options from a Config object; ``environ`` defaults to the process environment.

    ``conf`` is the path of tyk.conf: relative paths of scripts are looked up beside it too.
    """
    limits = getattr(getattr(cfg, "preforge", None), "limits", None)
    middleware = locate(cfg.middleware_path, str(Path(conf).parent)) if conf and cfg.middleware_path else ""
    return ReadOptions(
        compile=compile_options(cfg),
        environ=dict(os.environ if environ is None else environ),
        secrets=dict(cfg.secrets),
        conf=conf,
        middleware_path=cfg.middleware_path,
        tyk_js_path=cfg.tyk_js_path,
        bundles=bundle_settings(cfg, middleware),
        max_modules=cfg.preforge.jsvm.max_modules,
        max_file_bytes=getattr(limits, "max_definition_bytes", MAX_FILE_BYTES),
        max_files=getattr(limits, "max_definitions", MAX_FILES),
    )
