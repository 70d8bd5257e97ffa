"""Plugin bundles of API definitions: the section that a bundle brings takes the place of the API's own (tyk-plugins 7.2).

The loader calls ``load_bundle`` and keeps what it returns with the definition; ``with_bundle`` then makes the
definition that is compiled, in the loader and in every worker alike, without a file being read.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import orjson

from coprocess.bundles import BundleError, BundleSettings, Library, NotFetched
from core.apidef.decode import Definition
from core.findings import Finding

_PATH = "$.custom_middleware_bundle"


@dataclass(frozen=True, slots=True)
class AppliedBundle:
    """A verified bundle, picklable.

    ``section``: JSON text of the ``custom_middleware`` with paths into ``directory``; ``digest``: hex md5 of the
    bundle's name; ``files``: path -> hex SHA-256 of each file that may be used; ``listed``: the names in ``file_list``.
    """

    directory: str
    digest: str
    section: bytes = field(repr=False)
    files: dict[str, str] = field(repr=False)
    listed: tuple[str, ...] = field(default=(), repr=False)

    def problem(self, path: str, digest: str) -> str:
        """Say why a file that was read is not a verified one of the bundle; "" for files elsewhere.

        ``digest``: hex SHA-256 of the bytes that were read. Reading happens after verification: without the
        comparison a file could change in between, and one that the manifest does not list could be used.
        """
        if not path.startswith(f"{self.directory}/"):
            return ""
        expected = self.files.get(path)
        if expected is None:
            return f"{path} is not a file that the bundle's manifest lists"
        return "" if digest == expected else f"{path} has changed since the bundle was verified"


def bundle_settings(cfg: Any, middleware_path: str = "") -> BundleSettings:
    """Take the settings from a Config object; ``middleware_path`` says where the one of the configuration was found."""
    bounds = cfg.preforge.bundles
    return BundleSettings(
        base_url=cfg.bundle_base_url,
        middleware_path=middleware_path or cfg.middleware_path,
        enable_downloader=cfg.enable_bundle_downloader,
        insecure_skip_verify=cfg.bundle_insecure_skip_verify,
        public_key_path=cfg.public_key_path,
        skip_verify_existing=cfg.skip_verify_existing_plugin_bundle,
        timeout=bounds.timeout,
        load_timeout=bounds.load_timeout,
        retries=bounds.retries,
        max_bytes=bounds.max_bytes,
        max_files=bounds.max_files,
        max_file_bytes=bounds.max_file_bytes,
        max_unpacked_bytes=bounds.max_unpacked_bytes,
        max_ratio=bounds.max_ratio,
    )


def bundle_of(definition: Definition) -> str:
    """Return what names the bundle, or "" when the definition uses none."""
    text: str = definition.get("custom_middleware_bundle", "")
    if definition.get("custom_middleware_bundle_disabled") or not text.replace(",", "").strip():
        return ""
    return text


def load_bundle(definition: Definition, library: Library, file: str) -> tuple[AppliedBundle | None, list[Finding]]:
    """Load the bundle that a definition names. None, with a finding, when it cannot be used; None when it names none."""
    name = bundle_of(definition)
    if not name:
        return None, []
    try:
        loaded = library.load(name)
    except NotFetched as error:
        return None, [Finding("warning", file, _PATH, f"the plugin bundle was not checked: {error}")]
    except BundleError as error:
        message = f"the plugin bundle cannot be used, so every request is refused: {error}"
        return None, [Finding("error", file, _PATH, message)]
    findings = [Finding("warning", file, _PATH, remark) for remark in loaded.remarks]
    if definition.get("custom_middleware"):
        findings.append(
            Finding("info", file, "$.custom_middleware", "has no effect: the section of the plugin bundle takes its place")
        )
    section = orjson.dumps(loaded.custom_middleware)
    return AppliedBundle(loaded.directory, loaded.digest, section, loaded.files, loaded.listed), findings


def with_bundle(definition: Definition, applied: AppliedBundle | None) -> Definition:
    """Return the definition to compile.

    With a bundle applied, ``custom_middleware`` is the bundle's and ``custom_middleware_bundle`` is gone. A bundle
    that is named but not applied stays named: such a definition refuses every request.
    """
    if not bundle_of(definition) or applied is not None:
        definition = {key: value for key, value in definition.items() if key != "custom_middleware_bundle"}
    if applied is not None:
        definition["custom_middleware"] = orjson.loads(applied.section)
    return definition
